"""Small models and structures shared by the Python tests."""

import numpy as np
import pytest
import torch
from ase import Atoms

from les_md.batch import collate, frame_from_atoms
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings


def random_atoms(n_atoms=12, length=7.0, seed=0, periodic=True, tilt=0.0):
    """Atoms of two elements at least 1 angstrom apart."""
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * length + tilt * np.array([[0, 0.1, -0.2], [0.9, 0, 0.3], [-0.7, 0.6, 0]])
    probe = Atoms("O", positions=[rng.uniform(0, length, 3)], cell=cell, pbc=periodic)
    while len(probe) < n_atoms:
        trial = probe + Atoms("H" if len(probe) % 3 else "O", positions=[rng.uniform(0, 1, 3) @ cell])
        if trial.get_distances(-1, range(len(probe)), mic=periodic).min() > 1.0:
            probe = trial
    if not periodic:
        probe.cell = None
    return probe


def random_model(seed=0, atoms=None, dtype="float64", **settings):
    """A small model with random weights and feature scales taken from random structures and `atoms`."""
    torch.manual_seed(seed)
    chosen = {"cutoff": 3.5, "channels": 4, "n_radial": 4, "hidden": [8]} | settings
    model = LESModel(ModelSettings(symbols=["O", "H"], dtype=dtype, **chosen))
    model.set_offsets(torch.tensor([-400.0, -12.0]))
    structures = [random_atoms(seed=seed) for seed in range(10, 16)] + ([atoms] if atoms is not None else [])
    frames = [frame_from_atoms(frame, model.settings.symbols, model.settings.cutoff) for frame in structures]
    model.initialize_scales(collate(frames))
    if model.charge_flux:
        model.charge_transfers.coefficients.output_scale.mul_(10.0)  # random weights: transfers that can be seen
    return model


@pytest.fixture
def water_like():
    return random_atoms()


@pytest.fixture
def model(water_like):
    return random_model(atoms=water_like)


@pytest.fixture
def neutral_model(water_like):
    return random_model(atoms=water_like, long_range=LongRangeSettings(n_channels=2, neutrality=True))
