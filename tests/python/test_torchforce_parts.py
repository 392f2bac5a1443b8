"""Parts of the self-contained entry: neighbour search against vesin, mesh and isolated sum against the direct sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vesin

from les_md import torchforce_sizes as sizes
from les_md.constants import COULOMB_CONSTANT, converged_k_cutoff
from les_md.ewald import isolated_energy, periodic_energy
from les_md.torchforce_isolated import isolated_energy_in_blocks
from les_md.torchforce_mesh import mesh_energy, mesh_spacing, window_coefficients, window_shape
from les_md.torchforce_neighbours import neighbour_search

CELLS = {
    "orthorhombic": [[17.0, 0.0, 0.0], [0.0, 15.0, 0.0], [0.0, 0.0, 19.0]],
    "reduced triclinic": [[17.0, 0.0, 0.0], [7.9, 16.0, 0.0], [-8.3, -7.5, 15.5]],
    "any orientation": [[-3.0, 14.0, 2.0], [15.0, 2.0, -1.0], [1.0, 4.0, -16.0]],
    "small": [[3.1, 0.0, 0.0], [1.2, 2.9, 0.0], [-0.7, 0.9, 2.6]],
    "flat": [[25.0, 0.0, 0.0], [0.0, 3.0, 0.0], [3.0, 1.0, 40.0]],
}
CUTOFF = 5.3


def random_positions(cell, n_atoms, seed=0):
    """(n_atoms, 3) in several images of `cell`."""
    generator = torch.Generator().manual_seed(seed)
    return (4.0 * torch.rand(n_atoms, 3, dtype=torch.float64, generator=generator) - 2.0) @ torch.tensor(
        cell, dtype=torch.float64
    )


def sorted_edges(edge_index, shifts):
    rows = np.column_stack([edge_index.T, shifts]).astype(int)
    return rows[np.lexsort(rows.T[::-1])]


def assert_as_vesin(positions, cell, periodic):
    edge_index, shifts = neighbour_search(positions, torch.tensor(cell, dtype=torch.float64), periodic, CUTOFF)
    assert bool((edge_index[0].diff() >= 0).all())
    pairs, expected = vesin.NeighborList(cutoff=CUTOFF, full_list=True).compute(
        points=positions.numpy(), box=np.array(cell), periodic=periodic, quantities="PS"
    )
    found = sorted_edges(edge_index.numpy(), shifts.numpy())
    assert len(np.unique(found, axis=0)) == len(found)
    np.testing.assert_array_equal(found, sorted_edges(pairs.T, expected))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_neighbours_in_a_cell(cell):
    volume = abs(np.linalg.det(cell))
    assert_as_vesin(random_positions(cell, max(3, int(0.06 * volume))), cell, True)


@pytest.mark.parametrize("n_atoms", [1, 200])
def test_neighbours_in_open_space(n_atoms):
    assert_as_vesin(random_positions(CELLS["flat"], n_atoms), np.zeros((3, 3)), False)


def test_neighbours_in_several_blocks_and_capped_columns(monkeypatch):
    positions = random_positions(CELLS["reduced triclinic"], 150)
    monkeypatch.setattr(sizes, "PAIRS_AT_ONCE", 1000)
    assert_as_vesin(positions, CELLS["reduced triclinic"], True)
    monkeypatch.setattr(sizes, "MOST_COLUMNS", 2)
    assert_as_vesin(positions, CELLS["reduced triclinic"], True)
    # far apart in open space the columns get wider
    assert_as_vesin(positions + 1e6 * (torch.arange(150) % 2).unsqueeze(1), np.zeros((3, 3)), False)


def test_candidate_pairs_grow_with_the_number_of_atoms(monkeypatch):
    """Distances are computed for a number of pairs per atom that does not depend on the number of atoms."""
    per_atom = []
    square = torch.Tensor.square
    for n_cells in (1, 2, 3):
        computed = []
        monkeypatch.setattr(torch.Tensor, "square", lambda x, log=computed: (log.append(len(x)), square(x))[1])
        cell = torch.eye(3, dtype=torch.float64) * 18.0 * n_cells
        positions = random_positions(cell.tolist(), 300 * n_cells**3)
        neighbour_search(positions, cell, True, CUTOFF)
        per_atom.append(sum(computed) / len(positions))
    assert per_atom[2] == pytest.approx(per_atom[1], rel=0.05)
    assert per_atom[1] == pytest.approx(per_atom[0], rel=0.15)


def test_pairs_at_the_faces_of_the_cell():
    """Atoms on faces, edges and corners, and on them but for rounding."""
    cell = torch.eye(3, dtype=torch.float64) * 6.0
    corner = torch.tensor([[0.0, 0.0, 0.0], [6.0, 0.0, 3.0], [-1e-17, 3.0, 6.0], [12.0 - 1e-15, 3.0, 3.0]])
    assert_as_vesin(corner.to(torch.float64), cell.tolist(), True)


def mesh(charges, positions, cell, k_cutoff, smearing=1.0, remove=True, gradients=True):
    shape = window_shape(smearing, k_cutoff)
    return mesh_energy(
        charges,
        positions,
        cell,
        smearing,
        k_cutoff,
        COULOMB_CONSTANT,
        remove,
        mesh_spacing(smearing, k_cutoff),
        shape,
        window_coefficients(shape),
        gradients,
    )


def charged_system(cell, n_atoms=80, n_channels=1):
    """Charges that do not add up to zero, positions in several images, and the cell, all with gradients."""
    generator = torch.Generator().manual_seed(3)
    charges = torch.randn(n_atoms, n_channels, dtype=torch.float64, generator=generator) + 0.2
    positions = random_positions(cell, n_atoms)
    return [x.requires_grad_() for x in (charges, positions, torch.tensor(cell, dtype=torch.float64))]


@pytest.mark.parametrize(
    ("smearing", "k_cutoff"), [(1.0, None), (1.0, 1.2), (1.0, 2.0), (1.0, np.pi), (1.0, 4.0), (0.7, 7.7), (2.0, 1.0)]
)
@pytest.mark.parametrize("cell", [CELLS["orthorhombic"], CELLS["reduced triclinic"], CELLS["any orientation"]])
def test_mesh_agrees_with_the_direct_sum(cell, smearing, k_cutoff):
    k_cutoff = k_cutoff or converged_k_cutoff(smearing)
    system = charged_system(cell, n_channels=2)
    exact = periodic_energy(*system, smearing, k_cutoff, COULOMB_CONSTANT, True)
    gradients = torch.autograd.grad(exact, system)
    energy, *found = mesh(*(x.detach() for x in system), k_cutoff, smearing)
    assert energy.item() == pytest.approx(exact.item(), rel=1e-6)
    for value, expected, tolerance in zip(found, gradients, (3e-6, 1e-5, 5e-5), strict=True):
        assert float((value - expected).norm() / expected.norm()) < tolerance


@pytest.mark.parametrize("k_cutoff", [None, 3.0], ids=["converged", "k_cutoff 3"])
def test_mesh_keeps_the_self_energy_if_asked(k_cutoff):
    system = [x.detach() for x in charged_system(CELLS["orthorhombic"])]
    arguments = (1.0, k_cutoff or converged_k_cutoff(1.0), COULOMB_CONSTANT, False)
    energy, *gradients = mesh(*system, arguments[1], remove=False)
    assert energy.item() == pytest.approx(periodic_energy(*system, *arguments).item(), rel=1e-6)
    assert gradients[0].shape == system[0].shape
    assert mesh(*system, arguments[1], remove=False, gradients=False)[0].item() == energy.item()


@pytest.mark.parametrize("k_cutoff", [None, 2.03], ids=["converged", "k_cutoff 2.03"])
@pytest.mark.parametrize("cell", [CELLS["small"], CELLS["reduced triclinic"]], ids=["small", "triclinic"])
def test_mesh_gradients_are_those_of_its_energy(monkeypatch, cell, k_cutoff):
    monkeypatch.setattr(sizes, "MESH_ATOMS_AT_ONCE", 2)
    k_cutoff = k_cutoff or converged_k_cutoff(1.0)
    system = [x.detach() for x in charged_system(cell, n_atoms=5, n_channels=2)]
    gradients = mesh(*system, k_cutoff)[1:]
    step = 1e-4
    generator = torch.Generator().manual_seed(7)
    for which in range(3):
        direction = torch.randn(system[which].shape, dtype=torch.float64, generator=generator)
        values = []
        for sign in (1.0, -1.0):
            moved = list(system)
            moved[which] = system[which] + sign * step * direction
            values.append(mesh(*moved, k_cutoff, gradients=False)[0])
        slope = (values[0] - values[1]) / (2.0 * step)
        # in the cell, the self energy of modes beyond the mesh is counted as if they crossed its border evenly
        tolerance = 1e-4 if which == 2 else 1e-6
        assert slope.item() == pytest.approx((gradients[which] * direction).sum().item(), rel=tolerance, abs=1e-6)


@pytest.mark.parametrize("remove", [True, False], ids=["self removed", "self kept"])
def test_isolated_blocks_agree_with_the_whole_sum(monkeypatch, remove):
    monkeypatch.setattr(sizes, "PAIRS_AT_ONCE", 150)
    charges, positions, _ = charged_system(CELLS["orthorhombic"], n_atoms=40, n_channels=2)
    arguments = (0.9, COULOMB_CONSTANT, remove)
    exact = isolated_energy(charges, positions, *arguments)
    in_charges, in_positions = torch.autograd.grad(exact, (charges, positions))
    energy, *found = isolated_energy_in_blocks(charges.detach(), positions.detach(), *arguments, True)
    assert energy.item() == pytest.approx(exact.item(), rel=1e-12)
    torch.testing.assert_close(found[0], in_charges, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[1], in_positions, rtol=1e-10, atol=1e-10)


def test_mesh_that_does_not_fit_is_refused():
    charges, positions, cell = (x.detach() for x in charged_system(CELLS["orthorhombic"]))
    with pytest.raises(RuntimeError, match=r"a mesh of \[.*\] points does not fit into memory; use LESForce"):
        mesh(charges, positions, 100.0 * cell, converged_k_cutoff(1.0))
