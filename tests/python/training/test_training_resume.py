"""A run that is killed and resumed ends with exactly the numbers of a run that was not."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import environment, make_frames, program, run_program

from les_md.errors import LESError
from les_md.training import callbacks
from les_md.training.run import train
from les_md.training.run_state import load_run
from les_md.training.settings import check_settings

PROGRAM = "les_md.training.program"
N_EPOCHS = 14
TRAINING = {
    "epochs": N_EPOCHS,
    "batch_size": 2,
    "ema_decay": 0.95,
    "early_stopping_patience": 10,
    "schedule": {"kind": "reduce_on_plateau", "patience": 2, "warmup_epochs": 1.5},
    "loss": {"stages": [{"start_epoch": 6, "energy": 100.0}]},
}


def assert_equal(first: Any, second: Any) -> None:
    """Equality to the last bit through dictionaries and lists of tensors and plain values."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second


def assert_same_run(folder: Path, reference: Path) -> None:
    """Table, best model, weights, optimizer, averages, schedule and early stopping agree."""
    assert (folder / "metrics.csv").read_bytes() == (reference / "metrics.csv").read_bytes()
    state, parts = load_run(folder)
    reference_state, reference_parts = load_run(reference)
    assert_equal(vars(state), vars(reference_state))
    for content in (parts, reference_parts):
        content["settings"].pop("output")
    assert_equal(parts, reference_parts)
    models = [torch.load(path / "model.pt", weights_only=True) for path in (folder, reference)]
    assert_equal(models[0]["state"], models[1]["state"])


@pytest.fixture
def config(settings_of, write_frames, write_settings) -> Path:
    return write_settings(settings_of(write_frames(make_frames(12, 4)), training=TRAINING))


def test_killed_run_resumes_to_the_same_result(config, tmp_path):
    """SIGKILL in the middle of epochs, twice, before and after the second stage starts."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = program(PROGRAM, config, "--set", f"output={killed}")
    for n_rows in (3, 8):
        resume = ["--resume"] if n_rows > 3 else []
        with subprocess.Popen(
            [*command, *resume], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            deadline = time.monotonic() + 120
            while run.poll() is None and time.monotonic() < deadline:
                table = killed / "metrics.csv"
                if table.exists() and table.read_text().count("\n") > n_rows:
                    time.sleep(0.02)
                    break
                time.sleep(0.002)
            run.send_signal(signal.SIGKILL)
            output = run.communicate()[0].decode()
        assert run.returncode == -signal.SIGKILL, output
        assert n_rows <= load_run(killed)[0].n_epochs < N_EPOCHS
    result = run_program(PROGRAM, config, "--set", f"output={killed}", "--resume")
    assert result.returncode == 0, result.stderr
    assert "resuming after epoch" in result.stdout
    result = run_program(PROGRAM, config, "--set", f"output={whole}")
    assert result.returncode == 0, result.stderr
    assert_same_run(killed, whole)
    assert not list(killed.glob("*.part"))


@pytest.mark.parametrize("step", ["save_checkpoint", "save_run", "write_metrics"])
def test_stop_between_the_files_of_an_epoch(settings_of, write_frames, monkeypatch, tmp_path, step):
    """A kill before or after any of the three files of an epoch is written does no harm."""
    train_file = write_frames(make_frames(12, 4))

    class Killed(BaseException):
        pass

    def settings(output):
        return check_settings(settings_of(train_file, output, training={"epochs": 4}), "test")

    calls = []

    def dies_at_the_third_call(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise Killed
        original(*arguments)

    module = callbacks if step != "save_checkpoint" else __import__("les_md.training.run", fromlist=["train"])
    original = getattr(module, step)
    with monkeypatch.context() as patch:
        patch.setattr(module, step, dies_at_the_third_call)
        with pytest.raises(Killed):
            train(settings("killed"))
    assert load_run(tmp_path / "killed")[0].n_epochs == (3 if step == "write_metrics" else 2)
    train(settings("killed"), resume=True)
    train(settings("whole"))
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_resume_before_the_first_epoch_starts_from_the_beginning(settings_of, write_frames, tmp_path, capsys):
    settings = check_settings(settings_of(write_frames(make_frames(6, 2)), training={"epochs": 1}), "test")
    train(settings, resume=True)
    assert "no finished epoch in" in capsys.readouterr().out
    assert load_run(tmp_path / "run")[0].n_epochs == 1


def test_resume_of_a_finished_run_can_add_epochs(settings_of, write_frames, tmp_path):
    train_file = write_frames(make_frames(6, 2))
    for epochs in (1, 3):
        settings = check_settings(
            settings_of(train_file, training={"epochs": epochs, "schedule": {"kind": "constant"}}), "test"
        )
        train(settings, resume=epochs > 1)
    whole = check_settings(
        settings_of(train_file, "whole", training={"epochs": 3, "schedule": {"kind": "constant"}}), "test"
    )
    train(whole)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_resume_refuses_other_settings_and_data(settings_of, write_frames, tmp_path):
    train_file = write_frames(make_frames(6, 2))
    train(check_settings(settings_of(train_file, training={"epochs": 1}), "test"))
    changed = check_settings(settings_of(train_file, training={"epochs": 2, "batch_size": 3}), "test")
    with pytest.raises(LESError, match=r"`training.batch_size` was 4 and is 3 now; set it back, or start again"):
        train(changed, resume=True)
    write_frames(make_frames(6, 2, seed=1))
    with pytest.raises(LESError, match="--resume needs the data of the earlier run, but they changed"):
        train(check_settings(settings_of(train_file, training={"epochs": 2}), "test"), resume=True)


def test_damaged_file_is_one_line(settings_of, write_frames, tmp_path):
    settings = check_settings(settings_of(write_frames(make_frames(6, 2)), training={"epochs": 1}), "test")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "resume.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(LESError, match=r"resume.ckpt cannot be read .* start again with --overwrite"):
        train(settings, resume=True)
