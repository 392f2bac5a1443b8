"""Least squares over all labels at once: the step itself, training with it, resuming, and what it refuses."""

from __future__ import annotations

import copy
import csv
from typing import Any

import ase
import numpy as np
import pytest
import torch
from training_helpers import make_frames

from les_md.batch import collate, frame_from_atoms
from les_md.constants import COULOMB_CONSTANT
from les_md.errors import LESError
from les_md.network.head import WHITENING_FLOOR
from les_md.training import data
from les_md.training.data_settings import DataSettings
from les_md.training.labels import read_frames
from les_md.training.levenberg_marquardt import LevenbergMarquardt, weighted_errors
from les_md.training.loss_settings import LossWeights
from les_md.training.run import prepare_data, train
from les_md.training.settings import check_settings
from les_md.training.start_model import LEAST_SQUARES_FLOOR, build_model

LEAST_SQUARES: dict[str, Any] = {"optimizer": "levenberg_marquardt", "initial_fit": True}


def least_squares_settings(settings: dict[str, Any], **training: Any) -> dict[str, Any]:
    """`settings` without those of gradient descent."""
    for key in ("batch_size", "learning_rate"):
        settings["training"].pop(key)
    settings["training"] |= LEAST_SQUARES | training
    settings["model"] |= {"dtype": "float64"}
    return settings


def metrics(folder) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_linear_problem_is_solved_with_the_smallest_change():
    """Fewer errors than parameters: the pseudo-inverse, split over parameters of any shape."""
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(5, 11, generator=generator, dtype=torch.float64)
    target = torch.randn(5, generator=generator, dtype=torch.float64)
    parameters = [torch.zeros(2, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)]

    def errors() -> torch.Tensor:
        return matrix @ torch.cat([parameter.flatten() for parameter in parameters]) - target

    optimizer = LevenbergMarquardt(parameters)
    optimizer.param_groups[0]["damping"] = 1e-12
    optimizer.improve(errors(), matrix, lambda: float(errors().square().sum()))
    found = torch.cat([parameter.flatten() for parameter in parameters])
    torch.testing.assert_close(found, torch.linalg.pinv(matrix) @ target, rtol=1e-6, atol=1e-8)


def test_damping_grows_until_the_loss_falls_and_parameters_stay_where_it_cannot():
    parameter = torch.tensor([2.0], dtype=torch.float64)
    optimizer = LevenbergMarquardt([parameter])

    def improve(slope: float) -> None:
        optimizer.improve(parameter.clone(), torch.tensor([[slope]], dtype=torch.float64), lambda: float(parameter**2))

    improve(0.4)  # the step is 2.5 times too long
    assert 0.0 < float(parameter.abs()) < 2.0
    damping, before = optimizer.param_groups[0]["damping"], float(parameter)
    assert damping > 1e-4
    improve(-1.0)  # in the wrong direction
    assert float(parameter) == before
    assert optimizer.param_groups[0]["damping"] > 1e3 * damping


def test_rows_are_the_loss():
    """The sum of squares of the weighted errors is the weighted mean that is reported."""
    errors = {"energy": torch.tensor([0.1, -0.2]), "forces": torch.ones(2, 3), "stress": torch.ones(1, 3, 3)}
    counts = {"energy": 2, "forces": 6, "stress": 9}
    weights = LossWeights(start_epoch=0, energy=4.0, forces=0.5, stress=0.0, dipole=0.0, born_charges=0.0)
    total = weighted_errors(errors, counts, weights).square().sum()
    assert float(total) == pytest.approx(4.0 * 0.05 / 2 + 0.5)


def test_frames_without_a_label_of_the_stage_count_nothing(settings_of, write_frames):
    """Only stresses are fitted at first, and isolated frames have none."""
    loss = {"energy": 0.0, "forces": 0.0, "stress": 1.0, "stages": [{"start_epoch": 1, "energy": 1.0}]}
    settings = least_squares_settings(settings_of(write_frames(make_frames(3, 5))), epochs=2, loss=loss)
    checked = check_settings(settings, "test")
    train(checked)
    first, last = metrics(checked.output)
    assert float(last["train_stress_rmse_meV_per_A3"]) < float(first["train_stress_rmse_meV_per_A3"])


@pytest.fixture
def ion_pairs(write_frames):
    """A rigid cation and anion of two atoms each, at separations beyond the cutoff: only charges explain them."""

    def make(separations, name):
        frames = []
        for separation in separations:
            positions = np.array([[0, 0, 0], [0, 0, 1.0], [separation, 0, 0.2], [separation, 1.1, 0.2]])
            charges = np.array([0.8, 0.2, -0.7, -0.3])
            vectors = positions[:, None] - positions[None]
            distances = np.linalg.norm(vectors, axis=2) + np.eye(4)
            apart = np.zeros((4, 4))
            apart[:2, 2:] = apart[2:, :2] = 1.0
            pairs = COULOMB_CONSTANT * charges[:, None] * charges * apart
            atoms = ase.Atoms("NHOC", positions, info={"pair": "ions", "energy": 0.5 * (pairs / distances).sum()})
            atoms.arrays["forces"] = (pairs[..., None] * vectors / distances[..., None] ** 3).sum(1)
            frames.append(atoms)
        other = make_frames(2, 4)
        return write_frames([*frames, *other], name)

    return make


def test_charges_of_rigid_ions_reach_beyond_the_training_range(ion_pairs, settings_of):
    near, far = ion_pairs(np.linspace(6.0, 10.0, 6), "near.xyz"), ion_pairs([14.0, 18.0], "far.xyz")
    settings = least_squares_settings(settings_of(near), epochs=60)
    settings["data"] = {"train": str(near), "valid": str(far), "select": {"pair": "ions"}}
    settings["model"] |= {"cutoff": 4.0}
    checked = check_settings(settings, "test")
    train(checked)
    rows = metrics(checked.output)
    first, last = rows[0], rows[-1]
    assert float(last["train_loss"]) < 1e-3 * float(first["train_loss"])
    assert float(last["valid_energy_rmse_meV_per_atom"]) < 1.0
    assert float(last["valid_forces_rmse_meV_per_A"]) < 2.0
    losses = [float(row["train_loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)  # no step is taken that raises the loss


def test_resumed_run_ends_like_one_that_was_not_interrupted(settings_of, write_frames):
    path = write_frames(make_frames(6, 4))
    for name, epochs in (("whole", [6]), ("parts", [3, 6])):
        for n, number in enumerate(epochs):
            settings = least_squares_settings(settings_of(path, output=name), epochs=number)
            train(check_settings(settings, "test"), resume=n > 0)
    whole, parts = (metrics(check_settings(settings, "test").output.parent / name) for name in ("whole", "parts"))
    assert whole == parts


@pytest.mark.parametrize(
    ("training", "text"),
    [
        ({"learning_rate": 0.1}, "`learning_rate` has no effect with `optimizer: levenberg_marquardt`: leave it out"),
        ({"ema_decay": None}, "`ema_decay` has no effect with `optimizer: levenberg_marquardt`"),
        ({"loss": {"kind": "huber"}}, "`optimizer: levenberg_marquardt` needs `loss.kind: squared`"),
        ({"devices": 2}, "`optimizer: levenberg_marquardt` runs as one process on the CPU"),
    ],
)
def test_settings_of_gradient_descent_are_refused(settings_of, tmp_path, training, text):
    settings = least_squares_settings(settings_of(tmp_path / "train.xyz"), **training)
    with pytest.raises(LESError, match=text):
        check_settings(settings, "test")


def test_large_data_are_refused(settings_of, write_frames, monkeypatch):
    monkeypatch.setattr("les_md.training.levenberg_marquardt.LARGEST_JACOBIAN", 1e4)
    settings = least_squares_settings(settings_of(write_frames(make_frames(6, 4))))
    with pytest.raises(LESError, match=r"is for small data: \d+ labels and \d+ parameters would take .* use `soap`"):
        train(check_settings(settings, "test"))


def test_selected_frames(ion_pairs):
    path = ion_pairs([6.0, 7.0], "train.xyz")
    arguments = {"need_energy": True, "need_forces": True, "need_stress": False}
    chosen = read_frames([path], DataSettings(train=[path], select={"pair": "ions"}), **arguments)
    assert [len(frame.atoms) for frame in chosen] == [4, 4]
    assert chosen[1].source == f"frame 1 of {path}"
    with pytest.raises(LESError, match=r"no frame of .* has pair=atoms; change data.select or --select"):
        read_frames([path], DataSettings(train=[path], select={"pair": "atoms"}), **arguments)


def test_displaced_copies_give_small_data_more_directions():
    """Copies have the same edges; large data have none."""
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [0, 0.96, 0]])
    frame = frame_from_atoms(atoms, ["H", "O"], 3.0)
    frames = data.with_displaced_copies([frame])
    assert len(frames) == 334
    moves = torch.stack([other["positions"] - frame["positions"] for other in frames[1:]])
    assert float(moves.std()) == pytest.approx(0.05, rel=0.05)
    assert all(torch.equal(other["edge_index"], frame["edge_index"]) for other in frames)
    assert len(data.with_displaced_copies([collate([frame] * 400)])) == 1


def test_features_are_whitened_further_than_for_gradient_descent(settings_of, write_frames):
    """Largest factor of a direction of variance v: max sqrt(v) / (v + floor) = 1 / (2 sqrt(floor))."""
    raw = settings_of(write_frames(make_frames(4, 4)))
    factors = {}
    for name, settings in (("soap", raw), ("levenberg_marquardt", least_squares_settings(copy.deepcopy(raw)))):
        checked = check_settings(settings, "test")
        dataset = prepare_data(checked)
        checked.model.symbols = dataset.symbols
        head = build_model(checked, dataset).energy_head
        factors[name] = float(torch.linalg.eigvalsh(head.decorrelation).max())
    assert factors["soap"] <= 0.5 / WHITENING_FLOOR**0.5 * (1 + 1e-6)
    assert 2 * factors["soap"] < factors["levenberg_marquardt"] <= 0.5 / LEAST_SQUARES_FLOOR**0.5 * (1 + 1e-6)
