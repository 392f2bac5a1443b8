"""Direct sums: published values, closed forms and derivatives, in Python and in the engine."""

import math

import numpy as np
import pytest
import torch
from reference_cases import load_case, write_case_model

from les_md.constants import COULOMB_CONSTANT, converged_k_cutoff
from les_md.engine import Engine
from les_md.ewald import isolated_energy, neutralize, periodic_energy, self_energy
from les_md.forces import total_charge_of
from les_md.settings import LongRangeSettings


def pair(distance):
    charges = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    return charges, torch.tensor([[0.0, 0, 0], [distance, 0, 0]], dtype=torch.float64)


def periodic(charges, positions, cell, k_cutoff=None, smearing=1.0, remove=True):
    k_cutoff = k_cutoff or converged_k_cutoff(smearing)
    return periodic_energy(charges, positions, cell, smearing, k_cutoff, COULOMB_CONSTANT, remove)


def engine_energy(distance, k_cutoff, box, tmp_path):
    """Long-range energy of the pair from a model file whose network predicts +1 and -1 e."""
    case = load_case("two_elements")
    zero = np.zeros((2, 2)).tolist()
    case["model"]["network"] |= {"a": zero, "q0": [[1.0], [-1.0]], "b": [[[0.0]] * 2] * 2, "t": [[[0.0]] * 2] * 2}
    case["model"]["long_range"] |= {"remove_self_interaction": True, "k_cutoff": k_cutoff}
    engine = Engine(write_case_model(case, tmp_path / "pair.les.pt"))
    positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
    cell = np.eye(3) * (box or 1.0)
    return engine.compute(positions, np.array([0, 1]), cell, box is not None)


# Independent of this project: charges +1/-1 e, smearing 1 angstrom, self-interaction removed
ISOLATED = [(1.0, -9.8304822), (3.0, -4.7869210), (10.0, -1.4399638)]
PERIODIC = [(2.0 * math.pi / 2.0, -5.1169272), (2.0 * math.pi / 1.0, -5.0955219), (None, -5.0955219)]


@pytest.mark.parametrize(("distance", "expected"), ISOLATED)
def test_isolated_reference_values(distance, expected, tmp_path):
    energy = isolated_energy(*pair(distance), 1.0, COULOMB_CONSTANT, True)
    assert energy.item() == pytest.approx(expected, abs=1e-7)
    assert engine_energy(distance, None, None, tmp_path)["long_range_energy"] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("k_cutoff", "expected"), PERIODIC)
def test_periodic_reference_values(k_cutoff, expected, tmp_path):
    energy = periodic(*pair(3.0), torch.eye(3, dtype=torch.float64) * 10.0, k_cutoff)
    assert energy.item() == pytest.approx(expected, abs=1e-7)
    assert engine_energy(3.0, k_cutoff, 10.0, tmp_path)["long_range_energy"] == pytest.approx(expected, abs=1e-7)


def test_number_of_k_vectors(tmp_path):
    case = load_case("two_elements")
    case["model"]["long_range"] |= {"k_cutoff": math.pi}
    engine = Engine(write_case_model(case, tmp_path / "pair.les.pt"))
    engine.compute(np.array([[0.0, 0, 0], [3.0, 0, 0]]), np.array([0, 1]), np.eye(3) * 10.0, True)
    assert engine.long_range_description.startswith("direct sum, 514 k-vectors up to 3.142")


def test_rock_salt_madelung_constant():
    """With little smearing the energy per ion pair is -1.747565 K_e / d (Madelung constant of NaCl)."""
    d, smearing = 2.8, 0.35
    grid = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    charges = torch.tensor((-1.0) ** grid.sum(1))[:, None]
    positions = torch.tensor(grid * d)
    cell = torch.eye(3, dtype=torch.float64) * 2 * d
    energy = periodic(charges, positions, cell, smearing=smearing).item() / 4.0
    # neighbours at d, sqrt(2) d, ...: erfc(r / (sqrt(2) smearing)) is below 1e-15 at 2.8 / 0.35 = 8
    assert energy == pytest.approx(-1.747564594633 * COULOMB_CONSTANT / d, rel=1e-9)


def test_large_box_is_isolated():
    charges, positions = pair(3.0)
    alone = isolated_energy(charges, positions, 1.0, COULOMB_CONSTANT, True).item()
    boxed = periodic(charges, positions, torch.eye(3, dtype=torch.float64) * 60.0).item()
    # the dipole term of tin-foil boundaries: -(2 pi / 3) K_e mu^2 / V
    dipole_term = -2.0 * math.pi / 3.0 * COULOMB_CONSTANT * 9.0 / 60.0**3
    assert boxed == pytest.approx(alone + dipole_term, abs=1e-5)


@pytest.mark.parametrize("remove", [True, False])
def test_self_energy(remove):
    charges, positions = pair(3.0)
    kept = isolated_energy(charges, positions, 1.0, COULOMB_CONSTANT, False)
    removed = isolated_energy(charges, positions, 1.0, COULOMB_CONSTANT, True)
    assert (kept - removed).item() == pytest.approx(self_energy(charges, 1.0, COULOMB_CONSTANT).item())
    # N_F / (2 pi)^{3/2} = 5.74462 eV for a unit charge
    assert self_energy(charges[:1], 1.0, COULOMB_CONSTANT).item() == pytest.approx(5.74462, abs=1e-5)


def test_orientation_and_handedness_do_not_matter():
    torch.manual_seed(0)
    charges, positions = torch.randn(6, 1, dtype=torch.float64), torch.rand(6, 3, dtype=torch.float64) * 6
    cell = torch.tensor([[6.0, 0, 0], [1.5, 5.5, 0], [-1.0, 0.8, 6.2]], dtype=torch.float64)
    energy = periodic(charges, positions, cell).item()
    assert periodic(charges, positions, cell[[1, 0, 2]]).item() == pytest.approx(energy, rel=1e-12)
    sheared = cell.clone()
    sheared[2] += cell[0] - cell[1]
    assert periodic(charges, positions, sheared).item() == pytest.approx(energy, rel=1e-9)


def test_second_derivatives():
    """Force training differentiates twice, through charges, positions and cell."""
    torch.manual_seed(1)
    charges = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    positions = (torch.rand(4, 3, dtype=torch.float64) * 4).requires_grad_(True)
    cell = (torch.eye(3, dtype=torch.float64) * 4.3 + 0.2).requires_grad_(True)
    # k_cutoff away from a shell, so that the set of k-vectors stays the same
    assert torch.autograd.gradgradcheck(lambda q, r, c: periodic(q, r, c, 3.21), (charges, positions, cell))
    assert torch.autograd.gradgradcheck(
        lambda q, r: isolated_energy(q, r, 1.0, COULOMB_CONSTANT, True), (charges, positions)
    )


def test_neutralize():
    charges = torch.randn(5, 2, dtype=torch.float64)
    total = torch.tensor([1.0, -0.5], dtype=torch.float64)
    torch.testing.assert_close(neutralize(charges, total).sum(0), total)


def test_total_charge_of_a_frame_comes_before_that_of_the_settings():
    settings = LongRangeSettings(n_channels=2, neutrality=True, total_charge=[1.0, -0.5])
    for frame, expected in ((math.nan, [1.0, -0.5]), (0.0, [0.0, 0.0]), (2.0, [2.0, 0.0])):
        assert total_charge_of(settings, torch.tensor(frame)).tolist() == expected
