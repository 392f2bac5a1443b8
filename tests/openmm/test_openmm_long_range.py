"""Options of the long-range solver in OpenMM: mesh against direct sum, what is printed, what is refused."""

from __future__ import annotations

import math

import numpy as np
import openmm
import pytest
from openmm import unit
from openmm_systems import evaluate, make_context, waters

from les_md.errors import LESError
from les_md.openmm import LESForce

#: Allowed differences between the mesh at accuracy 1e-6 and the direct sum, relative to the largest value.
TOLERANCES = {"energy": 1e-6, "forces": 3e-6, "virial": 5e-6, "charges": 1e-12}


def results(force, context) -> dict[str, np.ndarray]:
    """Every number of the present state by quantity, eV and OpenMM's units."""
    got = evaluate(context)
    return {
        "forces": got.forces,
        "energy": np.array(force.getLongRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole)),
        "virial": force.getVirial(context).value_in_unit(unit.kilojoule_per_mole),
        "charges": force.getLatentCharges(context),
    }


@pytest.mark.parametrize(
    "model",
    [{}, {"n_channels": 2}, {"neutrality": True}, {"k_cutoff": math.pi}],
    ids=["plain", "two channels", "neutral", "own cutoff"],
)
def test_mesh_agrees_with_the_direct_sum(model_file, platform, model):
    atoms = waters(periodic=True)
    got = {}
    for solver in ("mesh", "direct"):
        force = LESForce(model_file(**model), atoms.get_chemical_symbols(), solver=solver, accuracy=1e-6)
        context = make_context(atoms, force, platform=platform)
        got[solver] = results(force, context)
        assert ("mesh" in force.getLongRangeDescription(context)) == (solver == "mesh")
    for quantity, expected in got["direct"].items():
        difference = np.abs(got["mesh"][quantity] - expected).max()
        assert difference <= TOLERANCES[quantity] * np.abs(expected).max(), quantity
    assert np.abs(got["mesh"]["forces"] - got["direct"]["forces"]).max() > 0


def test_options_reach_the_solver(model_file):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols(), solver="mesh", mesh=(20, 24, 30), accuracy=1e-6)
    context = make_context(atoms, force)
    assert "20 x 24 x 30" in force.getLongRangeDescription(context)
    force.setSolver("direct")
    force.setMesh(None)
    assert "20 x 24 x 30" in force.getLongRangeDescription(context)
    context.reinitialize(preserveState=True)
    assert force.getLongRangeDescription(context).startswith("direct sum")


def test_spacing_has_a_unit(model_file):
    force = LESForce(model_file(), ["O", "H", "H"], mesh_spacing=0.5 * unit.angstrom)
    assert force.getMeshSpacing().value_in_unit(unit.nanometer) == pytest.approx(0.05)
    force.setMeshSpacing(0.04)
    assert force.getMeshSpacing() == 0.04 * unit.nanometer
    force.setMeshSpacing(None)
    assert force.getMeshSpacing() is None
    atoms = waters(periodic=True)
    descriptions = []
    for spacing in (0.05, 0.5 * unit.angstrom):
        force = LESForce(model_file(), atoms.get_chemical_symbols(), solver="mesh", mesh_spacing=spacing)
        descriptions.append(force.getLongRangeDescription(make_context(atoms, force)))
    assert descriptions[0] == descriptions[1]


def test_what_is_printed_once_a_context(model_file, capfd):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols(), solver="mesh")
    context = make_context(atoms, force)
    context.getIntegrator().step(3)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == f"LESForce: long-range energy: {force.getLongRangeDescription(context)}\n"
    context.reinitialize(preserveState=True)
    context.getIntegrator().step(1)
    assert capfd.readouterr().err.count("LESForce: long-range energy: ") == 1
    short_range = make_context(atoms, LESForce(model_file(n_channels=0), atoms.get_chemical_symbols()))
    short_range.getIntegrator().step(1)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("solver", ["mesh", "direct"])
@pytest.mark.parametrize(("freeze", "count"), [(False, 1), (True, 0)], ids=["free", "frozen"])
def test_own_cutoff_in_a_changing_box_warns_once(model_file, capfd, solver, freeze, count):
    atoms = waters(periodic=True)
    force = LESForce(model_file(k_cutoff=math.pi), atoms.get_chemical_symbols(), solver=solver, freeze_k_set=freeze)
    context = make_context(atoms, force)
    for scale in (1.0, 1.01, 1.02):
        context.setPeriodicBoxVectors(*(atoms.cell.array * scale * 0.1))
        evaluate(context)
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("LESForce: warning: ")]
    assert len(warnings) == count
    assert all("freeze_k_set" in line for line in warnings)


def test_barostat_with_a_mesh(model_file, platform):
    """Trial boxes change the mesh; what is kept agrees with a fresh Context of the direct sum."""
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 1)
    barostat.setRandomNumberSeed(4)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0002)
    integrator.setRandomNumberSeed(4)
    force = LESForce(model_file(), symbols, solver="mesh", accuracy=1e-6)
    context = make_context(atoms, force, barostat, platform=platform, integrator=integrator)
    context.setVelocitiesToTemperature(300.0, 3)
    integrator.step(20)
    state = context.getState(positions=True)
    box = np.asarray(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom))
    assert np.linalg.det(box) != pytest.approx(atoms.get_volume(), rel=1e-6)
    got = results(force, context)
    atoms.set_cell(box)
    atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    again = LESForce(model_file(), symbols, solver="direct")
    for quantity, expected in results(again, make_context(atoms, again, platform=platform)).items():
        # positions come back from OpenMM's units, so that charges agree to rounding only
        assert np.abs(got[quantity] - expected).max() <= max(TOLERANCES[quantity], 1e-9) * np.abs(expected).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accuracy": 1.0}, "`accuracy` must be between 1e-8 and 1e-2, got 1"),
        ({"accuracy": 1e-9}, "`accuracy` must be between 1e-8 and 1e-2, got 1e-09"),
        ({"accuracy": 1e-7, "mesh_dtype": "float32"}, "float32 mesh reaches an `accuracy` of 1e-6 at best"),
        ({"solver": "pme"}, "`solver` must be auto, mesh or direct, got pme"),
        ({"window": "gauss"}, "`window` must be kaiser_bessel or b_spline, got gauss"),
        ({"interpolation_nodes": 40}, "`interpolation_nodes` must be 4 to 16, got 40"),
        ({"mesh_spacing": 0.0}, "`mesh_spacing` must be positive, got 0 angstrom"),
        ({"mesh": (20, 20, 20), "mesh_spacing": 0.05}, "`mesh` and `mesh_spacing` exclude each other"),
        ({"freeze_k_set": True}, "`freeze_k_set` is for models with their own k_cutoff"),
        ({"graphs": "yes"}, "`graphs` must be auto, on or off, got yes"),
        ({"graphs": "on"}, "`graphs` on is for device cuda, where steps can be captured, got device cpu; leave"),
    ],
)
def test_unusable_value(model_file, options, message):
    atoms = waters(periodic=True)
    with pytest.raises(openmm.OpenMMException, match=message):
        make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols(), **options))


def test_mesh_smaller_than_the_window(model_file):
    atoms = waters(periodic=True)
    options = {"solver": "mesh", "mesh": (8, 8, 8), "interpolation_nodes": 10}
    context = make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols(), **options))
    with pytest.raises(openmm.OpenMMException, match=r"as many points .* as `interpolation_nodes` \(10\), got 8"):
        evaluate(context)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": None}, "`solver` must be 'auto', 'mesh' or 'direct', got None"),
        ({"accuracy": "high"}, "`accuracy` must be a number, got 'high'"),
        ({"mesh": (4, 4)}, r"`mesh` must be three whole numbers or None, got \(4, 4\)"),
        ({"mesh": 24}, "`mesh` must be three whole numbers or None, got 24"),
        ({"interpolation_nodes": 6.5}, "`interpolation_nodes` must be a whole number or None, got 6.5"),
        ({"mesh_spacing": "0.5"}, "`mesh_spacing` must be a number or None, got '0.5'"),
        ({"freeze_k_set": "no"}, "`freeze_k_set` must be True or False, got 'no'"),
        ({"deterministic": "no"}, "`deterministic` must be True or False, got 'no'"),
        ({"graphs": False}, "`graphs` must be 'auto', 'on' or 'off', got False"),
    ],
)
def test_value_of_another_kind(model_file, options, message):
    with pytest.raises(LESError, match=message):
        LESForce(model_file(), ["O", "H", "H"], **options)


def test_spacing_of_another_dimension(model_file):
    with pytest.raises(TypeError, match="not compatible"):
        LESForce(model_file(), ["O", "H", "H"], mesh_spacing=1.0 * unit.picosecond)
