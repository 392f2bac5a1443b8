"""The model that a training starts from: a new one with scales and a first fit, or that of a checkpoint."""

from __future__ import annotations

import math

import numpy as np
import torch

from les_md import fields
from les_md.batch import collate
from les_md.charge_sign import align_charge_sign
from les_md.model import LESModel
from les_md.training import data
from les_md.training.data import TrainingData
from les_md.training.initial_fit import fit_start
from les_md.training.initial_model import load_initial_model, take_element_energies
from les_md.training.settings import TrainSettings
from les_md.training.trainer_module import periodic_sum_of

#: Frames from which the model takes its feature scales, and the sign of its charges.
_N_SCALE_FRAMES = 16
#: Whitening floor for fits of all labels at once, which need directions that few rigid geometries hardly show.
LEAST_SQUARES_FLOOR = 1e-4


def build_model(settings: TrainSettings, dataset: TrainingData) -> LESModel:
    """The model at the start, the same for the same seed and data: a new one, or that of a checkpoint."""
    if settings.training.initial_model is None:
        model = new_model(settings, dataset)
    else:
        model = load_initial_model(settings.model, settings.training.initial_model)
        periodic_sum = periodic_sum_of(settings.training)
        take_element_energies(model, dataset, settings.data.element_energies, periodic_sum)
        if model.charge_flux:
            model.element_charges.keep(*constraints(settings, dataset))
    align_sign(settings, dataset, model)
    return model


def new_model(settings: TrainSettings, dataset: TrainingData) -> LESModel:
    """An untrained model with element energies, feature scales and the initial fit."""
    model = LESModel(settings.model)
    model.set_offsets(torch.from_numpy(dataset.element_energies))
    chosen = np.unique(np.linspace(0, len(dataset.train) - 1, _N_SCALE_FRAMES).astype(int))
    scale_frames = [dataset.train[index] for index in chosen]
    energy_scale = 1.0
    if all(data.LABEL_FORCES in frame for frame in scale_frames):
        forces = torch.cat([frame[data.LABEL_FORCES] for frame in scale_frames])
        energy_scale = float(forces.square().mean().sqrt()) or 1.0
    floor = LEAST_SQUARES_FLOOR if settings.training.optimizer == "levenberg_marquardt" else None
    model.initialize_scales(collate(data.with_displaced_copies(scale_frames)), energy_scale, floor)
    if model.charge_flux:
        model.element_charges.constrain(*constraints(settings, dataset))
    if settings.training.initial_fit:
        order = np.random.default_rng(settings.training.seed).permutation(len(dataset.train))
        fit_start(model, [dataset.train[index] for index in order], periodic_sum_of(settings.training))
    return model


def align_sign(settings: TrainSettings, dataset: TrainingData, model: LESModel) -> None:
    """Takes the common sign of the charges from dipoles and Born charges, where total charges leave it open."""
    if model.charge_flux and any(total_charges(settings, dataset)):
        return
    labelled = [f for f in dataset.train if bool(f[data.HAS_DIPOLE]) or bool(f[data.HAS_BORN_CHARGES])]
    align_charge_sign(model, labelled[:_N_SCALE_FRAMES])


def constraints(settings: TrainSettings, dataset: TrainingData) -> tuple[torch.Tensor, torch.Tensor]:
    """Compositions (n_frames, n_types) of the training frames and their total charges (n_frames,), e."""
    n_types = len(dataset.symbols)
    compositions = [torch.bincount(frame[fields.TYPES], minlength=n_types) for frame in dataset.train]
    return torch.stack(compositions), torch.tensor(total_charges(settings, dataset))


def total_charges(settings: TrainSettings, dataset: TrainingData) -> list[float]:
    """Total charge of every training frame, e: its own, or that of the settings, or none."""
    long_range = settings.model.long_range
    default = sum(long_range.total_charge or [0.0]) if long_range is not None else 0.0
    given = [float(frame[fields.TOTAL_CHARGE]) for frame in dataset.train]
    return [default if math.isnan(charge) else charge for charge in given]
