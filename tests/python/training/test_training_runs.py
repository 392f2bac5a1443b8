"""Whole trainings: errors shrink, settings do what they say, runs are reproducible."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from training_helpers import make_frames

from les_md.batch import frame_from_atoms
from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError
from les_md.predictions import CheckpointPredictor, parity_sets
from les_md.training import data
from les_md.training.run import prepare_data, train
from les_md.training.run_state import load_run
from les_md.training.settings import check_settings, load_settings


def rows_of(folder: Path) -> list[dict[str, float]]:
    with open(folder / "metrics.csv") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.fixture
def run(settings_of, write_frames, tmp_path):
    """Trains with changed settings (sections as keyword arguments) and returns the output folder."""

    def start(frames=None, output="run", resume=False, **sections) -> Path:
        if frames is not None or not (tmp_path / "train.xyz").exists():
            write_frames(make_frames(12, 4) if frames is None else frames)
        settings = check_settings(settings_of(tmp_path / "train.xyz", output, **sections), "test")
        train(settings, resume=resume)
        return tmp_path / output

    return start


def test_errors_shrink_and_all_files_are_there(run, capsys):
    folder = run(training={"epochs": 40, "batch_size": 3, "learning_rate": 0.03})
    rows = rows_of(folder)
    assert [row["epoch"] for row in rows] == list(range(40))
    assert rows[-1]["train_loss"] < 0.02 * rows[0]["train_loss"]
    assert rows[-1]["valid_forces_rmse_meV_per_A"] < 0.4 * rows[0]["valid_forces_rmse_meV_per_A"]
    assert "train_stress_rmse_meV_per_A3" not in rows[0]
    names = {
        "config.yaml",
        "metrics.csv",
        "metrics.png",
        "model.pt",
        "parity_energy.png",
        "parity_forces.png",
        "resume.ckpt",
    }
    assert {path.name for path in folder.iterdir()} - {"parity_stress.png"} == names
    captured = capsys.readouterr()
    assert "12 training and 4 validation frames" in captured.out
    assert "epoch 40/40: " in captured.err


def test_summary_holds_the_errors_of_the_saved_model(run, tmp_path):
    folder = run(training={"epochs": 5, "loss": {"stress": 1.0}})
    model, training = load_checkpoint(folder / "model.pt")
    assert training["symbols"] == model.settings.symbols == ["H", "O"]
    assert (training["n_train_frames"], training["n_valid_frames"]) == (12, 4)
    json.dumps(training)  # the record of an exported file is JSON
    dataset = prepare_data(load_settings(folder / "config.yaml"))
    sets = parity_sets(dataset.valid, list(CheckpointPredictor(model).predict(dataset.valid)))
    for quantity, (reference, predicted) in sets.items():
        rmse = 1000 * np.sqrt(np.mean((reference - predicted) ** 2))
        assert rmse == pytest.approx(training["errors"]["valid"][quantity], rel=1e-6)
    # the best epoch of the table belongs to the same model
    row = rows_of(folder)[training["epoch"]]
    assert row["valid_forces_rmse_meV_per_A"] == pytest.approx(training["errors"]["valid"]["forces"], rel=1e-6)
    assert row["valid_loss"] == min(row["valid_loss"] for row in rows_of(folder))


def test_offsets_are_the_element_energies(run):
    given = {"H": -3.5, "O": -19.0}
    model, _ = load_checkpoint(run(data={"element_energies": given}, training={"epochs": 1}) / "model.pt")
    assert model.element_energies.tolist() == [-3.5, -19.0]


def test_same_seed_same_model_other_seed_other_model(run):
    def state(output, seed):
        return load_checkpoint(run(output=output, training={"epochs": 2, "seed": seed}) / "model.pt")[0].state_dict()

    first, again, other = state("a", 1), state("b", 1), state("c", 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_saved_model_is_the_average(run):
    folder = run(training={"epochs": 3, "ema_decay": 0.9})
    state, parts = load_run(folder)
    assert state.best_epoch == 2
    saved = load_checkpoint(folder / "model.pt")[0]
    parameters = dict(saved.named_parameters())
    for (name, parameter), average in zip(parameters.items(), parts["average"]["averages"], strict=True):
        assert torch.equal(parameter, average)
        assert torch.equal(parameter, state.best_weights[name])
    assert any(not torch.equal(parameter, parts["model"][name]) for name, parameter in parameters.items())


def test_average_follows_its_definition(run):
    """One step: the first update has decay 1/10."""
    folder = run(training={"epochs": 1, "batch_size": 12, "ema_decay": 0.99})
    start = load_checkpoint(run(output="still", training={"epochs": 1, "batch_size": 12, "learning_rate": 1e-30,
                                                         "ema_decay": None}) / "model.pt")[0]  # fmt: skip
    _, parts = load_run(folder)
    for (name, before), average in zip(start.named_parameters(), parts["average"]["averages"], strict=True):
        expected = 0.1 * before + 0.9 * parts["model"][name]
        torch.testing.assert_close(average, expected, rtol=1e-9, atol=1e-12)


def test_without_average_the_last_weights_are_saved(run):
    folder = run(training={"epochs": 2, "ema_decay": None})
    state, parts = load_run(folder)
    assert parts["average"] is None
    assert state.best_epoch == 1
    assert all(torch.equal(tensor, parts["model"][name]) for name, tensor in state.best_weights.items())


def test_stage_weights_change_the_loss(run):
    stages = [{"start_epoch": 2, "energy": 1000.0, "forces": 0.0}]
    rows = rows_of(run(training={"epochs": 4, "loss": {"energy": 1.0, "forces": 2.0, "stages": stages}}))
    for row, (energy, forces) in zip(rows, [(1, 2), (1, 2), (1000, 0), (1000, 0)], strict=True):
        for part in ("train", "valid"):
            expected = (
                energy * (row[f"{part}_energy_rmse_meV_per_atom"] / 1000) ** 2
                + forces * (row[f"{part}_forces_rmse_meV_per_A"] / 1000) ** 2
            )
            assert row[f"{part}_loss"] == pytest.approx(expected, rel=1e-9)


def test_best_model_belongs_to_the_last_stage(run):
    """Losses of different stages are not compared: the second one has a much larger loss."""
    stages = [{"start_epoch": 2, "energy": 1e6}]
    state, _ = load_run(run(training={"epochs": 4, "loss": {"stages": stages}}))
    assert state.best_epoch >= 2


def test_fitting_stress_reduces_its_error(run):
    without = load_checkpoint(run(training={"epochs": 25, "loss": {"energy": 0.0, "forces": 0.01, "stress": 0.0}},
                                  data={"element_energies": {"H": -3, "O": -20}}) / "model.pt")[0]  # fmt: skip
    folder = run(output="stress", training={"epochs": 25, "loss": {"energy": 0.0, "forces": 0.01, "stress": 100.0}})
    fitted = load_checkpoint(folder / "model.pt")[0]
    frames = prepare_data(load_settings(folder / "config.yaml")).train

    def error(model):
        reference, predicted = parity_sets(frames, list(CheckpointPredictor(model).predict(frames)))["stress"]
        return np.sqrt(np.mean((reference - predicted) ** 2))

    assert error(fitted) < 0.6 * error(without)
    rows = rows_of(folder)
    assert rows[-1]["train_stress_rmse_meV_per_A3"] < 0.3 * rows[0]["train_stress_rmse_meV_per_A3"]
    assert (folder / "parity_stress.png").exists()


def test_energies_alone_need_no_forces(run):
    frames = make_frames(6, 2)
    for frame in frames:
        del frame.calc.results["forces"]
    rows = rows_of(run(frames, training={"epochs": 10, "loss": {"energy": 1.0, "forces": 0.0}}))
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert "train_forces_rmse_meV_per_A" not in rows[0]


def test_huber_is_below_the_squared_loss(run):
    squared = rows_of(run(training={"epochs": 1}))[0]
    huber = rows_of(run(output="h", training={"epochs": 1, "loss": {"kind": "huber", "huber_delta": 0.1}}))[0]
    assert huber["train_loss"] < squared["train_loss"]


def test_early_stopping_and_plateau(run):
    """With a learning rate of nothing the loss stays, so both count from the second epoch on."""
    folder = run(training={"epochs": 30, "learning_rate": 1e-30, "early_stopping_patience": 5, "ema_decay": None,
                           "schedule": {"kind": "reduce_on_plateau", "factor": 0.5, "patience": 2}})  # fmt: skip
    rows = rows_of(folder)
    assert len(rows) == 6
    assert [row["learning_rate"] / 1e-30 for row in rows] == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25])
    # finished: a resume only repeats the report
    before = (folder / "metrics.csv").read_bytes()
    run(resume=True, training={"epochs": 30, "learning_rate": 1e-30, "early_stopping_patience": 5, "ema_decay": None,
                               "schedule": {"kind": "reduce_on_plateau", "factor": 0.5, "patience": 2}})  # fmt: skip
    assert (folder / "metrics.csv").read_bytes() == before


def test_divergence_is_one_line(run):
    with pytest.raises(LESError, match=r"training diverged in epoch \d: .* lower training.learning_rate"):
        run(training={"learning_rate": 1e30, "gradient_clip": None, "ema_decay": None})


def test_configuration_is_echoed_complete(run):
    folder = run(training={"epochs": 1})
    text = yaml.safe_load((folder / "config.yaml").read_text())
    assert text["model"]["symbols"] == ["H", "O"]
    assert text["training"]["schedule"]["kind"] == "cosine"
    assert load_settings(folder / "config.yaml").training.epochs == 1


def test_a_run_is_not_overwritten_by_accident(run, tmp_path):
    folder = run(training={"epochs": 1})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(LESError, match="holds an earlier run; continue it with --resume, replace it with --overwrite"):
        run(training={"epochs": 2})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_overwrite_removes_only_files_of_a_run(run, settings_of, tmp_path):
    folder = run(training={"epochs": 2})
    (folder / "notes.txt").write_text("mine")
    settings = check_settings(settings_of(tmp_path / "train.xyz", training={"epochs": 1}), "test")
    train(settings, overwrite=True)
    assert len(rows_of(folder)) == 1
    assert (folder / "notes.txt").read_text() == "mine"


def test_short_range_and_single_precision(run):
    folder = run(model={"long_range": None, "dtype": "float32"}, training={"epochs": 2})
    model, _ = load_checkpoint(folder / "model.pt")
    assert model.settings.long_range is None
    assert next(model.parameters()).dtype == torch.float32


def test_total_charge_reaches_the_model(run):
    frames = make_frames(4, 2)
    for frame in frames:
        frame.info["net"] = 1.0
    folder = run(frames, data={"total_charge_key": "net"}, model={"long_range": {"neutrality": True}},
                 training={"epochs": 1})  # fmt: skip
    dataset = prepare_data(load_settings(folder / "config.yaml"))
    model, _ = load_checkpoint(folder / "model.pt")
    for prediction in CheckpointPredictor(model).predict(dataset.train):
        assert prediction.latent_charges.sum() == pytest.approx(1.0, abs=1e-9)
    assert data.count(dataset.train)["energy"] == 4


def test_charges_as_transfers(run):
    """Frames of many compositions leave no constant charges; the transfers learn, and every frame stays neutral."""
    folder = run(
        model={"long_range": {"charge_flux": True}},
        training={"epochs": 10, "batch_size": 3, "learning_rate": 0.02, "initial_fit": True},
    )
    rows = rows_of(folder)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    model, _ = load_checkpoint(folder / "model.pt")
    torch.testing.assert_close(model.element_charges(), torch.zeros(2, 1, dtype=torch.float64), rtol=0, atol=1e-10)
    frame = frame_from_atoms(make_frames(1, 0, seed=5)[0], model.settings.symbols, model.settings.cutoff)
    (prediction,) = CheckpointPredictor(model).predict([frame])
    assert np.abs(prediction.latent_charges).max() > 1e-4
    assert abs(prediction.latent_charges.sum()) < 1e-10
