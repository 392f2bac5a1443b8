"""Stages 2 and 3: training with `les-train` and export with `les-export`, with and without the long-range part.

Apart because this is all a user with own data needs: one YAML file and two commands.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from reference_data import PROGRAMS
from settings import DemoSettings
from stages import DemoError, replaced, write_text


@dataclass(frozen=True)
class ModelFiles:
    """Where one model is trained and what comes of it."""

    folder: Path  # les-train's output
    exported: Path
    long_range: bool

    @property
    def config(self) -> Path:
        """Settings of les-train."""
        return self.folder.with_name(f"{self.folder.name}.yaml")

    @property
    def checkpoint(self) -> Path:
        """Copy of les-train's model.pt, made when training has ended."""
        return self.folder.with_name(f"{self.folder.name}.pt")


def config_text(files: ModelFiles, settings: DemoSettings, frames: Path) -> str:
    """Settings of les-train for one model; `frames` is the folder of training.xyz and validation.xyz."""
    epochs = settings.epochs_les if files.long_range else settings.epochs_short_range
    config = {
        "data": {"train": str(frames / "training.xyz"), "valid": str(frames / "validation.xyz")},
        "model": settings.model | {"long_range": {} if files.long_range else None},
        "training": settings.training | {"epochs": epochs},
        "output": str(files.folder),
    }
    return yaml.safe_dump(config, sort_keys=False)


def train(files: ModelFiles, settings: DemoSettings, frames: Path) -> None:
    """Trains one model; a training on the same settings and frames that was interrupted goes on where it was."""
    config = config_text(files, settings, frames)
    digest = hashlib.sha256(config.encode())
    for name in ("training.xyz", "validation.xyz"):
        digest.update((frames / name).read_bytes())
    identity = files.folder.with_name(f"{files.folder.name}.sha256")
    same = identity.exists() and identity.read_text() == digest.hexdigest()
    write_text(files.config, config)
    write_text(identity, digest.hexdigest())
    run_in_terminal([PROGRAMS / "les-train", files.config, "--resume" if same else "--overwrite"])
    with replaced(files.checkpoint) as temporary:
        shutil.copyfile(files.folder / "model.pt", temporary)


def export(files: ModelFiles) -> None:
    """Exports one trained model for every host, in float64 for dynamics without drift."""
    run_in_terminal([PROGRAMS / "les-export", files.checkpoint, "--output", files.exported, "--dtype", "float64"])


def run_in_terminal(command: list[str | Path]) -> None:
    """Runs a program of les-md, which shows its own progress and errors; raises `DemoError` if it fails."""
    words = [str(word) for word in command]
    status = subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        raise DemoError(f"{Path(words[0]).name} ended with status {status}, its message is above")
