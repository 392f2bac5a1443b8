"""The loss: errors of energy per atom, forces and so on, summed so that batches and processes can be added up.

Sums instead of means leave this file, because a step may be spread over processes with different numbers of atoms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.training.data import (
    HAS_BORN_CHARGES,
    HAS_DIPOLE,
    HAS_STRESS,
    LABEL_BORN_CHARGES,
    LABEL_DIPOLE,
    LABEL_ENERGY,
    LABEL_FORCES,
    LABEL_STRESS,
    Counts,
)
from les_md.training.loss_settings import QUANTITIES, LossSettings, LossWeights


def stage_at(settings: LossSettings, epoch: int) -> int:
    """Index of the stage of `settings.all_stages()` that `epoch` belongs to."""
    return sum(weights.start_epoch <= epoch for weights in settings.all_stages()) - 1


def label_errors(output: dict[str, Tensor], batch: AtomsBatch, settings: LossSettings) -> dict[str, Tensor]:
    """`output` less the labels of `batch`, by quantity, of any shape; energies per atom.

    Missing labels are left out. Stresses are -virial / V and need the virial in `output`, dipoles `polarization`, Born
    charges `born_charges`.
    """
    errors: dict[str, Tensor] = {}
    if LABEL_ENERGY in batch:
        errors["energy"] = (output[fields.ENERGY] - batch[LABEL_ENERGY]) / batch[fields.N_ATOMS]
    if LABEL_FORCES in batch:
        errors["forces"] = output[fields.FORCES] - batch[LABEL_FORCES]
    if settings.uses("stress"):
        used = batch[HAS_STRESS]
        volume = torch.linalg.det(batch[fields.CELL][used]).abs().view(-1, 1, 1)
        errors["stress"] = -output[fields.VIRIAL][used] / volume - batch[LABEL_STRESS][used]
    if fields.POLARIZATION in output:
        errors["dipole"] = dipole_errors(output[fields.POLARIZATION], batch)[batch[HAS_DIPOLE]]
    if fields.BORN_CHARGES in output:
        used = batch[HAS_BORN_CHARGES].index_select(0, batch[fields.SYSTEM_IDX])
        errors["born_charges"] = (output[fields.BORN_CHARGES] - batch[LABEL_BORN_CHARGES])[used]
    return errors


def error_sums(output: dict[str, Tensor], batch: AtomsBatch, settings: LossSettings) -> tuple[Tensor, Tensor]:
    """Sums over `batch` of penalties and of squared errors, each (n_quantities,) float64 in the order of `QUANTITIES`.

    Penalties are the squares of `label_errors`, or Huber's function of them.
    """
    errors = label_errors(output, batch, settings)
    zero = torch.zeros((), dtype=torch.float64, device=output[fields.ENERGY].device)
    squared = [errors[name].square().sum() if name in errors else zero for name in QUANTITIES]
    if settings.kind == "squared":
        penalties = squared
    else:
        penalties = [_huber(errors[q], settings.huber_delta).sum() if q in errors else zero for q in QUANTITIES]
    return torch.stack(penalties), torch.stack(squared).detach()


def dipole_errors(polarization: Tensor, batch: AtomsBatch) -> Tensor:
    """Polarization less its label, (n_systems, 3), e angstrom; of periodic systems up to e times lattice vectors."""
    error = polarization - batch[LABEL_DIPOLE]
    quanta = torch.linalg.solve(batch[fields.CELL].transpose(1, 2), error.detach()).round()
    quanta = torch.where(batch[fields.PERIODIC].unsqueeze(1), quanta, 0.0)
    return error - torch.einsum("sa,sab->sb", quanta, batch[fields.CELL])


def wanted_outputs(batch: AtomsBatch, settings: LossSettings) -> dict[str, bool]:
    """Keywords of `forces.evaluate` for what the loss of `batch` needs beside energy and forces."""
    return {
        "virial": settings.uses("stress"),
        "polarization": settings.uses("dipole") and bool(batch[HAS_DIPOLE].any()),
        "born_charges": settings.uses("born_charges") and bool(batch[HAS_BORN_CHARGES].any()),
    }


def weighted_mean(penalties: Tensor, counts: Counts, weights: LossWeights) -> Tensor:
    """The loss: weighted sum of the mean penalties, where `counts` says over how many numbers each sum runs."""
    loss = torch.zeros_like(penalties[0])
    for index, quantity in enumerate(QUANTITIES):
        loss = loss + getattr(weights, quantity) / max(counts[quantity], 1) * penalties[index]
    return loss


def root_mean_squares(squared: Tensor, counts: Counts) -> dict[str, float | None]:
    """RMSE by quantity from sums of squared errors; None where there are no labels.

    In meV/atom, meV/angstrom, meV/angstrom^3, me angstrom, me.
    """
    return {
        quantity: 1000.0 * (total / counts[quantity]) ** 0.5 if counts[quantity] else None
        for quantity, total in zip(QUANTITIES, squared.tolist(), strict=True)
    }


def _huber(error: Tensor, delta: float) -> Tensor:
    """error^2 where |error| <= delta, then the straight line 2 delta |error| - delta^2 that continues it."""
    size = error.abs()
    return torch.where(size <= delta, error.square(), 2.0 * delta * size - delta * delta)
