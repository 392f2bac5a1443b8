"""Fine-tuning: a training that starts from the checkpoint of another one instead of random weights.

The network stays as it is, so its settings are those of the checkpoint; data, element energies, loss and optimizer are
those of the new run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from les_md import fields
from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError
from les_md.forces import PeriodicSum
from les_md.model import LESModel
from les_md.predictions import CheckpointPredictor, Errors, parity_sets
from les_md.settings import ModelSettings
from les_md.training.data import LABEL_ENERGY, TrainingData


def model_section(given: Any, path: str | Path) -> Any:
    """The section `model` of a fine-tuning: settings of the checkpoint at `path`, with those `given` on top."""
    settings = load_checkpoint(path)[0].settings.model_dump(mode="json")
    if given is None:
        return settings
    return _on_top(settings, given) if isinstance(given, dict) else given


def _on_top(settings: Any, given: dict[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in given.items():
        merged[key] = _on_top(merged[key], value) if isinstance(value, dict) and merged.get(key) else value
    return merged


def check_agreement(settings: ModelSettings, path: Path) -> None:
    """LESError unless `settings` are those of the checkpoint at `path`, but for the precision."""
    of_checkpoint = load_checkpoint(path)[0].settings
    for key in ModelSettings.model_fields:
        asked, found = getattr(settings, key), getattr(of_checkpoint, key)
        if key != "dtype" and asked != found:
            values = "" if key == "long_range" else f" (asked for {asked}, the checkpoint has {found})"
            raise LESError(
                f"`model.{key}` differs from that of the initial model {path}{values}; leave it out of the section "
                "`model` to take that of the checkpoint"
            )


def load_initial_model(settings: ModelSettings, path: Path) -> LESModel:
    """The model of the checkpoint at `path` in the precision of `settings`."""
    initial = load_checkpoint(path)[0]
    model = LESModel(settings)
    model.load_state_dict(initial.state_dict())
    return model


def take_element_energies(
    model: LESModel, dataset: TrainingData, wanted: dict[str, float] | str | None, periodic_sum: PeriodicSum
) -> None:
    """Sets the element energies of `model` and `dataset`: those of the checkpoint, with numbers or a fit on top.

    Args:
        wanted: eV by element; or "fit", the least-squares change, per atom, that brings the energies of the model
            closest to those of the training frames (smallest norm where compositions do not determine it).
    """
    energies = model.element_energies.clone().numpy()
    if isinstance(wanted, dict):
        for symbol, energy in wanted.items():
            if symbol not in dataset.symbols:
                raise LESError(f"`data.element_energies` names {symbol}, which is not in the initial model")
            energies[dataset.symbols.index(symbol)] = energy
    elif wanted == "fit" and all(LABEL_ENERGY in frame for frame in dataset.train):
        errors, fractions = [], []
        predictor = CheckpointPredictor(model, periodic_sum=periodic_sum)
        for frame, prediction in zip(dataset.train, predictor.predict(dataset.train), strict=True):
            counts = torch.bincount(frame[fields.TYPES], minlength=len(energies)).numpy()
            errors.append((float(frame[LABEL_ENERGY]) - prediction.energy) / counts.sum())
            fractions.append(counts / counts.sum())
        energies = energies + np.linalg.lstsq(np.array(fractions), np.array(errors), rcond=1e-10)[0]
    model.set_offsets(torch.from_numpy(energies))
    dataset.element_energies = energies


def print_initial_errors(model: LESModel, dataset: TrainingData, batch_size: int, periodic_sum: PeriodicSum) -> None:
    """Says how well the model fits the validation frames before the first step."""
    predictions = list(CheckpointPredictor(model, batch_size, periodic_sum).predict(dataset.valid))
    sets = parity_sets(dataset.valid, predictions)
    units = {"energy": "meV/atom", "forces": "meV/A", "dipole": "me A", "born_charges": "me"}
    errors = [f"{1000 * Errors.of(*sets[name]).rmse:.3g} {units[name]}" for name in units if name in sets]
    print(f"initial model on the validation frames: {', '.join(errors)}")
