"""Files of a training in the folder of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase
import ase.io
import pytest
import torch
import yaml
from training_helpers import CUTOFF


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models of the tests are so small that threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def write_frames(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames to an extended XYZ file in the test's folder and returns its path."""

    def write(frames: list[ase.Atoms], name: str = "train.xyz") -> Path:
        path = tmp_path / name
        ase.io.write(path, frames, format="extxyz")
        return path

    return write


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a small, quick training as a dictionary; sections given as arguments are merged in."""

    def make(train: Path, output: str = "run", **sections: dict[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "data": {"train": str(train), "valid_fraction": 0.25},
            "model": {
                "cutoff": CUTOFF,
                "n_radial": 4,
                "l_max": 2,
                "body_order": 3,
                "channels": 4,
                "hidden": [8],
                "dtype": "float64",
            },
            "training": {"epochs": 4, "batch_size": 4, "learning_rate": 0.01, "initial_fit": False, "device": "cpu"},
            "output": str(tmp_path / output),
        }
        for name, section in sections.items():
            settings[name].update(section)
        return settings

    return make


@pytest.fixture
def write_settings(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes settings as config.yaml and returns its path."""

    def write(settings: dict[str, Any]) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    return write
