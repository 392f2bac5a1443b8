"""Fine-tuning: weights and settings come from the checkpoint, data and optimizer from the new run."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from training_helpers import isolated_frame, make_frames, run_program

from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError
from les_md.export import export_model
from les_md.network import ElementCharges
from les_md.predictions import CheckpointPredictor, Errors, parity_sets
from les_md.training.run import prepare_data, train
from les_md.training.settings import check_settings, load_settings
from les_md.training.start_model import build_model


@pytest.fixture
def first(settings_of, write_frames, tmp_path):
    """Checkpoint of a short training."""
    path = write_frames(make_frames(4, 4), "first.xyz")
    train(check_settings(settings_of(path, "first", training={"epochs": 2}), "test"))
    return tmp_path / "first" / "model.pt"


@pytest.fixture
def further(settings_of, write_frames, first):
    """Settings of a fine-tuning on other frames, without a section `model` unless one is given."""

    def make(frames=None, model=None, **sections):
        path = write_frames(make_frames(4, 8, seed=5) if frames is None else frames, "further.xyz")
        raw = settings_of(path, "further", **sections)
        del raw["training"]["initial_fit"]
        raw["training"]["initial_model"] = str(first)
        raw.pop("model")
        if model is not None:
            raw["model"] = model
        return raw

    return make


def test_starts_from_the_checkpoint_and_gets_better(further, first, tmp_path, capsys):
    settings = check_settings(further(training={"epochs": 30, "ema_decay": None, "learning_rate": 0.003}), "test")
    dataset = prepare_data(settings)
    before, _ = load_checkpoint(first)
    model = build_model(settings, dataset)
    assert settings.model == before.settings
    for name, tensor in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    sets = parity_sets(dataset.valid, list(CheckpointPredictor(before).predict(dataset.valid)))
    start = {name: 1000 * Errors.of(*pair).rmse for name, pair in sets.items()}
    capsys.readouterr()
    train(settings)
    text = f"initial model on the validation frames: {start['energy']:.3g} meV/atom, {start['forces']:.3g} meV/A"
    assert text in capsys.readouterr().out
    with open(tmp_path / "further" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    # so few frames of random atoms teach nothing about others
    of_training = parity_sets(dataset.train, list(CheckpointPredictor(before).predict(dataset.train)))["forces"]
    assert float(rows[-1]["train_forces_rmse_meV_per_A"]) < 0.6 * 1000 * Errors.of(*of_training).rmse
    # its own settings file is complete, and continues the run
    again = load_settings(tmp_path / "further" / "config.yaml")
    assert again.training.initial_model == first
    assert again.model == before.settings


def test_element_energies_are_kept_replaced_or_fitted(further, first):
    before = load_checkpoint(first)[0].element_energies
    shift = {"H": 0.7, "O": -2.0}
    frames = make_frames(4, 8, seed=5)
    for frame in frames:
        frame.calc.results["energy"] += sum(shift[symbol] for symbol in frame.get_chemical_symbols())

    def energies(**data):
        settings = check_settings(further(frames, data=data), "test")
        dataset = prepare_data(settings)
        model = build_model(settings, dataset)
        np.testing.assert_array_equal(dataset.element_energies, model.element_energies)
        return model.element_energies, dataset, model

    assert torch.equal(energies()[0], before)
    replaced = energies(element_energies={"O": -17.0})[0]
    assert replaced.tolist() == [float(before[0]), -17.0]
    fitted, dataset, model = energies(element_energies="fit")
    reference, predicted = parity_sets(dataset.train, list(CheckpointPredictor(model).predict(dataset.train)))["energy"]
    # least squares: no change of the element energies makes it better
    fractions = np.array([np.bincount(f["types"], minlength=2) / len(f["types"]) for f in dataset.train])
    np.testing.assert_allclose(fractions.T @ (predicted - reference), 0.0, atol=1e-9)
    assert float(fitted[1] - before[1]) < -1.0


def test_settings_of_the_section_model_must_agree(further):
    raw = further(model={"cutoff": 5.0})
    with pytest.raises(LESError, match=r"`model.cutoff` differs .*asked for 5.0, the checkpoint has 3.5"):
        check_settings(raw, "test")
    with pytest.raises(LESError, match=r"`model.long_range` differs from that of the initial model"):
        check_settings(further(model={"long_range": {"n_channels": 2}}), "test")
    with pytest.raises(LESError, match=r"unknown key `model.cutof`: did you mean `cutoff`"):
        check_settings(further(model={"cutof": 5.0}), "test")
    settings = check_settings(further(model={"channels": 4, "dtype": "float32"}), "test")
    model = build_model(settings, prepare_data(settings))
    assert model.energy_head.mean.dtype == torch.float32


def test_new_elements_are_refused_and_missing_ones_kept(further):
    frames = make_frames(0, 4, seed=5)
    frames[2].symbols[1] = "N"
    with pytest.raises(LESError, match=r"element N of the validation frames is not in the initial model .*\(H O\)"):
        prepare_data(check_settings(further(frames), "test"))
    frames[0].symbols[1] = "N"
    with pytest.raises(LESError, match=r"element N of the training frames .*cannot add elements; train a new model"):
        prepare_data(check_settings(further(frames), "test"))
    rng = np.random.default_rng(1)
    hydrogen = [isolated_frame(rng)[1:] for _ in range(4)]
    for frame, whole in zip(hydrogen, make_frames(0, 4), strict=True):
        frame.calc = None
        frame.info["energy"], frame.arrays["forces"] = whole.get_potential_energy(), whole.get_forces()[1:]
    dataset = prepare_data(check_settings(further(hydrogen), "test"))
    assert dataset.symbols == ["H", "O"]


def test_files_that_are_no_checkpoint(further, first, tmp_path):
    model, summary = load_checkpoint(first)
    export_model(model, tmp_path / "m.les.pt", make_frames(0, 1), summary)
    raw = further()
    raw["training"]["initial_model"] = str(tmp_path / "m.les.pt")
    with pytest.raises(LESError, match=r"m.les.pt is an exported file, .*give the checkpoint .*model.pt in the output"):
        check_settings(raw, "test")
    raw["training"]["initial_model"] = "nowhere.pt"
    with pytest.raises(LESError, match=r"checkpoint nowhere.pt does not exist"):
        check_settings(raw, "test")
    raw = further(training={"initial_fit": True})
    raw["training"]["initial_fit"] = True
    with pytest.raises(LESError, match="`initial_fit` has no effect with `initial_model`"):
        check_settings(raw, "test")


def test_constants_of_a_flux_model_are_kept():
    """H2O fixes one combination; a further frame of HO- takes the freedom that is left, or contradicts."""
    charges = ElementCharges(2, 1)
    charges.constrain(torch.tensor([[2, 1]]), torch.zeros(1))
    with torch.no_grad():
        charges.free.copy_(torch.tensor([[0.4], [-0.8]]))
    before = charges().detach().clone()
    charges.keep(torch.tensor([[4, 2]]), torch.zeros(1))
    torch.testing.assert_close(charges(), before)
    with torch.no_grad():
        charges.free.add_(1.0)
    torch.testing.assert_close(torch.tensor([[2.0, 1.0]]) @ charges(), torch.zeros(1, 1), atol=1e-6, rtol=0)
    assert float((charges() - before).detach().abs().max()) > 0.1
    with pytest.raises(LESError, match=r"initial model has constant charges .* train a new model"):
        charges.keep(torch.tensor([[1, 1]]), torch.tensor([3.0]))


def test_program(further, first, write_settings, tmp_path):
    raw = further(training={"epochs": 1})
    del raw["training"]["initial_model"]
    done = run_program("les_md.training.program", write_settings(raw), "--from", first)
    assert done.returncode == 0, done.stderr
    assert "initial model on the validation frames" in done.stdout
    done = run_program("les_md.training.program", write_settings(raw), "--from", tmp_path / "none.pt", "--overwrite")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "none.pt does not exist" in done.stderr
