"""The reference cases of tests/data through LESForce and through the entry that TorchForce calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from openmm import unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, evaluate, make_context
from reference_cases import CASES, load_case, write_case_model

from les_md.export import torchscript
from les_md.openmm import LESForce

TOLERANCES = [("float64", 1e-6), ("float32", 1e-4)]


def atoms_of(case: dict[str, Any]) -> ase.Atoms:
    return ase.Atoms(case["symbols"], positions=case["positions"], cell=case["cell"], pbc=case["cell"] is not None)


def assert_close(got: Any, expected: Any, tolerance: float) -> None:
    """Differences below `tolerance` of the largest value."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_les_force(tmp_path, platform, name, dtype, tolerance):
    assert_as_in_case(tmp_path, load_case(name), platform, dtype, tolerance, solver="direct")


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("name", [name for name in CASES if load_case(name)["cell"] is not None])
def test_mesh(tmp_path, name, dtype, tolerance):
    assert_as_in_case(tmp_path, load_case(name), "Reference", dtype, tolerance, solver="mesh", accuracy=0.1 * tolerance)


def assert_as_in_case(
    folder: Path, case: dict[str, Any], platform: str, dtype: str, tolerance: float, **options: Any
) -> None:
    """Every number of `case` through a LESForce with `options`."""
    atoms = atoms_of(case)
    model = write_case_model(case, folder / "case.les.pt", dtype)
    force = LESForce(model, case["symbols"], periodic=case["cell"] is not None, **options)
    context = make_context(atoms, force, platform=platform)
    got = evaluate(context)
    offsets = np.array(case["model"]["network"]["e0"])[
        [case["model"]["symbols"].index(s) for s in case["symbols"]]
    ].sum()
    assert_close(got.energy - offsets, case["energy"] - offsets, tolerance)
    assert_close(got.forces, case["forces"], tolerance)
    assert_close(force.getLatentCharges(context), case["latent_charges"], tolerance)
    virial = force.getVirial(context).value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV
    assert_close(virial, case["virial"], tolerance)
    long_range = force.getLongRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole)
    assert_close(long_range / KILOJOULE_PER_MOLE_PER_EV, case["long_range_energy"], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_torchforce_entry(tmp_path, name, dtype, tolerance):
    case = load_case(name)
    with torchscript():
        module = torch.jit.load(write_case_model(case, tmp_path / "case.les.pt", dtype, bound=True))
    positions = (torch.tensor(case["positions"], dtype=torch.float64) * 0.1).requires_grad_(True)
    box = [] if case["cell"] is None else [torch.tensor(case["cell"], dtype=torch.float64) * 0.1]
    energy = module.forward(positions, *box)
    energy.backward()
    offsets = np.array(case["model"]["network"]["e0"])[
        [case["model"]["symbols"].index(s) for s in case["symbols"]]
    ].sum()
    assert_close(energy.item() / KILOJOULE_PER_MOLE_PER_EV - offsets, case["energy"] - offsets, tolerance)
    assert positions.grad is not None
    assert_close(-positions.grad.numpy() * 0.1 / KILOJOULE_PER_MOLE_PER_EV, case["forces"], tolerance)
