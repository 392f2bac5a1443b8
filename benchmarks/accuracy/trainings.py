"""One training of the benchmark: settings from examples/training, run by les-train, its errors and time in result.json.

A training that was interrupted goes on where it was; one that is done is not run again. Other settings get another
folder, so that results never mix.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "training"
PROGRAMS = Path(sys.executable).parent  # les-train is installed beside this python


@dataclass(frozen=True)
class Training:
    """One training: the settings file of examples/training and what is changed in it."""

    group: str  # water, learning_curve, times, dipeptides, dimers
    name: str
    settings: str  # file of examples/training
    long_range: bool = True
    epochs: int | None = None  # of the settings if None; stages of the loss move along
    seed: int | None = None
    train: Path | None = None  # in place of the file of the settings
    valid: Path | None = None
    select: dict[str, str] | None = None
    neutrality: bool = False
    initial: Training | None = None  # the training whose model this one goes on with
    labels: dict[str, Any] = field(default_factory=dict)  # for the report


def configuration(training: Training, data: Path, output: Path) -> dict[str, Any]:
    """Settings of les-train, but for its output folder, with all files as absolute paths."""
    raw: dict[str, Any] = yaml.safe_load((EXAMPLES / training.settings).read_text())
    raw["data"]["train"] = str(training.train or data / raw["data"]["train"])
    if training.valid is not None:
        raw["data"].pop("valid_fraction", None)
        raw["data"]["valid"] = str(training.valid)
    elif "valid" in raw["data"]:
        raw["data"]["valid"] = str(data / raw["data"]["valid"])
    if training.train is not None:
        raw["data"].pop("sha256", None)  # files of this program
    if training.select is not None:
        raw["data"]["select"] = training.select
    if not training.long_range and training.initial is None:
        raw["model"]["long_range"] = None
        for key in ("long_range_solver", "long_range_accuracy"):
            raw["training"].pop(key, None)
    if training.neutrality:
        raw["model"].setdefault("long_range", {})["neutrality"] = True
    if training.seed is not None:
        raw["training"]["seed"] = training.seed
    if training.epochs is not None:
        scale_epochs(raw["training"], training.epochs)
    if training.initial is not None:
        raw["training"]["initial_model"] = str(folder_of(training.initial, data, output) / "run" / "model.pt")
    raw["training"]["device"] = "cpu"
    raw.pop("output", None)
    return raw


def folder_of(training: Training, data: Path, output: Path) -> Path:
    """Where `training` is, or will be; it depends on its settings."""
    settings = json.dumps(configuration(training, data, output), sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return output / training.group / f"{training.name}-{digest}"


def scale_epochs(training: dict[str, Any], epochs: int) -> None:
    """Changes the number of epochs; stages of the loss keep their place in the run."""
    before = training["epochs"]
    training["epochs"] = epochs
    stages = training.get("loss", {}).get("stages", [])
    start, scaled = 0, []
    for stage in copy.deepcopy(stages):
        start = max(start + 1, round(stage["start_epoch"] * epochs / before))
        if start < epochs:
            scaled.append(stage | {"start_epoch": start})
    if stages:
        training["loss"]["stages"] = scaled


def run(training: Training, data: Path, output: Path) -> dict[str, Any]:
    """Runs `training` unless it is done; returns its result.

    The time is processor time of one thread, summed over interruptions as far as whole calls of this program go.
    """
    settings, folder = configuration(training, data, output), folder_of(training, data, output)
    result_file = folder / "result.json"
    if result_file.exists():
        result: dict[str, Any] = json.loads(result_file.read_text())
        return result
    folder.mkdir(parents=True, exist_ok=True)
    settings["output"] = str(folder / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    print(f"{training.group}: {training.name}", flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "les-train.log").open("a") as log:
        status = subprocess.run(
            [str(PROGRAMS / "les-train"), str(folder / "config.yaml"), "--resume"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            check=False,
        ).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds_file = folder / "seconds.txt"
    seconds = float(seconds_file.read_text()) if seconds_file.exists() else 0.0
    seconds += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds_file.write_text(f"{seconds:.1f}\n")
    if status != 0:
        raise SystemExit(f"accuracy: error: les-train ended with status {status}, see {folder / 'les-train.log'}")
    result = {"name": training.name, "group": training.group, "seconds": seconds, "labels": training.labels}
    result |= {"epochs": settings["training"]["epochs"], "long_range": training.long_range, "folder": str(folder)}
    result |= {"errors": errors_of(folder / "run" / "model.pt")}
    result_file.write_text(json.dumps(result, indent=2) + "\n")
    return result


def errors_of(checkpoint: Path) -> dict[str, float]:
    """Validation errors that les-train stored with the model: meV/atom and meV/angstrom."""
    from les_md.checkpoint import load_checkpoint

    _, training = load_checkpoint(checkpoint)
    errors: dict[str, float] = training["errors"]["valid"]
    return errors
