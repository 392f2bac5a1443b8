"""The loss: errors of energy per atom, forces and stress, summed so that batches and processes can be added up.

Sums instead of means leave this file, because a step may be spread over processes with different numbers of atoms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.training.data import HAS_STRESS, LABEL_ENERGY, LABEL_FORCES, LABEL_STRESS, Counts
from les_md.training.settings import LossSettings, LossWeights

#: Positions of the three errors in the vectors of this file.
ENERGY, FORCES, STRESS = 0, 1, 2


def stage_at(settings: LossSettings, epoch: int) -> int:
    """Index of the stage of `settings.all_stages()` that `epoch` belongs to."""
    return sum(weights.start_epoch <= epoch for weights in settings.all_stages()) - 1


def error_sums(
    output: dict[str, Tensor], batch: AtomsBatch, settings: LossSettings, need_stress: bool
) -> tuple[Tensor, Tensor]:
    """Sums over `batch` of penalties and of squared errors, each (3,) float64 for energy per atom, forces, stress.

    Penalties are the squared errors, or Huber's function of them. Missing labels and stresses of frames without one
    count nothing. Stresses are -virial / V and need the virial in `output`.
    """
    device = output[fields.ENERGY].device
    zero = torch.zeros((), dtype=torch.float64, device=device)
    errors: list[Tensor | None] = [None, None, None]
    if LABEL_ENERGY in batch:
        errors[ENERGY] = (output[fields.ENERGY] - batch[LABEL_ENERGY]) / batch[fields.N_ATOMS]
    if LABEL_FORCES in batch:
        errors[FORCES] = output[fields.FORCES] - batch[LABEL_FORCES]
    if need_stress:
        used = batch[HAS_STRESS]
        volume = torch.linalg.det(batch[fields.CELL][used]).abs().view(-1, 1, 1)
        errors[STRESS] = -output[fields.VIRIAL][used] / volume - batch[LABEL_STRESS][used]
    squared = [zero if error is None else error.square().sum() for error in errors]
    if settings.kind == "squared":
        penalties = squared
    else:
        penalties = [zero if error is None else _huber(error, settings.huber_delta).sum() for error in errors]
    return torch.stack(penalties), torch.stack(squared).detach()


def weighted_mean(penalties: Tensor, counts: Counts, weights: LossWeights) -> Tensor:
    """The loss: weighted sum of the mean penalties, where `counts` says over how many numbers each sum runs."""
    return (
        weights.energy / max(counts.n_energies, 1) * penalties[ENERGY]
        + weights.forces / max(counts.n_force_components, 1) * penalties[FORCES]
        + weights.stress / max(counts.n_stress_components, 1) * penalties[STRESS]
    )


def root_mean_squares(squared: Tensor, counts: Counts) -> dict[str, float | None]:
    """RMSE of energy (meV/atom), forces (meV/angstrom) and stress (meV/angstrom^3) from sums of squared errors.

    None where there are no labels.
    """
    numbers = (counts.n_energies, counts.n_force_components, counts.n_stress_components)
    values = [
        1000.0 * (total / number) ** 0.5 if number else None
        for total, number in zip(squared.tolist(), numbers, strict=True)
    ]
    return {"energy": values[ENERGY], "forces": values[FORCES], "stress": values[STRESS]}


def _huber(error: Tensor, delta: float) -> Tensor:
    """error^2 where |error| <= delta, then the straight line 2 delta |error| - delta^2 that continues it."""
    size = error.abs()
    return torch.where(size <= delta, error.square(), 2.0 * delta * size - delta * delta)
