"""The settings that benchmarks/accuracy makes of those in examples/training, and its tables."""

import sys
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import pytest
import yaml
from ase.calculators.singlepoint import SinglePointCalculator

from les_md.checkpoint import save_checkpoint
from les_md.model import LESModel
from les_md.training.settings import check_settings, load_settings

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy"


@pytest.fixture
def accuracy(monkeypatch):
    """The folder of the benchmark on the path, as when its programs are called."""
    monkeypatch.syspath_prepend(BENCHMARK)
    names = ("run", "report", "moments", "trainings")
    yield lambda name: __import__(name)
    for name in names:
        sys.modules.pop(name, None)


def test_settings_are_valid(accuracy, tmp_path):
    run, trainings = accuracy("run"), accuracy("trainings")
    dipeptides = (*run.dipeptides((0, 1)), *run.neutral_dipeptides())
    for training in (*run.water((0, 1)), *run.times(), *dipeptides, *run.dimers(run.PAIRS)):
        raw = trainings.configuration(training, tmp_path, tmp_path / "out") | {"output": str(tmp_path)}
        if training.initial is not None:
            before = trainings.configuration(training.initial, tmp_path, tmp_path / "out") | {"output": str(tmp_path)}
            initial = check_settings(before, training.initial.name).model
            initial.symbols = ["H", "O"]
            folder = trainings.folder_of(training.initial, tmp_path, tmp_path / "out")
            (folder / "run").mkdir(parents=True)
            save_checkpoint(folder / "run" / "model.pt", LESModel(initial), {})
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
        settings = load_settings(tmp_path / "config.yaml")
        assert (settings.model.long_range is not None) == training.long_range
        assert settings.training.epochs == training.epochs or training.epochs is None
        assert settings.training.seed == (training.seed or 0)
        if settings.model.long_range is not None and training.initial is None:
            assert settings.model.long_range.neutrality == (training.neutrality or training.group == "dimers")
        assert all(path.parent == tmp_path for path in (*settings.data.train, *settings.data.valid))
        assert training.initial is None or settings.model == initial


def test_stages_keep_their_place(accuracy):
    scale_epochs = accuracy("trainings").scale_epochs
    training = {"epochs": 60, "loss": {"stages": [{"start_epoch": 40, "energy": 2.0}, {"start_epoch": 50}]}}
    scale_epochs(training, 12)
    assert training == {"epochs": 12, "loss": {"stages": [{"start_epoch": 8, "energy": 2.0}, {"start_epoch": 10}]}}
    scale_epochs(training, 3)
    assert [stage["start_epoch"] for stage in training["loss"]["stages"]] == [2]


def test_spread_and_errors(accuracy):
    report = accuracy("report")
    assert report.spread([20.0]) == "20"
    assert report.spread([20.0, 22.0, 24.0]) == "22 ± 2"
    assert report.spread([0.981, 0.983], 3) == "0.982 ± 0.001"

    @dataclass
    class Prediction:
        energy: float
        forces: np.ndarray

    frames = []
    for energy in (1.0, 2.0):
        atoms = ase.Atoms("H2")
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((2, 3)))
        frames.append(atoms)
    predictions = [Prediction(1.003, np.full((2, 3), 0.001)), Prediction(2.004, np.zeros((2, 3)))]
    found = report.rmse(frames, predictions)
    assert found["energy"] == pytest.approx(1000 * np.sqrt((0.003**2 + 0.004**2) / 2))
    assert found["forces"] == pytest.approx(1.0 / np.sqrt(2))


def test_the_table_of_times_has_each_kind_by_itself(accuracy, tmp_path):
    rows = [("short range, messages", 100, 3000.0, 20.0), ("LES", 30, 300.0, 18.8), ("LES", 12, 120.0, 21.4)]
    results = [
        {"labels": {"kind": kind}, "epochs": epochs, "seconds": seconds, "errors": {"energy": 0.25, "forces": forces}}
        for kind, epochs, seconds, forces in rows
    ]
    table, record = accuracy("report").time_table(results, tmp_path)
    assert table.splitlines()[2:] == [
        "| LES | 12 | 2.0 | 0.25 | 21.4 |",
        "| LES | 30 | 5.0 | 0.25 | 18.8 |",
        "| short range, messages | 100 | 50.0 | 0.25 | 20.0 |",
    ]
    assert [row["epochs"] for row in record] == [12, 30, 100]
    assert (tmp_path / "training_time.png").stat().st_size > 1000
