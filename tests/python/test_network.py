"""The atomic cluster expansion: invariances, smoothness, locality and derivatives."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from structures import random_atoms, random_model

from les_md.batch import frame_from_atoms
from les_md.forces import evaluate
from les_md.network.angular import AngularBasis, Invariants, contraction_patterns, contraction_terms, monomials
from les_md.network.backbone import Backbone, dense_neighbours
from les_md.network.cluster_expansion import rows_of_layers
from les_md.network.radial import RadialBasis, cutoff_function
from les_md.settings import ModelSettings


def frame(model, atoms):
    return frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff)


def results_of(model, atoms):
    return {key: value.detach().numpy() for key, value in evaluate(model, frame(model, atoms)).items()}


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("body_order", [2, 3, 4, 5])
def test_rotation_and_reflection(n_layers, body_order):
    atoms = random_atoms(periodic=False)
    model = random_model(atoms=atoms, n_layers=n_layers, body_order=body_order)
    before = results_of(model, atoms)
    for matrix in (rotation(1), -rotation(2)):
        turned = atoms.copy()
        turned.positions = atoms.positions @ matrix + 3.0
        after = results_of(model, turned)
        assert after["energy"] == pytest.approx(before["energy"], rel=1e-12)
        np.testing.assert_allclose(after["forces"], before["forces"] @ matrix, atol=1e-10)
        np.testing.assert_allclose(after["latent_charges"], before["latent_charges"], atol=1e-12)
        np.testing.assert_allclose(after["virial"][0], matrix.T @ before["virial"][0] @ matrix, atol=1e-9)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_wrapping_and_permutation(n_layers):
    atoms = random_atoms(tilt=1.0)
    model = random_model(atoms=atoms, n_layers=n_layers)
    before = results_of(model, atoms)
    moved = atoms.copy()
    moved.positions += np.random.default_rng(3).integers(-2, 3, (len(atoms), 3)) @ np.asarray(atoms.cell)
    order = np.random.default_rng(4).permutation(len(atoms))
    after = results_of(model, moved[order])
    assert after["energy"] == pytest.approx(before["energy"], rel=1e-12)
    np.testing.assert_allclose(after["forces"], before["forces"][order], atol=1e-9)
    np.testing.assert_allclose(after["virial"], before["virial"], atol=1e-8)


def test_supercell_doubles_the_energy(model):
    atoms = random_atoms(length=7.0)
    before, after = results_of(model, atoms), results_of(model, atoms.repeat((2, 1, 1)))
    assert after["energy"] == pytest.approx(2.0 * before["energy"], rel=1e-9)
    np.testing.assert_allclose(after["latent_charges"][: len(atoms)], before["latent_charges"], atol=1e-12)


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("periodic", [True, False])
def test_forces_and_virial_are_derivatives(n_layers, periodic):
    atoms = random_atoms(n_atoms=8, periodic=periodic, tilt=0.5)
    model = random_model(atoms=atoms, n_layers=n_layers)
    results = results_of(model, atoms)
    h = 1e-5
    largest = np.abs(results["forces"]).max()

    def energy(positions, cell):
        trial = atoms.copy()
        trial.set_cell(cell)
        trial.positions = positions
        return float(results_of(model, trial)["energy"][0])

    for i, axis in ((0, 0), (3, 1), (7, 2)):
        step = np.zeros_like(atoms.positions)
        step[i, axis] = h
        slope = (energy(atoms.positions + step, atoms.cell) - energy(atoms.positions - step, atoms.cell)) / (2 * h)
        assert results["forces"][i, axis] == pytest.approx(-slope, abs=1e-6 * largest)
    for a in range(3):
        for b in range(a, 3):
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5 * h
            strain[b, a] += 0.5 * h
            up, down = np.eye(3) + strain, np.eye(3) - strain
            cell = np.asarray(atoms.cell)
            slope = (energy(atoms.positions @ up, cell @ up) - energy(atoms.positions @ down, cell @ down)) / (2 * h)
            assert results["virial"][0, a, b] == pytest.approx(-slope, abs=1e-5 * largest)


def test_an_atom_enters_smoothly(model):
    """Energy and forces have no step where a neighbour crosses the cutoff."""
    cutoff = model.settings.cutoff
    values = []
    for r in (cutoff - 1e-5, cutoff + 1e-5):
        atoms = Atoms("OH", positions=[[0, 0, 0], [r, 0, 0]])
        results = results_of(model, atoms)
        values.append((results["short_range_energy"][0], *results["latent_charges"][:, 0]))
    np.testing.assert_allclose(values[0], values[1], atol=1e-10)


def test_one_layer_is_strictly_local():
    """Charges of a one-layer model do not feel atoms beyond the cutoff; with two layers they do."""
    chain = Atoms("OHO", positions=[[0, 0, 0], [3, 0, 0], [6, 0, 0]])
    bent = Atoms("OHO", positions=[[0, 0, 0], [3, 0, 0], [5.5, 1.5, 0]])
    for n_layers, feels in ((1, False), (2, True)):
        model = random_model(n_layers=n_layers)
        change = results_of(model, chain)["latent_charges"][0] - results_of(model, bent)["latent_charges"][0]
        assert (np.abs(change).max() > 1e-8) == feels


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_ghost_rows_need_no_edges(n_layers):
    """Owned atoms first, ghosts after: the result does not depend on edges around ghosts beyond the receptive field."""
    atoms = random_atoms(n_atoms=40, length=14.0, periodic=False)
    model = random_model(atoms=atoms, n_layers=n_layers)
    batch = frame(model, atoms)
    edge_index = batch["edge_index"]
    vectors = (batch["positions"][edge_index[1]] - batch["positions"][edge_index[0]]).requires_grad_(True)
    full = model(batch["types"], edge_index, vectors, len(atoms))
    (full_gradient,) = torch.autograd.grad(full["node_energies"][:5].sum(), vectors)
    centres = torch.arange(len(atoms)) < 5
    for _ in range(1, n_layers):
        centres[edge_index[1][centres[edge_index[0]]]] = True
    used = centres[edge_index[0]]
    assert used.sum() < edge_index.size(1)
    for edges in (used, torch.ones_like(used)):
        part = model(batch["types"], edge_index[:, edges], vectors[edges], 5)
        torch.testing.assert_close(part["node_energies"], full["node_energies"][:5], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part["latent_charges"][:5], full["latent_charges"][:5], rtol=1e-12, atol=1e-12)
        assert part["latent_charges"].shape == (len(atoms), 1)
        assert not part["latent_charges"][5:].any()
        (gradient,) = torch.autograd.grad(part["node_energies"].sum(), vectors)
        torch.testing.assert_close(gradient, full_gradient, rtol=1e-12, atol=1e-12)


def test_layers_skip_rows_that_nobody_needs():
    """A chain of atoms of which the middle one is wanted: each earlier layer needs one more on either side."""
    order = [3, 2, 4, 1, 5, 0, 6]  # place in the chain of each atom
    edges = sorted((order.index(a), order.index(b)) for a in range(7) for b in (a - 1, a + 1) if 0 <= b < 7)
    types = torch.tensor([0, 1, 0, 1, 1, 1, 0])
    rows, row_of, runs_of = rows_of_layers(types, torch.tensor(edges).T, 1, 3, 2)
    assert [sum(runs) for runs in runs_of] == [5, 3, 1]
    assert runs_of[0] == [1, 0, 1, 1, 0, 2]  # of each element: the atom, its neighbours, theirs
    assert rows.tolist() == [0, 2, 1, 3, 4]
    assert row_of[rows].tolist() == [0, 1, 2, 3, 4]
    assert (row_of[5:] >= 5).all()
    # ghosts in another order
    swap = torch.tensor([0, 5, 2, 4, 3, 1, 6])
    rows, row_of, runs_of = rows_of_layers(types, swap[torch.tensor(edges).T], 1, 3, 2)
    assert [sum(runs) for runs in runs_of] == [5, 3, 1]
    assert rows[0] == 0
    assert set(rows[1:3].tolist()) == {5, 2}
    assert set(rows[3:].tolist()) == {4, 3}
    assert row_of[rows].tolist() == [0, 1, 2, 3, 4]


def test_no_atoms_and_no_neighbours(model):
    empty = model(torch.zeros(0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, 3), 0)
    assert empty["node_energies"].shape == (0,)
    alone = results_of(model, Atoms("O", positions=[[0, 0, 0]]))
    assert np.isfinite(alone["energy"]).all()
    assert not alone["forces"].any()


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_only_ghosts(n_layers):
    """A domain without atoms of its own."""
    model = random_model(n_layers=n_layers)
    vectors = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    results = model(torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]]), vectors, 0)
    assert results["node_energies"].shape == (0,)
    assert results["latent_charges"].tolist() == [[0.0], [0.0]]


def test_patterns_of_contraction():
    # two factors share l = 1 ... l_max indices; three factors of degree <= 3: 211, 321, 222, 332 in degrees
    assert contraction_patterns(2, 3) == [(1,), (2,), (3,)]
    assert len(contraction_patterns(3, 3)) == 4
    assert Invariants(3, 4).n_invariants == 1 + 3 + 4
    assert len(monomials(3)) == 20


def test_invariants_against_tensors():
    """Three factors in the pattern (1, 1, 1) are the trace of a matrix product."""
    vectors = torch.randn(5, 3, dtype=torch.float64)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    weights = torch.randn(5, dtype=torch.float64)
    basis = (weights[:, None] * AngularBasis(2)(vectors)).sum(0).reshape(1, -1, 1)
    matrix = torch.einsum("j,ja,jb->ab", weights, vectors, vectors)
    traces = {(2,): (matrix * matrix).sum(), (1, 1, 1): torch.trace(matrix @ matrix @ matrix)}
    values = Invariants(2, 4).double()(basis).flatten()
    patterns = [(0,), *contraction_patterns(2, 2), *contraction_patterns(3, 2)]
    for pattern, trace in traces.items():
        n_factors = 2 if len(pattern) == 1 else 3
        norm = math.sqrt(sum(value**2 for value in contraction_terms(pattern, n_factors).values()))
        assert values[patterns.index(pattern)].item() == pytest.approx(trace.item() / norm)


def test_radial_basis_vanishes_at_the_cutoff():
    r = torch.tensor([1.0, 4.0 - 1e-9, 4.0, 5.0], dtype=torch.float64, requires_grad=True)
    values = RadialBasis(4.0, 6).double()(r)
    assert values[0].abs().max() > 0.1
    assert values[1:].abs().max() < 1e-12
    (slope,) = torch.autograd.grad(cutoff_function(r, 4.0)[1], r, create_graph=True)
    assert slope[1].abs() < 1e-6


def test_dense_neighbours_keep_every_edge():
    edge_index = torch.tensor([[0, 0, 2, 2, 2, 2, 2], [1, 2, 0, 1, 3, 4, 5]])
    places, slots = dense_neighbours(edge_index, 3)
    assert slots == 8
    assert places.tolist() == [0, 1, 16, 17, 18, 19, 20]


def test_another_backbone_takes_the_place():
    class CountNeighbours(Backbone):
        n_features = 1

        def forward(self, types, edge_index, edge_vectors, n_centre: int):
            weight = torch.exp(-edge_vectors.square().sum(1, keepdim=True))
            zeros = torch.zeros(n_centre, 1, dtype=weight.dtype)
            return zeros.index_add(0, edge_index[0], weight)

    from les_md.model import LESModel

    atoms = random_atoms()
    model = LESModel(ModelSettings(symbols=["O", "H"], cutoff=3.5, dtype="float64"), backbone=CountNeighbours())
    results = results_of(model, atoms)
    assert np.abs(results["forces"]).max() > 0
    assert np.abs(results["forces"].sum(0)).max() < 1e-10
