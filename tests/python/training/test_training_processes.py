"""Two processes on the CPU give what one gives, up to rounding, and write every file once."""

from __future__ import annotations

import csv

import pytest
import torch
from training_helpers import make_frames, run_program

from les_md.checkpoint import load_checkpoint
from les_md.training.run_state import load_run

PROGRAM = "les_md.training.program"


def test_two_processes_agree_with_one(settings_of, write_frames, write_settings, tmp_path):
    """13 training frames in steps of 4: in the last step the second process has no frame."""
    settings = settings_of(
        write_frames(make_frames(12, 5)), training={"epochs": 2, "batch_size": 4, "loss": {"stress": 1.0}}
    )
    config = write_settings(settings)
    results = {}
    for devices in (1, 2):
        folder = tmp_path / f"run{devices}"
        overrides = ["--set", f"training.devices={devices}", "--set", f"output={folder}"]
        result = run_program(PROGRAM, config, *overrides)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("best epoch") == 1
        results[devices] = folder
        assert ("2 processes" in result.stdout) == (devices == 2)
    tables = []
    for folder in results.values():
        with open(folder / "metrics.csv") as file:
            tables.append([[float(value) for value in row.values() if value] for row in csv.DictReader(file)])
    assert len(tables[0]) == 2
    for one, two in zip(*tables, strict=True):
        assert one == pytest.approx(two, rel=1e-6)
    models = [load_checkpoint(folder / "model.pt")[0].state_dict() for folder in results.values()]
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor, rtol=1e-5, atol=1e-8)
    assert {path.name for path in results[1].iterdir()} == {path.name for path in results[2].iterdir()}


def test_two_processes_resume(settings_of, write_frames, write_settings, tmp_path):
    """Stopped after one epoch by its settings and continued: the same as in one go."""
    settings = settings_of(
        write_frames(make_frames(6, 3)), training={"epochs": 2, "devices": 2, "schedule": {"kind": "constant"}}
    )
    config = write_settings(settings)
    parts = tmp_path / "parts"
    for options in (
        ["--set", "training.epochs=1", "--set", f"output={parts}"],
        ["--set", f"output={parts}", "--resume"],
        [],
    ):
        result = run_program(PROGRAM, config, *options)
        assert result.returncode == 0, result.stderr
    assert (parts / "metrics.csv").read_bytes() == (tmp_path / "run" / "metrics.csv").read_bytes()
    weights = [load_run(folder)[1]["model"] for folder in (parts, tmp_path / "run")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_mistakes_are_reported_once(settings_of, write_frames, write_settings, tmp_path):
    settings = settings_of(write_frames(make_frames(1, 0)), training={"devices": 2})
    result = run_program(PROGRAM, write_settings(settings))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    diverging = settings_of(
        write_frames(make_frames(6, 0)), training={"devices": 2, "learning_rate": 1e30, "gradient_clip": None}
    )
    result = run_program(PROGRAM, write_settings(diverging))
    assert result.returncode == 1
    assert result.stderr.count("les-train: error: training diverged") == 1
    assert "Traceback" not in result.stderr
