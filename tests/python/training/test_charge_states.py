"""Frames of different total charge and spin: one model learns them, and les-eval compares charges with their labels."""

from __future__ import annotations

import json
from pathlib import Path

import ase
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from training_helpers import ATOM_ENERGY, make_frames

from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError
from les_md.evaluation import main as evaluate_files
from les_md.export import main as export
from les_md.training.run import prepare_data, train
from les_md.training.settings import check_settings

KEYS = {"total_charge_key": "net", "spin_key": "mult"}
STATES = ((0.0, 1.0), (1.0, 2.0), (-1.0, 2.0))


def charged_frames(n_structures: int = 12) -> list[ase.Atoms]:
    """The same structures in three states each; their pair energy is 1 + Q/2 times that of the neutral singlet."""
    frames = []
    for frame in make_frames(0, n_structures, seed=2):
        for charge, spin in STATES:
            copy, factor = frame.copy(), 1.0 + 0.5 * charge
            offset = float(ATOM_ENERGY[(frame.numbers == 8).astype(int)].sum())
            energy = offset + factor * (frame.get_potential_energy() - offset)
            copy.calc = SinglePointCalculator(copy, energy=energy, forces=factor * frame.get_forces())
            copy.info |= {"net": charge, "mult": spin}
            frames.append(copy)
    return frames


@pytest.fixture
def settings(settings_of, write_frames):
    """Checked settings for `charged_frames`."""

    def make(output="run", frames=None, **sections):
        path = write_frames(charged_frames() if frames is None else frames)
        return check_settings(settings_of(path, output, **sections), "test")

    return make


def errors_of(folder: Path) -> dict[str, float]:
    return load_checkpoint(folder / "model.pt")[1]["errors"]["valid"]


def test_one_model_covers_three_states(settings, tmp_path, write_frames, capsys):
    training = {"epochs": 30, "batch_size": 8, "learning_rate": 0.02, "initial_fit": True}
    both = {"charge_embedding": True, "spin_embedding": True, "hidden": [16]}
    frames = charged_frames(24)
    train(settings("with", frames, data=KEYS, model=both, training=training))
    train(settings("without", frames, model={"hidden": [16]}, training=training))
    # without the inputs the three states are one to the network
    told, untold = errors_of(tmp_path / "with"), errors_of(tmp_path / "without")
    assert told["energy"] < 0.2 * untold["energy"]
    assert told["forces"] < 0.6 * untold["forces"]
    # the exported file gives each frame its state
    capsys.readouterr()
    assert export([str(tmp_path / "with" / "model.pt")]) == 0
    errors = []
    for name in ("model.pt", "model.les.pt"):
        options = ["--total-charge-key", "net", "--spin-key", "mult", "--output", str(tmp_path / name[:-3])]
        assert evaluate_files([str(tmp_path / "with" / name), str(tmp_path / "train.xyz"), *options]) == 0
        errors.append(json.loads((tmp_path / name[:-3] / "errors.json").read_text())["errors"])
    for quantity in ("energy", "forces", "total_charge"):
        assert errors[1][quantity]["rmse"] == pytest.approx(errors[0][quantity]["rmse"], rel=1e-6)
    assert errors[0]["energy"]["rmse"] < 0.2e-3 * untold["energy"]
    assert evaluate_files([str(tmp_path / "with" / "model.pt"), str(tmp_path / "train.xyz")]) == 0
    told_what = capsys.readouterr().out
    assert "total_charge is an input of the model and was not given: 0 e is used; set --total-charge-key" in told_what
    assert "spin is an input of the model and was not given: 1 is used; set --spin-key" in told_what


def test_neutrality_gives_every_frame_its_charge(settings, tmp_path, capsys):
    """The charges of each frame add up to its label, through training, checkpoint and exported file."""
    keys = {"total_charge_key": "net"}
    train(settings(data=keys, model={"long_range": {"neutrality": True}}, training={"epochs": 2}))
    assert export([str(tmp_path / "run" / "model.pt")]) == 0
    for name in ("model.pt", "model.les.pt"):
        output = tmp_path / name[:-3]
        options = ["--total-charge-key", "net", "--output", str(output)]
        assert evaluate_files([str(tmp_path / "run" / name), str(tmp_path / "train.xyz"), *options]) == 0
        found = json.loads((output / "errors.json").read_text())["errors"]["total_charge"]
        assert found["largest"] < 1e-6
        assert found["n"] == 36
    assert "total_charge" in capsys.readouterr().out


def test_sums_of_charges_that_are_free(settings, tmp_path, capsys):
    """A model that is told nothing of total charges: its sums are compared as they are."""
    train(settings(training={"epochs": 1}))
    options = ["--total-charge-key", "net", "--output", str(tmp_path / "out")]
    assert evaluate_files([str(tmp_path / "run" / "model.pt"), str(tmp_path / "train.xyz"), *options]) == 0
    assert json.loads((tmp_path / "out" / "errors.json").read_text())["errors"]["total_charge"]["rmse"] > 0.3


def test_transfers_take_total_charges(settings):
    """`charge_flux` fits constant charges to the totals, and refuses one composition in several states."""
    model = {"long_range": {"charge_flux": True}}
    keys = {"total_charge_key": "net"}
    one_state = [frame for frame in charged_frames() if frame.info["net"] == 1.0]
    train(settings("a", one_state, data=keys, model=model, training={"epochs": 1}))
    with pytest.raises(LESError, match="use `neutrality: true` instead, or frames of one charge state"):
        train(settings("b", data=keys, model=model))


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"model": {"charge_embedding": True}}, "needs the total charge of every frame: set data.total_charge_key"),
        ({"model": {"spin_embedding": True}}, "needs the multiplicity of every frame: set data.spin_key"),
        ({"data": {"spin_key": "mult"}}, "`data.spin_key` has no effect without `model.spin_embedding: true`"),
    ],
)
def test_settings_that_cannot_work(settings, sections, text):
    with pytest.raises(LESError, match=text):
        settings(**sections)


def test_wrong_spins(settings):
    model = {"spin_embedding": True}
    frames = charged_frames(2)
    del frames[1].info["mult"]
    with pytest.raises(LESError, match=r"frame 1 of .*spin: no `mult` \(data.spin_key\) in the frame"):
        prepare_data(settings(frames=frames, data={"spin_key": "mult"}, model=model))
    frames[1].info["mult"] = 0
    with pytest.raises(LESError, match=r"frame 1 of .*`mult` must be a multiplicity 2S \+ 1, at least 1, got 0"):
        prepare_data(settings(frames=frames, data={"spin_key": "mult"}, model=model))
