"""Predictions of a model on labelled frames and their errors, shared by `les-train` (its report) and `les-eval`.

Checkpoints are evaluated in Python, exported files by the compiled engine, as the hosts do it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from les_md import fields
from les_md.batch import AtomsBatch, collate
from les_md.engine import Engine, unrelated_frames
from les_md.forces import DIRECT_SUM, PeriodicSum, evaluate
from les_md.model import LESModel
from les_md.training.data import (
    HAS_BORN_CHARGES,
    HAS_DIPOLE,
    HAS_STRESS,
    LABEL_BORN_CHARGES,
    LABEL_DIPOLE,
    LABEL_ENERGY,
    LABEL_FORCES,
    LABEL_STRESS,
)
from les_md.training.loss import dipole_errors
from les_md.training.loss_settings import QUANTITIES

#: Unit of each quantity whose errors are shown.
UNITS = {
    "energy": "eV/atom",
    "forces": "eV/angstrom",
    "stress": "eV/angstrom^3",
    "charges": "e",
    "total_charge": "e",
    "dipole": "e*angstrom",
    "quadrupole": "e*angstrom^2",
    "born_charges": "e",
}


#: Quantities linear in the charges: a common factor of all charges is a factor of them.
OF_CHARGES = ("charges", "total_charge", "dipole", "quadrupole", "born_charges")


@dataclass
class Prediction:
    """Prediction for one frame: eV, eV/angstrom, eV/angstrom^3, e."""

    energy: float
    forces: np.ndarray  # (n_atoms, 3)
    stress: np.ndarray | None  # (3, 3), None for isolated frames
    latent_charges: np.ndarray  # (n_atoms, n_channels)
    polarization: np.ndarray | None = None  # (3,), e angstrom, if its label is there to compare
    born_charges: np.ndarray | None = None  # (n_atoms, 3, 3), if their label is there to compare


class Predictor(Protocol):
    """What evaluates frames: a checkpoint or an exported file."""

    symbols: list[str]
    cutoff: float
    charge_scale: float  # from the sum over channels of latent charges to the atomic charge
    inputs: set[str]  # of "total_charge" and "spin", what matters of a frame
    state_inputs: list[str]  # those of them that the network is told

    def predict(self, frames: list[AtomsBatch]) -> Iterator[Prediction]:
        """Predictions for `frames` (one system each), in order."""
        ...


class CheckpointPredictor:
    """Evaluates `model` in Python, `batch_size` frames at a time."""

    def __init__(self, model: LESModel, batch_size: int = 4, periodic_sum: PeriodicSum = DIRECT_SUM) -> None:
        self.model = model
        self.periodic_sum = periodic_sum
        self.symbols = list(model.settings.symbols)
        self.cutoff = model.settings.cutoff
        self.charge_scale = model.settings.atomic_charge_scale
        self.state_inputs = model.settings.state_inputs
        self.inputs = set(self.state_inputs)
        if model.settings.long_range is not None and model.settings.long_range.neutrality:
            self.inputs.add("total_charge")
        self.batch_size = batch_size

    def predict(self, frames: list[AtomsBatch]) -> Iterator[Prediction]:
        """Predictions for `frames` (one system each), in order."""
        device = next(self.model.parameters()).device
        for start in range(0, len(frames), self.batch_size):
            chosen = frames[start : start + self.batch_size]
            batch = {name: tensor.to(device) for name, tensor in collate(chosen).items()}
            with torch.enable_grad():
                output = evaluate(
                    self.model,
                    batch,
                    virial=bool(batch[fields.PERIODIC].any()),
                    periodic_sum=self.periodic_sum,
                    polarization=_has_any(batch, HAS_DIPOLE),
                    born_charges=_has_any(batch, HAS_BORN_CHARGES),
                )
            arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in output.items()}
            ends = np.cumsum([int(frame[fields.N_ATOMS]) for frame in chosen])[:-1]
            forces = np.split(arrays[fields.FORCES], ends)
            charges = np.split(arrays[fields.LATENT_CHARGES], ends)
            born = np.split(arrays[fields.BORN_CHARGES], ends) if fields.BORN_CHARGES in arrays else None
            polarization = arrays.get(fields.POLARIZATION)
            for index, frame in enumerate(chosen):
                yield Prediction(
                    energy=float(arrays[fields.ENERGY][index]),
                    forces=forces[index],
                    stress=_stress(frame, arrays[fields.VIRIAL][index]),
                    latent_charges=charges[index],
                    polarization=None if polarization is None else polarization[index],
                    born_charges=None if born is None else born[index],
                )


class EnginePredictor:
    """Evaluates the exported file at `path` with the compiled engine, one frame at a time.

    `options` are keywords of Engine. `long_range_description` says how the long-range energy of the first frame was
    summed, or of the first periodic one if there is any; None before an evaluation and for short-range models.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int | None = None, **options: Any) -> None:
        self._path = path
        self._options: dict[str, Any] = {"device": device, "threads": threads, **options}
        self._described_periodic = False
        self.long_range_description: str | None = None
        # total charge and spin belong to an engine, so there is one for each pair that occurs
        self._engines: dict[tuple[float | None, float | None], Engine] = {(None, None): Engine(path, **self._options)}
        record = self._engines[None, None].record
        self.symbols = list(record["symbols"])
        self.cutoff = float(record["cutoff"])
        self.charge_scale = float(record["atomic_charge"]["scale"])
        self.has_long_range = record["long_range"] is not None
        self.state_inputs = list(record.get("state_inputs", []))
        self.inputs = set(self.state_inputs)
        if self.has_long_range and record["long_range"]["neutrality"]:
            self.inputs.add("total_charge")

    def predict(self, frames: list[AtomsBatch]) -> Iterator[Prediction]:
        """Predictions for `frames` (one system each), in order."""
        for frame in frames:
            total_charge, spin = (self._given(frame, name) for name in (fields.TOTAL_CHARGE, fields.SPIN))
            if (total_charge, spin) not in self._engines:
                engine = Engine(self._path, total_charge=total_charge, spin=spin, **self._options)
                self._engines[total_charge, spin] = engine
            engine, periodic = self._engines[total_charge, spin], bool(frame[fields.PERIODIC])
            with unrelated_frames():
                output = engine.compute(
                    frame[fields.POSITIONS].numpy(),
                    frame[fields.TYPES].numpy().astype(np.int32),
                    frame[fields.CELL].numpy()[0],
                    periodic,
                )
            if self.has_long_range and (self.long_range_description is None or periodic > self._described_periodic):
                self.long_range_description = engine.long_range_description
                self._described_periodic = periodic
            yield Prediction(
                energy=float(output[fields.ENERGY]),
                forces=output[fields.FORCES],
                stress=_stress(frame, output[fields.VIRIAL]),
                latent_charges=output[fields.LATENT_CHARGES],
            )

    def _given(self, frame: AtomsBatch, name: str) -> float | None:
        value = float(frame[name])
        return None if np.isnan(value) or name not in self.inputs else value


@dataclass
class Errors:
    """Errors of one quantity over all its numbers, in the unit of the quantity.

    `r2` is the coefficient of determination, 1 - mean square error / variance of the reference; None without variance.
    For what is linear in the charges, `factor` times the predictions comes closest to the reference, with `scaled_r2`;
    `squared_correlation` is Pearson's coefficient squared, which papers often call R2.
    """

    rmse: float
    mae: float
    largest: float
    n: int
    r2: float | None = None
    factor: float | None = None
    scaled_r2: float | None = None
    squared_correlation: float | None = None

    @classmethod
    def of(cls, predicted: np.ndarray, reference: np.ndarray, of_charges: bool = False) -> Errors:
        """Errors of `predicted` against `reference`, arrays of one shape; `of_charges` also fits the factor."""
        predicted, reference = np.asarray(predicted, dtype=float), np.asarray(reference, dtype=float)
        error = np.abs(predicted - reference)
        square, variance = float(np.mean(error**2)), float(np.var(reference))
        r2 = 1.0 - square / variance if variance > 0.0 else None
        errors = cls(math.sqrt(square), float(error.mean()), float(error.max()), error.size, r2)
        size = float(np.mean(predicted**2))
        if of_charges and variance > 0.0 and size > 0.0:
            # minimum of <(f p - r)^2> over f
            errors.factor = float(np.mean(predicted * reference)) / size
            errors.scaled_r2 = 1.0 - float(np.mean((errors.factor * predicted - reference) ** 2)) / variance
            if np.var(predicted) > 0.0:
                errors.squared_correlation = float(np.corrcoef(predicted.ravel(), reference.ravel())[0, 1]) ** 2
        return errors


def parity_sets(frames: list[AtomsBatch], predictions: list[Prediction]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reference and predicted numbers by quantity, as far as `frames` have labels, energies in eV/atom."""
    pairs: dict[str, tuple[list[Any], list[Any]]] = {name: ([], []) for name in QUANTITIES}
    for frame, prediction in zip(frames, predictions, strict=True):
        n_atoms = int(frame[fields.N_ATOMS])
        if LABEL_ENERGY in frame:
            pairs["energy"][0].append(float(frame[LABEL_ENERGY]) / n_atoms)
            pairs["energy"][1].append(prediction.energy / n_atoms)
        if LABEL_FORCES in frame:
            pairs["forces"][0].append(frame[LABEL_FORCES].numpy().ravel())
            pairs["forces"][1].append(prediction.forces.ravel())
        if bool(frame[HAS_STRESS]) and prediction.stress is not None:
            pairs["stress"][0].append(frame[LABEL_STRESS].numpy().ravel())
            pairs["stress"][1].append(prediction.stress.ravel())
        if bool(frame[HAS_DIPOLE]) and prediction.polarization is not None:
            error = dipole_errors(torch.from_numpy(prediction.polarization).unsqueeze(0), frame).numpy()[0]
            pairs["dipole"][0].append(frame[LABEL_DIPOLE].numpy()[0])
            pairs["dipole"][1].append(frame[LABEL_DIPOLE].numpy()[0] + error)
        if bool(frame[HAS_BORN_CHARGES]) and prediction.born_charges is not None:
            pairs["born_charges"][0].append(frame[LABEL_BORN_CHARGES].numpy().ravel())
            pairs["born_charges"][1].append(prediction.born_charges.ravel())
    return {name: (np.hstack(pair[0]), np.hstack(pair[1])) for name, pair in pairs.items() if pair[0]}


def _has_any(batch: AtomsBatch, flag: str) -> bool:
    """Whether a system has a label; frames without a training's labels have no flags either."""
    return flag in batch and bool(batch[flag].any())


def _stress(frame: AtomsBatch, virial: np.ndarray) -> np.ndarray | None:
    if not bool(frame[fields.PERIODIC]):
        return None
    return -virial / abs(float(np.linalg.det(frame[fields.CELL].numpy()[0])))
