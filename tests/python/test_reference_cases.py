"""The reference cases through the Python layer, the engine, ASE and the TorchForce entry."""

import numpy as np
import pytest
import torch
from ase import Atoms
from reference_cases import CASES, FIELD_CASES, load_case, network_of, write_case_model

from les_md import fields
from les_md.ase import LESCalculator
from les_md.batch import frame_from_atoms
from les_md.constants import ANGSTROM_PER_NANOMETRE, KILOJOULE_PER_MOLE_PER_EV
from les_md.engine import Engine
from les_md.export import torchscript
from les_md.forces import evaluate

TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
PRECISIONS = pytest.mark.parametrize("dtype", ["float64", "float32"])
EVERY_CASE = pytest.mark.parametrize("name", CASES)


def atoms_of(case):
    periodic = case["cell"] is not None
    return Atoms(case["symbols"], positions=case["positions"], cell=case["cell"], pbc=periodic)


def assert_close(got, expected, dtype, scale=None):
    """Differences relative to the largest expected value."""
    got, expected = np.asarray(got), np.asarray(expected)
    scale = scale or max(np.abs(expected).max(), 1e-3)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= TOLERANCE[dtype] * scale


def assert_matches(case, got, dtype):
    # the element offsets are the same number on both sides; what the network and the sums give sets the scale
    offsets = sum(case["model"]["network"]["e0"][case["model"]["symbols"].index(s)] for s in case["symbols"])
    scale = abs(case["short_range_energy"] - offsets) + abs(case["long_range_energy"])
    for name in ("energy", "short_range_energy", "long_range_energy"):
        assert_close(got[name], case[name], dtype, scale)
    for name in ("forces", "virial", "latent_charges"):
        assert_close(got[name], case[name], dtype)


@EVERY_CASE
@PRECISIONS
def test_python(name, dtype):
    case = load_case(name)
    network = network_of(case, dtype)
    frame = frame_from_atoms(atoms_of(case), case["model"]["symbols"], case["model"]["cutoff"])
    if case["model"]["long_range"]["neutrality"]:
        frame[fields.TOTAL_CHARGE][0] = case["model"]["long_range"]["total_charge"][0]
    if "state" in case["model"]:
        frame[fields.TOTAL_CHARGE][0], frame[fields.SPIN][0] = case["model"]["state"]
    results = {key: value.detach().numpy() for key, value in evaluate(network, frame).items()}
    for key in ("energy", "short_range_energy", "long_range_energy", "virial"):
        results[key] = results[key][0]
    assert_matches(case, results, dtype)


@EVERY_CASE
@PRECISIONS
def test_engine(name, dtype, tmp_path):
    case = load_case(name)
    engine = Engine(write_case_model(case, tmp_path / "m.les.pt", dtype), solver="direct")
    periodic = case["cell"] is not None
    types = engine.types_of(case["symbols"])
    cell = np.array(case["cell"] or np.eye(3))
    results = engine.compute(np.array(case["positions"]), types, cell, periodic)
    assert_matches(case, results, dtype)
    assert np.sum(results["atom_energies"]) == pytest.approx(results["energy"], rel=1e-12)


@pytest.mark.parametrize("name", FIELD_CASES)
@PRECISIONS
def test_engine_in_a_field(name, dtype, tmp_path):
    case = load_case(name)
    engine = Engine(write_case_model(case, tmp_path / "m.les.pt", dtype), solver="direct")
    positions, periodic = np.array(case["positions"]), case["cell"] is not None
    velocities = np.random.default_rng(3).normal(0.0, 5.0, positions.shape)
    arguments = (positions, engine.types_of(case["symbols"]), np.array(case["cell"] or np.eye(3)), periodic)
    exact = not periodic or case["model"]["long_range"]["charge_flux"]
    if not exact:
        with pytest.warns(
            UserWarning, match="acts by Born effective charges of this model, so energy is not conserved"
        ):
            engine.compute(*arguments, field=case["field"])
    plain = engine.compute(*arguments)
    results = engine.compute(*arguments, field=case["field"], velocities=velocities, born_charges=True)
    assert_matches(case, results, dtype)
    born = np.array(case["born_charges"])
    assert_close(results["born_charges"], born, dtype)
    assert_close(results["polarization"], case["polarization"], dtype)
    assert_close(
        results["polarization_current"], np.einsum("iab,ib->a", born, velocities), dtype, np.abs(velocities).max()
    )
    assert results["field_energy"] == pytest.approx(case["field_energy"], rel=1e-5 if dtype == "float32" else 1e-9)
    assert np.sum(results["atom_energies"]) == pytest.approx(results["energy"], rel=1e-12)
    # without a field: the same charges and potentials, forces less E . Z*
    forces = np.array(case["forces"]) - np.einsum("a,iab->ib", case["field"], born)
    assert_close(plain["forces"], forces, dtype)
    assert_close(plain["potentials"], results["potentials"], dtype)
    assert plain["field_energy"] == 0.0
    assert "born_charges" not in plain


@EVERY_CASE
def test_engine_with_host_edges(name, tmp_path):
    """The neighbours of a host, with pairs beyond the cutoff, give the same as the engine's own list."""
    case = load_case(name)
    engine = Engine(write_case_model(case, tmp_path / "m.les.pt", "float64"), solver="direct")
    atoms = atoms_of(case)
    frame = frame_from_atoms(atoms, case["model"]["symbols"], case["model"]["cutoff"] + 1.0)
    centres, neighbours = frame[fields.EDGE_INDEX].numpy()
    edges = (centres, neighbours, frame[fields.CELL_SHIFTS].numpy().astype(np.int32))
    types = engine.types_of(case["symbols"])
    cell = np.asarray(atoms.cell)
    results = engine.compute_with_edges(atoms.positions, types, cell, bool(atoms.pbc.all()), edges, len(atoms))
    assert_matches(case, results, "float64")


@EVERY_CASE
@PRECISIONS
def test_ase(name, dtype, tmp_path):
    case = load_case(name)
    atoms = atoms_of(case)
    atoms.calc = LESCalculator(write_case_model(case, tmp_path / "m.les.pt", dtype), solver="direct")
    offsets = sum(case["model"]["network"]["e0"][case["model"]["symbols"].index(s)] for s in case["symbols"])
    assert_close(atoms.get_potential_energy(), case["energy"], dtype, abs(case["energy"] - offsets) + 1.0)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert_close(atoms.get_forces(), case["forces"], dtype)
    assert_close(atoms.get_charges(), np.sum(case["latent_charges"], axis=1), dtype)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    if case["cell"] is not None:
        stress = -np.array(case["virial"]) / atoms.get_volume()
        assert_close(atoms.get_stress(voigt=False), stress, dtype)
    else:
        charges = np.sum(case["latent_charges"], axis=1)
        assert_close(atoms.get_dipole_moment(), charges @ atoms.positions, dtype)


@pytest.mark.parametrize("name", FIELD_CASES)
@pytest.mark.filterwarnings("ignore:the field acts by Born effective charges")
def test_ase_in_a_field(name, tmp_path):
    case = load_case(name)
    atoms = atoms_of(case)
    atoms.calc = LESCalculator(write_case_model(case, tmp_path / "m.les.pt"), field=case["field"], solver="direct")
    assert atoms.get_potential_energy() == pytest.approx(case["energy"], rel=1e-9)
    assert "born_effective_charges" not in atoms.calc.results
    assert_close(atoms.calc.get_property("born_effective_charges", atoms), case["born_charges"], "float64")
    assert_close(atoms.get_forces(), case["forces"], "float64")
    if name == "field_transfers":
        assert_close(atoms.calc.results["cell_dipole"], case["polarization"], "float64")
    if name == "field_isolated":
        assert_close(atoms.get_dipole_moment(), case["polarization"], "float64")


@EVERY_CASE
@PRECISIONS
@pytest.mark.parametrize("input_dtype", [torch.float64, torch.float32], ids=["positions64", "positions32"])
def test_torchforce(name, dtype, input_dtype, tmp_path):
    """`forward` called and differentiated as OpenMM-Torch's TorchForce does."""
    case = load_case(name)
    path = write_case_model(case, tmp_path / "m.les.pt", dtype, bound=True)
    with torchscript():
        module = torch.jit.load(str(path))
    positions = torch.tensor(case["positions"], dtype=input_dtype) / ANGSTROM_PER_NANOMETRE
    positions.requires_grad_(True)
    if case["cell"] is None:
        energy = module(positions)
    else:
        energy = module(positions, torch.tensor(case["cell"], dtype=input_dtype) / ANGSTROM_PER_NANOMETRE)
    energy.backward()
    assert energy.dtype == torch.float64
    assert energy.dim() == 0
    assert energy.is_contiguous()
    tolerance = dtype if input_dtype == torch.float64 else "float32"
    offsets = sum(case["model"]["network"]["e0"][case["model"]["symbols"].index(s)] for s in case["symbols"])
    expected = (case["energy"] - offsets) * KILOJOULE_PER_MOLE_PER_EV
    scale = abs(case["short_range_energy"] - offsets) + abs(case["long_range_energy"])
    scale *= KILOJOULE_PER_MOLE_PER_EV
    assert_close(energy.detach() - offsets * KILOJOULE_PER_MOLE_PER_EV, expected, tolerance, scale)
    unit = KILOJOULE_PER_MOLE_PER_EV * ANGSTROM_PER_NANOMETRE
    assert_close(-positions.grad, np.array(case["forces"]) * unit, tolerance)


def test_unbound_file_refuses_torchforce(tmp_path):
    with torchscript():
        module = torch.jit.load(str(write_case_model(load_case("isolated"), tmp_path / "m.les.pt")))
    with pytest.raises(torch.jit.Error, match="not bound to an atom list; run les-export with --atoms"):
        module(torch.zeros(3, 3))


def test_bound_file_refuses_other_atom_count(tmp_path):
    with torchscript():
        module = torch.jit.load(str(write_case_model(load_case("isolated"), tmp_path / "m.les.pt", bound=True)))
    with pytest.raises(torch.jit.Error, match="bound to 9 atoms, got 3"):
        module(torch.zeros(3, 3))
