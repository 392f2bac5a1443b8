"""The answer to an electric field, charges, polarization and its current, and the reporter that writes them."""

from __future__ import annotations

import io

import ase
import numpy as np
import openmm
import openmm.app
import pytest
from openmm import unit
from openmm_systems import energy_of, evaluate, make_context, waters

from les_md.engine import Engine
from les_md.errors import LESError
from les_md.openmm import LESForce, LESReporter

ELEMENTARY = unit.elementary_charge
FIELD = np.array([0.02, -0.05, 0.03])  # V/angstrom
CASES = [("charge_flux", True), ("charge_flux", False), ("plain", False), ("plain", True)]


def options_of(kind: str) -> dict[str, bool]:
    return {"charge_flux": True} if kind == "charge_flux" else {}


def engine_results(model, atoms: ase.Atoms, **options: object) -> dict:
    """Of the engine, in eV, angstrom and e."""
    engine = Engine(model)
    types = engine.types_of(atoms.get_chemical_symbols())
    periodic = bool(atoms.pbc.all())
    return engine.compute(atoms.positions, types, atoms.cell.array if periodic else None, periodic, **options)


@pytest.mark.filterwarnings("ignore:the field acts by Born effective charges")
@pytest.mark.parametrize(("kind", "periodic"), CASES)
def test_answers_are_those_of_the_engine(model_file, platform, kind, periodic):
    atoms = waters(periodic)
    model = model_file(**options_of(kind))
    force = LESForce(model, atoms.get_chemical_symbols(), periodic=periodic)
    context = make_context(atoms, force, platform=platform)
    velocities = np.random.default_rng(1).normal(0.0, 3.0, (24, 3))  # angstrom/ps
    context.setVelocities(velocities * 0.1)
    force.setElectricField(context, FIELD * unit.volt / unit.angstrom)
    expected = engine_results(model, atoms, field=FIELD, velocities=velocities, born_charges=True)
    got = evaluate(context)
    assert got.energy == pytest.approx(expected["energy"], rel=1e-12)
    np.testing.assert_allclose(got.forces, expected["forces"], rtol=0, atol=1e-9)
    kilojoule = unit.kilojoule_per_mole
    assert force.getFieldEnergy(context).value_in_unit(kilojoule) == pytest.approx(
        expected["field_energy"] * 96.48533212331, rel=1e-9, abs=1e-12
    )
    assert (expected["field_energy"] == 0.0) == (kind == "plain" and periodic)
    parts = force.getShortRangeEnergy(context) + force.getLongRangeEnergy(context) + force.getFieldEnergy(context)
    total = context.getState(energy=True).getPotentialEnergy()
    assert parts.value_in_unit(kilojoule) == pytest.approx(total.value_in_unit(kilojoule), rel=1e-12)
    current = force.getPolarizationCurrent(context).value_in_unit(ELEMENTARY * unit.angstrom / unit.picosecond)
    np.testing.assert_allclose(current, expected["polarization_current"], rtol=0, atol=1e-9)
    assert np.abs(current).max() > 1e-3
    born = force.getBornCharges(context).value_in_unit(ELEMENTARY)
    np.testing.assert_allclose(born, expected["born_charges"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.einsum("iab,ib->a", born, velocities), current, rtol=0, atol=1e-8)
    if kind == "charge_flux" or not periodic:
        polarization = force.getPolarization(context).value_in_unit(ELEMENTARY * unit.angstrom)
        np.testing.assert_allclose(polarization, expected["polarization"], rtol=0, atol=1e-9)
        assert expected["field_energy"] == pytest.approx(-FIELD @ polarization, rel=1e-9)


def test_charges_are_physical(model_file):
    atoms = waters(periodic=False)
    force = LESForce(model_file(n_channels=2), atoms.get_chemical_symbols(), periodic=False)
    context = make_context(atoms, force)
    scale = force.getMetadata()["atomic_charge"]["scale"]
    charges = force.getCharges(context).value_in_unit(ELEMENTARY)
    np.testing.assert_allclose(charges, scale * force.getLatentCharges(context).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize(("kind", "periodic"), CASES[:3])
def test_forces_in_a_field_are_finite_differences(model_file, platform, kind, periodic):
    atoms = waters(periodic)
    force = LESForce(model_file(**options_of(kind)), atoms.get_chemical_symbols(), periodic=periodic, accuracy=1e-7)
    force.setDefaultElectricField(FIELD * unit.volt / unit.angstrom)
    context = make_context(atoms, force, platform=platform)
    expected = evaluate(context).forces
    step = 1e-3
    for atom, axis in [(0, 0), (1, 1), (14, 2)]:
        energies = []
        for sign in (1, -1):
            positions = atoms.positions.copy()
            positions[atom, axis] += sign * step
            context.setPositions(positions * 0.1)
            energies.append(energy_of(context))
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(expected[atom, axis], rel=1e-4, abs=1e-5)


def test_derivative_in_the_field_is_minus_the_polarization(model_file):
    atoms = waters(periodic=True)
    force = LESForce(model_file(charge_flux=True), atoms.get_chemical_symbols())
    names = force.getElectricFieldNames()
    assert names == ("LESForceFieldX", "LESForceFieldY", "LESForceFieldZ")
    for name in names:
        force.addEnergyParameterDerivative(name)
    force.setDefaultLambda(0.5)
    context = make_context(atoms, force)
    for axis, name in enumerate(names):
        energies = []
        for value in (-10.0, 10.0):
            context.setParameter(name, value)
            energies.append(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        slope = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()[name]
        assert slope == pytest.approx((energies[1] - energies[0]) / 20.0, rel=1e-6)
        polarization = force.getPolarization(context).value_in_unit(ELEMENTARY * unit.nanometer)
        assert slope == pytest.approx(-0.5 * polarization[axis], rel=1e-9)
        context.setParameter(name, 0.0)


def test_polarization_follows_atoms_through_the_box(model_file, platform):
    """Along a run in a field energy is conserved and the current is the rate of the polarization, while atoms leave the
    box and OpenMM wraps them inside."""
    atoms = waters(periodic=True)
    force = LESForce(model_file(charge_flux=True), atoms.get_chemical_symbols(), accuracy=1e-7)
    context = make_context(atoms, force, platform=platform, integrator=openmm.VerletIntegrator(0.00002))
    velocities = np.random.default_rng(1).normal(0.0, 0.2, (24, 3))
    velocities[:, 0] += 600.0  # nm/ps: every atom crosses the box within the run
    context.setVelocities(velocities)
    force.setElectricField(context, FIELD * unit.volt / unit.angstrom)
    times, polarization, current, totals = [], [], [], []
    for _ in range(60):
        context.getIntegrator().step(1)
        state = context.getState(energy=True)
        totals.append((state.getPotentialEnergy() + state.getKineticEnergy()).value_in_unit(unit.kilojoule_per_mole))
        times.append(state.getTime().value_in_unit(unit.picosecond))
        polarization.append(force.getPolarization(context).value_in_unit(ELEMENTARY * unit.nanometer))
        current.append(
            force.getPolarizationCurrent(context).value_in_unit(ELEMENTARY * unit.nanometer / unit.picosecond)
        )
    assert 600.0 * times[-1] > 0.64
    changes = np.diff(polarization, axis=0)
    # velocities of a leapfrog integrator are those between two positions
    np.testing.assert_allclose(changes, np.array(current)[1:] * 0.00002, rtol=0, atol=0.03 * np.abs(changes).max())
    assert np.ptp(totals) < 0.02


def test_positions_put_back_change_the_polarization_by_whole_charges(model_file):
    atoms = waters(periodic=True)
    model = model_file(charge_flux=True)
    force = LESForce(model, atoms.get_chemical_symbols())
    context = make_context(atoms, force)
    force.setElectricField(context, FIELD * unit.volt / unit.angstrom)
    before = force.getPolarization(context).value_in_unit(ELEMENTARY * unit.angstrom)
    first = evaluate(context)
    atoms.positions[0] += atoms.cell.array[1]
    context.setPositions(atoms.positions * 0.1)
    after = force.getPolarization(context).value_in_unit(ELEMENTARY * unit.angstrom)
    jump = (after - before) @ np.linalg.inv(atoms.cell.array)
    assert jump[1] != pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(np.delete(jump, 1), 0.0, atol=1e-9)
    second = evaluate(context)
    assert second.energy - first.energy == pytest.approx(-FIELD @ (after - before), rel=1e-6)
    np.testing.assert_allclose(second.forces, first.forces, rtol=0, atol=1e-9)


def test_field_and_barostat_exclude_each_other(model_file):
    atoms = waters(periodic=True)
    force = LESForce(model_file(charge_flux=True), atoms.get_chemical_symbols())
    context = make_context(atoms, force, openmm.MonteCarloBarostat(1.0, 300.0))
    energy_of(context)
    context.setParameter("LESForceFieldZ", 1.0)
    with pytest.raises(openmm.OpenMMException, match="electric field and a Monte Carlo barostat exclude each other"):
        energy_of(context)


def test_field_by_born_charges_warns_once(model_file, capfd):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    context = make_context(atoms, force)
    for value in (1.0, 2.0):
        context.setParameter("LESForceFieldX", value)
        energy_of(context)
    assert capfd.readouterr().err.count("LESForce: warning: the field acts by Born effective charges") == 1
    with pytest.raises(LESError, match="polarization of a periodic system needs a model trained with `charge_flux`"):
        force.getPolarization(context)


def test_short_range_model_has_no_response(model_file):
    atoms = waters(periodic=False)
    force = LESForce(model_file(n_channels=0), atoms.get_chemical_symbols(), periodic=False)
    context = make_context(atoms, force)
    for quantity in (force.getPolarization, force.getPolarizationCurrent, force.getBornCharges):
        with pytest.raises(LESError, match="needs a model with latent charges, this one is short-range only"):
            quantity(context)


def test_units_of_the_field(model_file):
    force = LESForce(model_file(), ["O", "H", "H"])
    md = unit.kilojoule_per_mole / unit.nanometer / ELEMENTARY
    for field in (
        [0.0, 0.0, 1.0] * unit.volt / unit.nanometer,
        [0.0, 0.0, 0.1] * unit.volt / unit.angstrom,
        [0.0, 0.0, 96.48533212331],
        [0.0, 0.0, 96.48533212331] * md,
    ):
        force.setDefaultElectricField(field)
        np.testing.assert_allclose(force.getDefaultElectricField().value_in_unit(md), [0.0, 0.0, 96.48533212331])
    for field in ([1.0, 2.0], "north", None, [np.nan, 0.0, 0.0], 1.0 * unit.volt / unit.nanometer):
        with pytest.raises(LESError, match="electric field must be three finite numbers in kJ/mol/nm/e, or a Quantity"):
            force.setDefaultElectricField(field)


def simulation_of(atoms: ase.Atoms, *forces: openmm.Force) -> openmm.app.Simulation:
    topology = openmm.app.Topology()
    residue = topology.addResidue("ALL", topology.addChain())
    system = openmm.System()
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    for atom in atoms:
        topology.addAtom(atom.symbol, openmm.app.Element.getBySymbol(atom.symbol), residue)
        system.addParticle(atom.mass)
    for force in forces:
        system.addForce(force)
    reference = openmm.Platform.getPlatformByName("Reference")
    simulation = openmm.app.Simulation(topology, system, openmm.VerletIntegrator(0.0002), reference)
    simulation.context.setPositions(atoms.positions * 0.1)
    simulation.context.setVelocitiesToTemperature(300.0, 1)
    return simulation


def test_reporter_writes_what_the_context_says(model_file, tmp_path):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    particles = list(range(3, 24))
    force = LESForce(model_file(charge_flux=True), symbols[3:], particles=particles)
    simulation = simulation_of(atoms, force)
    path = tmp_path / "response.csv"
    simulation.reporters.append(LESReporter(path, 2, polarization=True, energies=True, charges=True))
    simulation.step(5)
    simulation.reporters.clear()
    simulation.reporters.append(
        LESReporter(path, 2, force, polarization=True, energies=True, charges=True, append=True)
    )
    simulation.step(1)
    header, *rows = path.read_text().splitlines()
    assert header.split(",")[:11] == [
        "time_ps",
        "Jx",
        "Jy",
        "Jz",
        "Px",
        "Py",
        "Pz",
        "short_range",
        "long_range",
        "field",
        "embedding",
    ]
    assert header.split(",")[11:] == [f"q{particle}" for particle in particles]
    assert [float(row.split(",")[0]) for row in rows] == pytest.approx([0.0004, 0.0008, 0.0012])
    last = [float(number) for number in rows[-1].split(",")]
    context = simulation.context
    dipole = ELEMENTARY * unit.angstrom
    expected = [
        *force.getPolarizationCurrent(context).value_in_unit(dipole / unit.picosecond),
        *force.getPolarization(context).value_in_unit(dipole),
        force.getShortRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole),
        force.getLongRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole),
        0.0,
        0.0,
        *force.getCharges(context).value_in_unit(ELEMENTARY),
    ]
    np.testing.assert_allclose(last[1:], expected, rtol=1e-8)


def test_reporter_writes_the_current_for_spectra_by_default(model_file):
    atoms = waters(periodic=True)
    simulation = simulation_of(atoms, LESForce(model_file(), atoms.get_chemical_symbols()))
    stream = io.StringIO()
    simulation.reporters.append(LESReporter(stream, 1))
    simulation.step(2)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "time_ps,Jx,Jy,Jz"
    assert len(lines) == 3


def test_reporter_that_cannot_report(model_file, tmp_path):
    with pytest.raises(LESError, match="at least one of current, polarization, energies and charges"):
        LESReporter(tmp_path / "none.csv", 1, current=False)
    with pytest.raises(LESError, match="`reportInterval` must be at least 1 step, got 0"):
        LESReporter(tmp_path / "none.csv", 0)
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    simulation = simulation_of(atoms, LESForce(model_file(), symbols), LESForce(model_file(), symbols))
    simulation.reporters.append(LESReporter(io.StringIO(), 1))
    with pytest.raises(LESError, match="must have one LESForce, got 2; name the one to report with `force`"):
        simulation.step(1)
