"""Index order of Born charges in files: the sum rule of rotation, what is refused, what is read, what is told."""

from __future__ import annotations

import json

import ase
import numpy as np
import pytest
import torch
from training_helpers import make_frames

from les_md.batch import frame_from_atoms
from les_md.born_charges import born_effective_charges
from les_md.checkpoint import save_checkpoint
from les_md.errors import LESError
from les_md.evaluation import main
from les_md.forces import evaluate
from les_md.model import LESModel
from les_md.predictions import Errors
from les_md.settings import LongRangeSettings, ModelSettings
from les_md.training.born_order import check_order, rotation_error
from les_md.training.data_settings import DataSettings
from les_md.training.labels import read_frames

OTHER = "displacement_first"


@pytest.fixture(scope="module")
def model() -> LESModel:
    """Untrained; its charges, and with them the off-diagonal Born charges, depend on the surroundings."""
    torch.manual_seed(5)
    return LESModel(
        ModelSettings(
            symbols=["H", "O"],
            cutoff=3.5,
            channels=4,
            l_max=2,
            hidden=[8],
            dtype="float64",
            long_range=LongRangeSettings(neutrality=True),
        )
    )


def labelled(model: LESModel, n: int, stored: str = "polarization_first", dipoles: bool = True) -> list[ase.Atoms]:
    """Isolated frames with dipoles and Born charges of `model`, the latter in the order `stored`."""
    frames = make_frames(0, n)
    for atoms in frames:
        frame = frame_from_atoms(atoms, ["H", "O"], 3.5)
        born = born_effective_charges(model, frame).numpy()
        if dipoles:
            output = evaluate(model, frame, virial=False, polarization=True)
            atoms.info["dipole"] = output["polarization"].detach().numpy()[0]
        atoms.arrays["bec"] = (born.transpose(0, 2, 1) if stored == OTHER else born).reshape(-1, 9)
    return frames


def molecules(frames: list[ase.Atoms]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return [(a.positions, a.info["dipole"], a.arrays["bec"].reshape(-1, 3, 3)) for a in frames]


def test_the_sum_rule_holds_in_one_order_only(model):
    error, size = rotation_error(molecules(labelled(model, 4)))
    exchanged, _ = rotation_error(molecules(labelled(model, 4, OTHER)))
    assert error < 1e-9 * size
    assert exchanged > 0.05 * size


def test_the_sum_rule_about_any_origin_with_net_charge():
    """Point charges with a total charge: the rule holds where dipole and positions have one origin."""
    rng = np.random.default_rng(2)
    positions, charges = rng.normal(size=(6, 3)) + 4.0, rng.normal(size=6)
    born = charges[:, None, None] * np.eye(3)
    error, size = rotation_error([(positions, charges @ positions, born)])
    assert error < 1e-12 * size
    shifted, _ = rotation_error([(positions, charges @ (positions - 4.0), born)])
    assert shifted > 0.1


@pytest.mark.parametrize(("order", "stored"), [("polarization_first", OTHER), (OTHER, "polarization_first")])
def test_the_wrong_order_is_refused(model, write_frames, order, stored):
    path = write_frames(labelled(model, 4, stored))
    settings = DataSettings(train=[path], born_charges_key="bec", born_charges_order=order)
    with pytest.raises(LESError, match=rf"the order {order} breaks .* set data.born_charges_order to {stored}$"):
        read_frames([path], settings, True, True, False, ["born_charges"])


def test_born_charges_are_read_in_their_order(model, write_frames):
    path = write_frames(labelled(model, 2, OTHER))
    settings = DataSettings(train=[path], born_charges_key="bec", born_charges_order=OTHER)
    for frame, expected in zip(
        read_frames([path], settings, True, True, False, ["born_charges"]), labelled(model, 2), strict=True
    ):
        np.testing.assert_allclose(frame.born_charges, expected.arrays["bec"].reshape(-1, 3, 3), atol=1e-7)


def test_symmetric_born_charges_are_taken_in_any_order():
    rng = np.random.default_rng(1)
    positions, charges = rng.normal(size=(5, 3)), np.array([0.4, -0.8, 0.4, 0.3, -0.3])
    born = charges[:, None, None] * np.eye(3)
    for order in ("polarization_first", OTHER):
        check_order([(positions, charges @ positions, born)], order, "data.born_charges_order")


def test_labels_with_numerical_noise_are_taken(model):
    rng = np.random.default_rng(1)
    noisy = [(r, mu, born + 0.003 * rng.normal(size=born.shape)) for r, mu, born in molecules(labelled(model, 4))]
    check_order(noisy, "polarization_first", "data.born_charges_order")


@pytest.fixture
def evaluated(model, tmp_path, write_frames):
    """Runs les-eval with Born charges on frames; returns its status and the record of errors, if there is one."""
    save_checkpoint(tmp_path / "model.pt", model, {})

    def run(frames, *options):
        folder = tmp_path / "out"
        arguments = [str(tmp_path / "model.pt"), str(write_frames(frames)), "--output", str(folder), *options]
        status = main(arguments)
        return status, json.loads((folder / "errors.json").read_text())["errors"] if status == 0 else None

    return run


def test_evaluation_refuses_the_wrong_order(model, evaluated, capsys):
    keys = ["--born-charges", "--born-charges-key", "bec"]
    assert evaluated(labelled(model, 4, OTHER), *keys)[0] == 1
    assert capsys.readouterr().err.endswith(f"set --born-charges-order to {OTHER}\n")
    status, errors = evaluated(labelled(model, 4, OTHER), *keys, "--born-charges-order", OTHER)
    assert status == 0
    assert errors["born_charges"]["largest"] < 1e-6


def test_evaluation_tells_of_the_order_without_dipoles(model, evaluated, capsys):
    keys = ["--born-charges", "--born-charges-key", "bec"]
    status, errors = evaluated(labelled(model, 4, OTHER, dipoles=False), *keys)
    assert status == 0
    assert errors["born_charges"]["rmse"] > 1e-3
    assert "with their indices exchanged the reference Born charges fit better" in capsys.readouterr().out
    evaluated(labelled(model, 4, dipoles=False), *keys)
    assert "exchanged" not in capsys.readouterr().out


def test_the_order_needs_born_charges(model, evaluated, capsys):
    assert evaluated(labelled(model, 1), "--born-charges-order", OTHER)[0] == 1
    assert "--born-charges-order need --born-charges" in capsys.readouterr().err


def test_the_common_factor_of_the_charges(model, evaluated, capsys):
    frames = labelled(model, 4)
    for frame in frames:
        frame.info["dipole"] = 0.8 * frame.info["dipole"]
        frame.arrays["charges"] = np.zeros(len(frame))
        frame.arrays.pop("bec")
    _, errors = evaluated(frames)
    assert errors["dipole"]["factor"] == pytest.approx(0.8, abs=1e-6)
    assert errors["dipole"]["scaled_r2"] == pytest.approx(1.0, abs=1e-9)
    assert errors["dipole"]["r2"] < 0.99
    assert errors["energy"]["factor"] is None
    assert errors["charges"]["factor"] is None  # a reference without variance
    out = capsys.readouterr().out
    assert "R2 with it" in out
    assert next(line for line in out.splitlines() if line.startswith("dipole")).endswith("0.800    1.00000  1.00000")


def test_the_squared_correlation_forgives_a_factor_and_a_constant():
    reference = np.array([[0.0, 1.0], [2.0, -3.0]])
    errors = Errors.of(1.0 - 2.0 * reference, reference, of_charges=True)
    assert errors.squared_correlation == pytest.approx(1.0, abs=1e-12)
    assert errors.scaled_r2 < 0.97
    noisy = Errors.of(np.array([1.0, 0.0, 2.0]), np.array([0.0, 1.0, 2.0]), of_charges=True)
    assert noisy.squared_correlation == pytest.approx(0.25, abs=1e-12)  # covariance 1/3, variances 2/3
    assert Errors.of(np.zeros(3), np.arange(3.0), of_charges=True).squared_correlation is None
