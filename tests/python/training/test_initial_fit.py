"""The least-squares start: element charges and linear maps from energies and forces alone."""

import numpy as np
import pytest
import torch
from ase import Atoms

from les_md import fields
from les_md.batch import collate, frame_from_atoms
from les_md.constants import COULOMB_CONSTANT, converged_k_cutoff
from les_md.ewald import periodic_energy
from les_md.forces import edge_vectors_of, evaluate
from les_md.model import LESModel
from les_md.network import Backbone
from les_md.settings import LongRangeSettings, ModelSettings
from les_md.training.data import LABEL_ENERGY, LABEL_FORCES
from les_md.training.initial_fit import element_charges, fit_start, n_fitted, short_range_columns

CHARGES = {"Na": 0.9, "Cl": -0.9}


def salt_frame(seed: int) -> dict[str, torch.Tensor]:
    """A distorted rock-salt cube of point charges that repel each other at short range, with energy and forces."""
    rng = np.random.default_rng(seed)
    grid = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    symbols = ["Na" if site.sum() % 2 == 0 else "Cl" for site in grid]
    positions = 2.6 * grid + rng.normal(0.0, 0.25, grid.shape)
    frame = frame_from_atoms(Atoms(symbols, positions=positions, cell=np.eye(3) * 5.2, pbc=True), ["Na", "Cl"], 4.0)
    moving = frame[fields.POSITIONS].clone().requires_grad_(True)
    lengths = edge_vectors_of(frame | {fields.POSITIONS: moving}).norm(dim=1)
    q = torch.tensor([[CHARGES[symbol]] for symbol in symbols], dtype=torch.float64)
    coulomb = periodic_energy(q, moving, frame[fields.CELL][0], 1.0, converged_k_cutoff(1.0), COULOMB_CONSTANT, True)
    energy = coulomb + 2.0 * (1.0 - (lengths / 4.0) ** 2).pow(3).sum()
    (slope,) = torch.autograd.grad(energy, moving)
    return frame | {LABEL_ENERGY: energy.detach().reshape(1), LABEL_FORCES: -slope}


def untrained(frames, long_range, n_layers=1):
    torch.manual_seed(0)
    sizes = {"cutoff": 4.0, "channels": 8, "n_radial": 6, "n_layers": n_layers}
    settings = ModelSettings(symbols=["Na", "Cl"], dtype="float64", long_range=long_range, **sizes)
    model = LESModel(settings)
    model.initialize_scales(collate(frames), 0.5)
    return model


@pytest.fixture(scope="module")
def frames():
    return [salt_frame(seed) for seed in range(60)]


@pytest.mark.parametrize("n_channels", [1, 2])
def test_finds_the_true_charges(frames, n_channels):
    model = untrained(frames, LongRangeSettings(n_channels=n_channels))
    charges = fit_start(model, frames)
    charges = charges * torch.sign(charges[0])
    assert charges.tolist() == pytest.approx([0.9, -0.9], abs=0.02)
    predicted = evaluate(model, frames[0])[fields.LATENT_CHARGES]
    assert predicted[:, 0].abs().tolist() == pytest.approx([0.9] * 8, abs=0.02)


def test_starts_close_to_the_data(frames):
    """The fit reproduces forces it has not seen far better than the untrained model does."""
    unseen = collate([salt_frame(seed) for seed in range(100, 104)])
    model = untrained(frames, LongRangeSettings())
    before = (evaluate(model, unseen)[fields.FORCES] - unseen[LABEL_FORCES]).square().mean().sqrt()
    fit_start(model, frames)
    after = (evaluate(model, unseen)[fields.FORCES] - unseen[LABEL_FORCES]).square().mean().sqrt()
    assert after < 0.1 * unseen[LABEL_FORCES].square().mean().sqrt()
    assert after < 0.1 * before


def test_short_range_only_has_no_charges(frames):
    model = untrained(frames, None)
    assert fit_start(model, frames) is None
    assert evaluate(model, frames[0])[fields.LATENT_CHARGES].shape == (8, 0)


def test_products_to_charges():
    # pairs aa, ab, bb
    charges = element_charges(torch.tensor([0.64, -0.32, 0.16], dtype=torch.float64), 2)
    assert (charges * torch.sign(charges[0])).tolist() == pytest.approx([0.8, -0.4])
    assert element_charges(torch.tensor([-1.0, 0.0, -1.0], dtype=torch.float64), 2) is None


@pytest.mark.parametrize(("constants", "tolerance"), [(True, 0.02), (False, 0.15)])
def test_starts_with_charge_transfers(frames, constants, tolerance):
    """Charges come from constants of the elements where total charges leave them free, and else from transfers."""
    model = untrained(frames, LongRangeSettings(charge_flux=True))
    compositions = torch.tensor([[4.0, 4.0]]) if constants else torch.eye(2)
    model.element_charges.constrain(compositions, torch.zeros(len(compositions)))
    fit_start(model, frames)
    charges = evaluate(model, frames[0])[fields.LATENT_CHARGES][:, 0].detach()
    expected = torch.tensor([0.9 if element == 0 else -0.9 for element in frames[0][fields.TYPES]])
    assert (charges * torch.sign(charges[0])).tolist() == pytest.approx(expected.tolist(), abs=tolerance)
    assert abs(float(charges.sum())) < 1e-12
    assert bool(model.element_charges().abs().max() > 0.8) == constants


class PairSums(Backbone):
    """Sums of Gaussians over the neighbours, about which nothing else is known."""

    n_features = 4

    def forward(self, types, edge_index, edge_vectors, n_centre: int):
        lengths = edge_vectors.norm(dim=1, keepdim=True)
        terms = (
            torch.exp(-((lengths - torch.linspace(1.5, 3.5, 4)) ** 2)) * torch.clamp(1.0 - lengths / 4.0, min=0) ** 2
        )
        return torch.zeros(n_centre, 4, dtype=terms.dtype).index_add(0, edge_index[0], terms)


@pytest.mark.parametrize("network", ["one layer", "two layers", "unknown"])
def test_columns_are_those_of_the_model(frames, network):
    """Linear maps set by the fit give the energies and forces that their columns say."""
    model = untrained(frames, None, n_layers=2 if network == "two layers" else 1)
    if network == "unknown":
        model = LESModel(model.settings, backbone=PairSums())
        model.initialize_scales(collate(frames), 0.5)
    fit_start(model, frames)
    frame = frames[0]
    energies, forces = short_range_columns(model, frame)
    weights = model.energy_head.linear.weight[:, : n_fitted(model)].flatten()
    solution = torch.cat([weights, model.energy_head.constant.flatten()]).detach() * model.energy_head.output_scale
    results = evaluate(model, frame)
    torch.testing.assert_close(energies @ solution, results[fields.ENERGY][0])
    torch.testing.assert_close((forces @ solution).view(-1, 3), results[fields.FORCES], atol=1e-9, rtol=1e-9)
