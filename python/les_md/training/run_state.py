"""State of a run that outlives the process: what `--resume` needs to continue as if nothing had happened.

One file, `resume.ckpt` in the output folder, holds all of it and is replaced as a whole after every epoch. The table of
metrics and the best weights are part of the file, so that `metrics.csv` and `model.pt`, which are written from them,
can be brought in line with it after a kill at any moment.
"""

from __future__ import annotations

import csv
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from les_md.errors import LESError
from les_md.files import write_file
from les_md.training.loss_settings import QUANTITIES

FORMAT = "les-md-run"
FORMAT_VERSION = 3

CONFIG_FILE = "config.yaml"
RESUME_FILE = "resume.ckpt"
METRICS_FILE = "metrics.csv"
MODEL_FILE = "model.pt"
PLOT_FILES = (*(f"parity_{quantity}.png" for quantity in QUANTITIES), "metrics.png")
OUTPUT_FILES = (CONFIG_FILE, RESUME_FILE, METRICS_FILE, MODEL_FILE, *PLOT_FILES)

#: Columns of the RMSE of each quantity, after "train_" or "valid_".
RMSE_COLUMNS = {
    "energy": "energy_rmse_meV_per_atom",
    "forces": "forces_rmse_meV_per_A",
    "stress": "stress_rmse_meV_per_A3",
    "dipole": "dipole_rmse_me_A",
    "born_charges": "born_charges_rmse_me",
}

METRICS = (
    "epoch",
    "learning_rate",
    *(f"{part}_{column}" for part in ("train", "valid") for column in ("loss", *RMSE_COLUMNS.values())),
)


@dataclass
class RunState:
    """Progress of a run: epochs done, one row of metrics for each, and the best epoch so far."""

    n_epochs: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float | None = None
    best_epoch: int | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    n_waited: int = 0  # epochs since the best, for early stopping
    stopped_early: bool = False

    def end_epoch(self, row: dict[str, Any], weights: dict[str, Tensor], new_stage: bool, patience: int | None) -> bool:
        """Takes the metrics `row` of an epoch and the `weights` they belong to; returns whether it is the best so far.

        Losses with other weights cannot be compared: with `new_stage` the search for the best starts again. With a
        `patience` the run is marked as stopped after so many epochs without a better one.
        """
        self.n_epochs += 1
        self.rows.append(row)
        best = new_stage or self.best_loss is None or row["valid_loss"] < self.best_loss
        if best:
            self.best_loss, self.best_epoch, self.n_waited = row["valid_loss"], row["epoch"], 0
            self.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        else:
            self.n_waited += 1
            self.stopped_early = patience is not None and self.n_waited >= patience
        return best


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Writes metrics.csv: one row per epoch, empty where a quantity is not fitted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, METRICS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(folder / METRICS_FILE, text.getvalue().encode())


def save_run(folder: Path, run: RunState, parts: dict[str, Any]) -> None:
    """Writes resume.ckpt: `run`, and `parts` with the states of model, optimizer and so on (tensors, plain values)."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "format_version": FORMAT_VERSION, "run": vars(run), **parts}, buffer)
    write_file(folder / RESUME_FILE, buffer.getvalue())


def load_run(folder: Path) -> tuple[RunState, dict[str, Any]] | None:
    """What `save_run` wrote, None if the run was stopped before its first epoch ended; LESError for another file."""
    path = folder / RESUME_FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise LESError(f"{path} cannot be read ({type(error).__name__}); start again with --overwrite") from None
    expected = {"format": FORMAT, "format_version": FORMAT_VERSION}
    if not isinstance(content, dict) or any(content.get(key) != value for key, value in expected.items()):
        raise LESError(f"{path} was not written by this version of les-train; start again with --overwrite")
    return RunState(**content.pop("run")), content
