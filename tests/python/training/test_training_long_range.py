"""The choice between direct sum and particle mesh in trainings."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from training_helpers import make_frames

from les_md import forces
from les_md.errors import LESError
from les_md.forces import DIRECT_SUM, PeriodicSum
from les_md.training.data import LABEL_FORCES
from les_md.training.initial_fit import equations
from les_md.training.run import prepare_data, train
from les_md.training.settings import check_settings, dump_settings, load_settings
from les_md.training.start_model import build_model


@pytest.fixture
def settings(settings_of, write_frames, tmp_path):
    """Checked settings for 6 periodic frames and one isolated, with changes of `training`."""

    def make(output="run", **training):
        if not (tmp_path / "train.xyz").exists():
            write_frames(make_frames(6, 1))
        return check_settings(settings_of(tmp_path / "train.xyz", output, training=training), "test")

    return make


def metrics(folder: Path) -> np.ndarray:
    with open(folder / "metrics.csv") as file:
        return np.array([[float(value or 0) for value in row.values()] for row in csv.DictReader(file)])


def test_a_run_on_the_mesh_is_that_with_the_direct_sum(settings, tmp_path, capsys):
    # AdamW follows small differences of the gradients less closely than SOAP
    common = {"epochs": 3, "initial_fit": True, "loss": {"stress": 1.0}, "optimizer": "adamw", "learning_rate": 1e-3}
    train(settings("direct", long_range_solver="direct", **common))
    assert "periodic frames: direct sum in" in capsys.readouterr().out
    train(settings("mesh", long_range_solver="mesh", long_range_accuracy=1e-6, **common))
    assert "periodic frames: particle mesh to 1e-06 in" in capsys.readouterr().out
    direct, mesh = metrics(tmp_path / "direct"), metrics(tmp_path / "mesh")
    np.testing.assert_allclose(mesh, direct, rtol=1e-3)
    assert not np.array_equal(mesh, direct)
    for name in ("direct", "mesh"):
        written = load_settings(tmp_path / name / "config.yaml")
        assert written.training.long_range_solver == name


def test_auto_says_which_frames_go_to_the_mesh(settings, monkeypatch, capsys):
    train(settings("small", epochs=1))
    out = capsys.readouterr().out
    assert "direct sum in" in out
    assert "particle mesh" not in out
    monkeypatch.setattr(forces, "MESH_WORK", 1)
    train(settings("large", epochs=1))
    assert "particle mesh to 1e-05 in" in capsys.readouterr().out


def test_initial_fit_on_the_mesh(settings):
    chosen = settings()
    dataset = prepare_data(chosen)
    chosen.model.symbols = dataset.symbols
    model = build_model(chosen, dataset)
    frame = next(frame for frame in dataset.train if bool(frame["periodic"]) and LABEL_FORCES in frame)
    direct, _ = equations(model, frame, 1.0, DIRECT_SUM)
    mesh, _ = equations(model, frame, 1.0, PeriodicSum("mesh", 1e-6))
    assert not torch.equal(mesh, direct)
    assert float((mesh - direct).norm() / direct.norm()) < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"long_range_solver": "pme"}}, "`training.long_range_solver`: input should be 'auto', 'mesh' or"),
        ({"training": {"long_range_accuracy": 0.1}}, "`training.long_range_accuracy`: input should be less than or"),
        (
            {"training": {"long_range_solver": "direct", "long_range_accuracy": 1e-4}},
            "`long_range_accuracy` has no effect with `long_range_solver: direct`: set `mesh` or leave it out",
        ),
        (
            {"training": {"long_range_solver": "mesh"}, "model": {"long_range": None}},
            "`training.long_range_solver` has no effect with `model.long_range: null`: leave it out",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(LESError, match=message):
        check_settings({"data": {"train": "a.xyz"}, "output": "run", **changes}, "test")


@pytest.mark.parametrize(
    "changes", [{}, {"model": {"long_range": None}}, {"training": {"long_range_solver": "direct"}}]
)
def test_written_settings_can_be_read_back(changes, tmp_path):
    settings = check_settings({"data": {"train": "a.xyz"}, "output": "run", **changes}, "test")
    path = tmp_path / "config.yaml"
    path.write_text(dump_settings(settings))
    assert load_settings(path).training == settings.training
