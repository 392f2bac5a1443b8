"""A disk that is full while a program writes: one line, status 1, and what was there before is whole.

The largest file size of the process stands for the disk: writing beyond it fails in the same call with another number.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from structures import random_atoms, random_model

import les_md
from les_md.checkpoint import load_checkpoint, save_checkpoint
from les_md.errors import LESError
from les_md.export import frames_to_plain
from les_md.files import write_file

PACKAGE = str(Path(les_md.__file__).parents[1])


def run_limited(largest: int | None, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program of the package whose files cannot grow beyond `largest` bytes."""

    def limit() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    path = os.pathsep.join(filter(None, [PACKAGE, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    call = f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
    start = ["-m", module] if module.endswith("program") else ["-c", call]
    command = [sys.executable, *start, *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit
    )


def assert_one_line(process: subprocess.CompletedProcess[str], program: str) -> None:
    """Failed with one line of `program` about the disk."""
    assert process.returncode == 1, process.stdout + process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith(f"{program}: error: cannot write")]
    assert len(lines) == 1, process.stderr
    assert "File too large" in lines[0]
    assert "Traceback" not in process.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of some tens of kB in a folder of its own."""
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    save_checkpoint(path, random_model(), {"check_frames": frames_to_plain([random_atoms()])})
    return path


def test_export(checkpoint: Path) -> None:
    """An earlier file of the same name stays, nothing else is left."""
    (checkpoint.parent / "model.les.pt").write_bytes(b"earlier")
    before = files_of(checkpoint.parent)
    assert_one_line(run_limited(20_000, "les_md.export", checkpoint), "les-export")
    assert files_of(checkpoint.parent) == before


def test_evaluation(checkpoint: Path, tmp_path: Path) -> None:
    atoms = random_atoms()
    atoms.info["energy"] = 1.0
    ase.io.write(tmp_path / "frames.xyz", [atoms] * 3, format="extxyz")
    words = [checkpoint, tmp_path / "frames.xyz", "--output", tmp_path / "out", "--energy-key", "energy"]
    assert_one_line(run_limited(10, "les_md.evaluation", *words), "les-eval")


def training(tmp_path: Path, n_processes: int) -> Callable[..., subprocess.CompletedProcess[str]]:
    """les-train on a few frames, as a function of the largest file and the options."""
    frames = [random_atoms(seed=seed) for seed in range(8)]
    for i, atoms in enumerate(frames):
        atoms.info["REF_energy"] = float(i)
        atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
    ase.io.write(tmp_path / "train.xyz", frames, format="extxyz")
    settings = {
        "data": {
            "train": "train.xyz", "valid_fraction": 0.25, "energy_key": "REF_energy", "forces_key": "REF_forces",
        },
        "model": {"cutoff": 3.5, "n_radial": 4, "l_max": 1, "body_order": 3, "channels": 4, "hidden": [8]},
        "training": {
            "epochs": 2, "batch_size": 2, "initial_fit": False, "device": "cpu", "devices": n_processes,
        },
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    settings["data"]["train"] = str(tmp_path / "train.xyz")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    return lambda largest, *words: run_limited(largest, "les_md.training.program", tmp_path / "config.yaml", *words)


def test_training_goes_on(tmp_path: Path) -> None:
    """The run stops where a checkpoint cannot be written, keeps the earlier ones whole and can go on from them."""
    train = training(tmp_path, 1)
    assert train(None).returncode == 0
    whole = files_of(tmp_path / "run")
    assert_one_line(train(6000, "--resume", "--set", "training.epochs=4"), "les-train")
    left = files_of(tmp_path / "run")
    for name in ("model.pt", "resume.ckpt"):
        assert left[name] == whole[name], name
    assert not [name for name in left if name.endswith(".part")]
    load_checkpoint(tmp_path / "run" / "model.pt")
    more = train(None, "--resume", "--set", "training.epochs=3")
    assert more.returncode == 0, more.stderr


def test_training_of_two_processes(tmp_path: Path) -> None:
    """Only one of them writes; the other does not wait for it."""
    assert_one_line(training(tmp_path, 2)(6000), "les-train")
    assert set(files_of(tmp_path / "run")) == {"config.yaml", "metrics.csv"}


def test_a_folder_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LESError, match=r"cannot write .*Not a directory; make room on the disk or name another folder"):
        write_file(tmp_path / "file" / "model.pt", b"content")
