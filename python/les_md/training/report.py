"""What a training tells: the lines at its start, and the table, plots and model file with errors at its end."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

import les_md
from les_md import fields
from les_md.checkpoint import save_checkpoint
from les_md.export import frames_to_plain
from les_md.model import LESModel
from les_md.plots import metrics_plot, parity_plot
from les_md.predictions import UNITS, CheckpointPredictor, Errors, parity_sets
from les_md.training.data import TrainingData
from les_md.training.run_state import MODEL_FILE, RMSE_COLUMNS, RunState
from les_md.training.settings import TrainSettings, settings_record
from les_md.training.trainer_module import periodic_sum_of


def print_start(
    settings: TrainSettings, dataset: TrainingData, model: LESModel, run: RunState, accelerator: str
) -> None:
    n_atoms = sum(int(frame[fields.N_ATOMS]) for frame in dataset.train)
    n_edges = sum(frame[fields.EDGE_INDEX].shape[1] for frame in dataset.train)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    offsets = ", ".join(
        f"{symbol} {energy:.6g}" for symbol, energy in zip(dataset.symbols, dataset.element_energies, strict=True)
    )
    print(
        f"{len(dataset.train)} training and {len(dataset.valid)} validation frames, "
        f"{n_atoms / len(dataset.train):.4g} atoms a frame, "
        f"{n_edges / n_atoms:.3g} neighbours an atom within {settings.model.cutoff:g} angstrom"
    )
    print(f"element energies (eV): {offsets}")
    processes = f", {settings.training.devices} processes" if settings.training.devices > 1 else ""
    print(f"{n_parameters} parameters, {settings.model.dtype}, on {accelerator}{processes}")
    print_long_range(settings, dataset, accelerator)
    print(f"output in {settings.output}")
    if run.n_epochs:
        print(f"resuming after epoch {run.n_epochs} of {settings.training.epochs}", flush=True)


def print_long_range(settings: TrainSettings, dataset: TrainingData, accelerator: str) -> None:
    """Says how many of the periodic training frames go to the mesh."""
    long_range = settings.model.long_range
    frames = [frame for frame in dataset.train if bool(frame[fields.PERIODIC])]
    if long_range is None or not frames:
        return
    periodic_sum = periodic_sum_of(settings.training)
    n_mesh = sum(
        periodic_sum.takes_mesh(long_range, frame[fields.CELL][0], int(frame[fields.N_ATOMS]), accelerator == "cpu")
        for frame in frames
    )
    parts = [f"direct sum in {len(frames) - n_mesh}"] if n_mesh < len(frames) else []
    parts += [f"particle mesh to {periodic_sum.accuracy:g} in {n_mesh}"] if n_mesh else []
    print(f"long-range energy of {len(frames)} periodic frames: {', '.join(parts)}")


def write_report(settings: TrainSettings, dataset: TrainingData, model: LESModel, run: RunState) -> None:
    """Evaluates the best model on all frames; writes model.pt with the errors, the plots, and prints a table."""
    folder = settings.output
    model.cpu()
    model.load_state_dict(run.best_weights)
    predictor = CheckpointPredictor(model, settings.training.batch_size, periodic_sum_of(settings.training))
    sets: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, frames in (("training", dataset.train), ("validation", dataset.valid)):
        for quantity, pair in parity_sets(frames, list(predictor.predict(frames))).items():
            sets.setdefault(quantity, {})[name] = pair
    errors: dict[str, dict[str, float]] = {"train": {}, "valid": {}}
    stopped = " (stopped early)" if run.stopped_early else ""
    print(f"best epoch {(run.best_epoch or 0) + 1} of {run.n_epochs}{stopped}")
    names = ("training", "validation")
    print(f"{'RMSE':>12s} {names[0]:>12s} {names[1]:>12s}")
    for quantity, by_set in sets.items():
        parity_plot(folder / f"parity_{quantity}.png", by_set, quantity, UNITS[quantity])
        values = {name: 1000 * Errors.of(pair[1], pair[0]).rmse for name, pair in by_set.items()}
        errors["train"][quantity] = values.get("training", float("nan"))
        errors["valid"][quantity] = values.get("validation", float("nan"))
        shown = " ".join(f"{values[name]:12.4g}" if name in values else f"{'-':>12s}" for name in names)
        print(f"{quantity:>12s} {shown} m{UNITS[quantity]}")
    metrics_plot(folder / "metrics.png", run.rows)
    save_checkpoint(folder / MODEL_FILE, model, summary(settings, dataset, run.best_epoch or 0, errors))
    print(f"model: {folder / MODEL_FILE}; export it with les-export {folder / MODEL_FILE}")


def summary(
    settings: TrainSettings, dataset: TrainingData, epoch: int, errors: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """What a model file says about its training; `errors` in thousandths of `UNITS`."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "les_md_version": les_md.__version__,
        "symbols": dataset.symbols,
        "element_energies": dict(zip(dataset.symbols, dataset.element_energies.tolist(), strict=True)),
        "n_train_frames": len(dataset.train),
        "n_valid_frames": len(dataset.valid),
        "n_train_atoms": sum(int(frame[fields.N_ATOMS]) for frame in dataset.train),
        "epoch": epoch,
        "errors": errors,
        "check_frames": frames_to_plain(dataset.check_frames),
        "settings": settings_record(settings),
    }


def errors_of(row: dict[str, Any], part: str) -> dict[str, Any]:
    columns = {quantity: f"{part}_{column}" for quantity, column in RMSE_COLUMNS.items()}
    return {quantity: row[column] for quantity, column in columns.items() if row[column] is not None}
