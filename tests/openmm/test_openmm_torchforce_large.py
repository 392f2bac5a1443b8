"""The entry that TorchForce calls on systems large enough for blocks of atoms and the mesh, against LESForce."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from openmm import unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, TRICLINIC_CELL, evaluate, make_context, make_model, waters
from reference_cases import CASES, load_case, write_case_model

from les_md import torchforce_sizes as sizes
from les_md.export import torchscript, write_model_file
from les_md.model import LESModel
from les_md.openmm import LESForce
from les_md.settings import LongRangeSettings, ModelSettings


def large_waters(periodic: bool = True) -> ase.Atoms:
    """648 atoms: the triclinic cell of the other tests, repeated and shaken."""
    atoms = waters(True).repeat(3)
    atoms.positions += np.random.default_rng(2).normal(0.0, 0.02, atoms.positions.shape)
    assert len(atoms) > sizes.SMALL_SYSTEM
    if not periodic:
        atoms = atoms[[i for i in range(len(atoms)) if i < sizes.SMALL_SYSTEM + 1]]
        atoms.pbc = False
    return atoms


def load(path: Path) -> torch.jit.ScriptModule:
    """As TorchForce loads a file."""
    with torchscript():
        return torch.jit.freeze(torch.jit.load(path).eval())


def call(
    module: torch.jit.ScriptModule, positions: np.ndarray, cell: np.ndarray | None, dtype: torch.dtype = torch.float64
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy (eV), forces (eV/angstrom), virial (eV) of positions and cell in angstrom."""
    r = (torch.tensor(positions) * 0.1).to(dtype).requires_grad_(True)
    box = None if cell is None else (torch.tensor(cell) * 0.1).to(dtype).requires_grad_(True)
    energy = module.forward(r) if box is None else module.forward(r, box)
    energy.backward()
    virial = None
    if box is not None:
        virial = -(r.T @ r.grad + box.T @ box.grad).detach().numpy() / KILOJOULE_PER_MOLE_PER_EV
    return energy.item() / KILOJOULE_PER_MOLE_PER_EV, -r.grad.numpy() / KILOJOULE_PER_MOLE_PER_EV / 10, virial


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Differences below `tolerance` of the largest value."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 0.1))


@pytest.mark.parametrize("name", [name for name in CASES if not load_case(name).get("field")])
def test_reference_cases_in_blocks(tmp_path, monkeypatch, name):
    """The small reference systems in blocks of five atoms; one of the networks moves charge to neighbours."""
    monkeypatch.setattr(sizes, "SMALL_SYSTEM", 0)
    monkeypatch.setattr(sizes, "ATOMS_AT_ONCE", 5)
    case = load_case(name)
    module = load(write_case_model(case, tmp_path / "case.les.pt", bound=True))
    energy, forces, virial = call(module, np.array(case["positions"]), case["cell"] and np.array(case["cell"]))
    types = [case["model"]["symbols"].index(symbol) for symbol in case["symbols"]]
    offsets = np.array(case["model"]["network"]["e0"])[types].sum()
    assert_close(energy - offsets, case["energy"] - offsets, 1e-6)
    assert_close(forces, np.array(case["forces"]), 1e-5)
    if virial is not None:
        assert_close(virial, np.array(case["virial"]), 5e-5)


@pytest.mark.parametrize(
    ("options", "positions", "tolerance"),
    [
        ({"n_channels": 2, "neutrality": True}, torch.float64, 1e-5),
        ({"dtype": "float32", "k_cutoff": 3.0}, torch.float64, 1e-4),
        ({"n_channels": 0}, torch.float32, 1e-4),
    ],
    ids=["2 neutral channels", "float32 network with k_cutoff", "short range, float32 positions"],
)
def test_agrees_with_les_force(tmp_path, options, positions, tolerance):
    atoms = large_waters()
    symbols = atoms.get_chemical_symbols()
    path = tmp_path / "bound.les.pt"
    write_model_file(make_model(**options), path, {}, None, symbols)
    force = LESForce(path, symbols, **({"solver": "direct"} if options.get("n_channels") != 0 else {}))
    context = make_context(atoms, force)
    expected = evaluate(context)
    expected_virial = force.getVirial(context).value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV
    module = load(path)
    offsets = -len(atoms) / 3 * (2 * 13.6 + 432.5)
    for _ in range(3):  # later calls run optimised code
        energy, forces, virial = call(module, atoms.positions, atoms.cell.array, positions)
        assert energy - offsets == pytest.approx(expected.energy - offsets, rel=tolerance)
        assert_close(forces, expected.forces, tolerance)
        assert_close(virial, expected_virial, 5 * tolerance)
    with torch.no_grad():
        alone = module.forward(torch.tensor(atoms.positions) * 0.1, torch.tensor(atoms.cell.array) * 0.1)
    assert alone.item() / KILOJOULE_PER_MOLE_PER_EV - offsets == pytest.approx(energy - offsets, rel=tolerance)


def test_isolated(tmp_path):
    atoms = large_waters(periodic=False)
    symbols = atoms.get_chemical_symbols()
    write_model_file(make_model(n_channels=2), tmp_path / "bound.les.pt", {}, None, symbols)
    expected = evaluate(make_context(atoms, LESForce(tmp_path / "bound.les.pt", symbols, periodic=False)))
    energy, forces, _ = call(load(tmp_path / "bound.les.pt"), atoms.positions, None)
    assert energy == pytest.approx(expected.energy, rel=1e-9)
    assert_close(forces, expected.forces, 1e-8)


@pytest.mark.parametrize(
    "options",
    [{"n_layers": 2, "body_order": 2, "l_max": 1}, {"long_range": LongRangeSettings(charge_flux=True)}],
    ids=["two layers", "charge transfers"],
)
def test_other_networks(tmp_path, monkeypatch, options):
    """Messages need all atoms in one block, whatever its size; transfers put charge on atoms of other blocks."""
    atoms = waters(True)
    torch.manual_seed(1)
    settings = {"cutoff": 3.0, "n_radial": 3, "l_max": 2, "body_order": 3, "channels": 3, "hidden": [4]} | options
    model = LESModel(ModelSettings(symbols=["H", "O"], dtype="float64", **settings)).eval()
    symbols = atoms.get_chemical_symbols()
    write_model_file(model, tmp_path / "small.les.pt", {}, None, symbols)
    monkeypatch.setattr(sizes, "SMALL_SYSTEM", 0)
    monkeypatch.setattr(sizes, "ATOMS_AT_ONCE", 5)
    write_model_file(model, tmp_path / "large.les.pt", {}, None, symbols)
    small, large = (call(load(tmp_path / f"{n}.les.pt"), atoms.positions, TRICLINIC_CELL) for n in ("small", "large"))
    assert large[0] == pytest.approx(small[0], rel=1e-6)
    assert_close(large[1], small[1], 1e-5)
    assert_close(large[2], small[2], 5e-5)


def test_second_derivative_of_a_large_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "SMALL_SYSTEM", 0)
    atoms = waters(True)
    write_model_file(make_model(), tmp_path / "bound.les.pt", {}, None, atoms.get_chemical_symbols())
    positions = (torch.tensor(atoms.positions) * 0.1).requires_grad_(True)
    energy = load(tmp_path / "bound.les.pt").forward(positions, torch.tensor(TRICLINIC_CELL) * 0.1)
    gradient = torch.autograd.grad(energy, positions, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(gradient.sum(), positions)


def test_positions_that_are_not_finite_are_refused(tmp_path):
    write_model_file(make_model(), tmp_path / "bound.les.pt", {}, None, ["O", "H", "H"])
    with pytest.raises(torch.jit.Error, match="`positions` must be finite"):
        load(tmp_path / "bound.les.pt").forward(torch.full((3, 3), torch.nan))
