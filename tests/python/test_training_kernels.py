"""The compiled steps of training against the network in plain tensor operations, which is the reference."""

import numpy as np
import pytest
import torch
from ase import Atoms
from structures import random_atoms, random_model

from les_md import fields
from les_md.batch import collate, frame_from_atoms
from les_md.ewald import isolated_energy
from les_md.forces import evaluate
from les_md.isolated_sum import isolated_energies
from les_md.network import kernels
from les_md.network.radial import RadialBasis
from les_md.settings import LongRangeSettings


def loss_and_gradients(model, batch, compiled):
    """A loss with energies, forces and charges, and its gradients in all parameters."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with kernels.training_kernels(compiled):
        results = evaluate(model, batch, create_graph=True)
        loss = results["forces"].pow(3).sum() + results["virial"].square().sum() + results["energy"].sum()
        loss = loss + results["latent_charges"].square().sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return results, loss, gradients


def compare(model, batch, tolerance=1e-9):
    plain, compiled = (loss_and_gradients(model, batch, on) for on in (False, True))
    for name in ("energy", "forces", "virial", "latent_charges"):
        torch.testing.assert_close(compiled[0][name], plain[0][name], rtol=tolerance, atol=tolerance)
    for ours, reference in zip(compiled[2], plain[2], strict=True):
        assert (ours is None) == (reference is None)
        if ours is not None:
            torch.testing.assert_close(ours, reference, rtol=tolerance, atol=tolerance * float(reference.abs().max()))


@pytest.fixture(autouse=True)
def needs_the_engine():
    with kernels.training_kernels():
        assert kernels.in_use(torch.zeros(1, 3))


@pytest.mark.parametrize(
    "settings",
    [
        {"l_max": 3, "body_order": 4, "channels": 16},
        {"l_max": 0, "body_order": 2},
        {"l_max": 2, "body_order": 5, "channels": 5},
        {"l_max": 4, "body_order": 3, "channels": 17},
        {"n_layers": 2, "n_messages": 3},
        {"n_layers": 3, "l_max": 1, "n_embedding": 1},
    ],
    ids=lambda settings: ",".join(f"{name}={value}" for name, value in settings.items()),
)
@pytest.mark.parametrize("periodic", [True, False], ids=["periodic", "isolated"])
def test_same_loss_and_gradients(settings, periodic):
    atoms = random_atoms(n_atoms=10, periodic=periodic)
    model = random_model(atoms=atoms, **settings)
    compare(model, frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff))


def test_charge_transfers():
    atoms = random_atoms(n_atoms=10)
    model = random_model(atoms=atoms, long_range=LongRangeSettings(charge_flux=True))
    compare(model, frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff))


@pytest.mark.parametrize(
    "long_range",
    [LongRangeSettings(n_channels=2), LongRangeSettings(neutrality=True, remove_self_interaction=False, smearing=0.7)],
    ids=["two channels", "neutral with self energy"],
)
def test_many_isolated_systems(long_range):
    """Sizes differ, one atom is alone, two systems coincide in space."""
    systems = [random_atoms(n_atoms=n, periodic=False, seed=n) for n in (6, 9)]
    systems += [Atoms("O", positions=[[0, 0, 0]]), systems[0].copy()]
    model = random_model(atoms=systems[1], long_range=long_range)
    compare(model, collate([frame_from_atoms(a, model.settings.symbols, model.settings.cutoff) for a in systems]))


def test_float32_agrees_to_rounding():
    atoms = random_atoms(n_atoms=10)
    model = random_model(atoms=atoms, dtype="float32", l_max=3, channels=8)
    compare(model, frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff), 2e-4)


def test_isolated_energies_are_those_of_ewald():
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([3, 1, 5])
    positions = torch.randn(9, 3, dtype=torch.float64, generator=generator)
    charges = torch.randn(9, 2, dtype=torch.float64, generator=generator)
    energies = isolated_energies(
        charges, positions, torch.repeat_interleave(torch.arange(3), sizes), sizes, 0.8, 14.4, False
    )
    parts = zip(charges.split([3, 1, 5]), positions.split([3, 1, 5]), strict=True)
    expected = torch.stack([isolated_energy(q, r, 0.8, 14.4, False) for q, r in parts])
    torch.testing.assert_close(energies, expected)


def test_slopes_of_the_radial_basis():
    basis = RadialBasis(4.0, 5).double()
    r = torch.tensor([0.7, 2.0, 3.9, 4.0, 5.0], dtype=torch.float64, requires_grad=True)
    values = basis(r)
    slopes = torch.stack([torch.autograd.grad(values[:, n].sum(), r, retain_graph=True)[0] for n in range(5)], dim=1)
    torch.testing.assert_close(basis.with_slopes(r.detach()), torch.stack([values.detach(), slopes], dim=1))


def test_only_inside_the_context():
    """Outside of it forces may be differentiated with respect to positions."""
    assert not kernels.in_use(torch.zeros(1, 3))
    atoms = random_atoms(periodic=False)
    model = random_model(atoms=atoms)
    batch = frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff)

    moving = batch[fields.POSITIONS].clone().requires_grad_(True)
    vectors = moving[batch[fields.EDGE_INDEX][1]] - moving[batch[fields.EDGE_INDEX][0]]
    energy = model(batch[fields.TYPES], batch[fields.EDGE_INDEX], vectors, len(moving))[fields.NODE_ENERGIES].sum()
    (slope,) = torch.autograd.grad(energy, moving, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.square().sum(), moving)
    assert curvature.abs().max() > 0


def test_wrong_arrays_are_refused():
    core = kernels._core()
    edges, vectors, radial, embedding = (
        np.array([[0, 1], [1, 5]]),
        np.zeros((2, 3)),
        np.zeros((2, 2, 4)),
        np.zeros((2, 1)),
    )
    with pytest.raises(core.EngineError, match="`neighbours` must be from 0 to 1"):
        core.Edges_float64(edges[0], edges[1], vectors, radial, embedding, 2)
    with pytest.raises(core.EngineError, match=r"`l_max` must be 0 to 6, got 7"):
        core.Edges_float64(edges[0], edges[0], vectors, radial, embedding, 7)
