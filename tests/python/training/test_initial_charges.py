"""`training.initial_charges`: what they start, and what the record of a training keeps of them."""

from __future__ import annotations

import pytest
from training_helpers import make_frames

from les_md import fields
from les_md.batch import collate
from les_md.forces import evaluate
from les_md.training.run import prepare_data
from les_md.training.settings import check_settings, settings_record
from les_md.training.start_model import build_model


@pytest.mark.parametrize("charge_flux", [False, True])
def test_atoms_start_with_the_charges_of_their_elements(settings_of, write_frames, charge_flux):
    training = {"initial_charges": {"O": -0.8, "H": 0.4}, "initial_fit": True}
    # water alone, so that transfers can give the charges as well
    raw = settings_of(write_frames(make_frames(0, 8)), training=training)
    raw["model"]["long_range"] = {"charge_flux": charge_flux}
    settings = check_settings(raw, "test")
    data = prepare_data(settings)
    settings.model.symbols = data.symbols
    model = build_model(settings, data)
    charges = evaluate(model, collate(data.train[:1]), virial=False)[fields.LATENT_CHARGES][:, 0]
    by_element = dict(zip(data.train[0][fields.TYPES].tolist(), charges.tolist(), strict=True))
    assert data.symbols == ["H", "O"]
    assert by_element[0] == pytest.approx(0.4, abs=1e-6)
    assert by_element[1] == pytest.approx(-0.8, abs=1e-6)
    assert settings_record(settings)["training"]["initial_charges"] == {"O": -0.8, "H": 0.4}


def test_the_record_is_that_of_before_without_them(settings_of, write_frames):
    raw = settings_of(write_frames(make_frames(0, 8)), training={"initial_fit": True})
    assert "initial_charges" not in settings_record(check_settings(raw, "test"))["training"]
