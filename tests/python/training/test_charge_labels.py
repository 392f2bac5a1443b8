"""Training on dipoles and Born effective charges: what is computed, its gradient, which frames count, errors."""

from __future__ import annotations

import csv

import ase
import numpy as np
import pytest
import torch
from training_helpers import make_frames

from les_md import fields
from les_md.batch import collate
from les_md.born_charges import born_effective_charges
from les_md.charge_sign import fix_charge_sign
from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError
from les_md.export import export_model
from les_md.forces import evaluate
from les_md.model import LESModel
from les_md.network.kernels import training_kernels
from les_md.settings import LongRangeSettings, ModelSettings
from les_md.training.data import HAS_DIPOLE, LABEL_DIPOLE, count
from les_md.training.loss import dipole_errors, error_sums, root_mean_squares, wanted_outputs, weighted_mean
from les_md.training.run import build_model, prepare_data, train
from les_md.training.settings import QUANTITIES, LossSettings, check_settings

CHARGES = {"H": 0.4, "O": -0.8}


def with_dipoles(frames: list[ase.Atoms]) -> list[ase.Atoms]:
    """Labels of fixed charges on the isolated frames: dipole, and Born charges q_i delta_ab."""
    for frame in frames:
        if frame.pbc.any():
            continue
        q = np.array([CHARGES[symbol] for symbol in frame.get_chemical_symbols()])
        frame.info["my_dipole"] = q @ frame.positions
        frame.arrays["my_born"] = np.einsum("i,ab->iab", q, np.eye(3)).reshape(-1, 9)
    return frames


@pytest.fixture
def settings(settings_of, write_frames):
    """Checked settings for 4 periodic and 8 isolated frames; the isolated ones have the labels of `with_dipoles`."""

    def make(frames=None, output="run", **sections):
        path = write_frames(with_dipoles(make_frames(4, 8)) if frames is None else frames)
        sections["model"] = {"symbols": ["H", "O"], **sections.get("model", {})}
        return check_settings(settings_of(path, output, **sections), "test")

    return make


@pytest.fixture
def labelled(settings):
    """Settings that fit both labels."""

    def make(**sections):
        loss = {"dipole": 3.0, "born_charges": 0.5, **sections.pop("loss", {})}
        keys = {"dipole_key": "my_dipole", "born_charges_key": "my_born"}
        training = {"loss": loss, **sections.pop("training", {})}
        return settings(data=keys, training=training, **sections)

    return make


def random_flux_model() -> LESModel:
    torch.manual_seed(3)
    long_range = LongRangeSettings(charge_flux=True)
    return LESModel(ModelSettings(symbols=["H", "O"], cutoff=3.5, dtype="float64", eps_inf=1.4, long_range=long_range))


@pytest.mark.parametrize("neutrality", [True, False])
def test_batches_give_what_single_frames_give(labelled, neutrality):
    configuration = labelled(model={"eps_inf": 1.7, "long_range": {"neutrality": neutrality}})
    dataset = prepare_data(configuration)
    model = build_model(configuration, dataset)
    frames = dataset.train
    assert len({bool(frame[fields.PERIODIC]) for frame in frames}) == 2
    output = evaluate(model, collate(frames), polarization=True, born_charges=True)
    born = torch.cat([born_effective_charges(model, frame) for frame in frames])
    torch.testing.assert_close(output[fields.BORN_CHARGES], born, rtol=1e-10, atol=1e-10)
    for system, frame in enumerate(frames):
        if not bool(frame[fields.PERIODIC]):
            charges = evaluate(model, frame)[fields.LATENT_CHARGES].sum(1) * 1.7**0.5
            expected = charges @ frame[fields.POSITIONS]
            torch.testing.assert_close(output[fields.POLARIZATION][system], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("flux", [False, True])
def test_gradient_of_the_loss_by_finite_differences(labelled, flux):
    """Second derivatives through the compiled steps of the network, periodic and isolated frames in one batch."""
    configuration = labelled()
    dataset = prepare_data(configuration)
    model = random_flux_model() if flux else build_model(configuration, dataset)
    batch = collate([f for f in dataset.train if bool(f[HAS_DIPOLE])][:2] + dataset.train[:1])
    batch["has_born_charges"][:] = True  # zero for the periodic frame
    loss_settings = configuration.training.loss
    wanted = wanted_outputs(batch, loss_settings)
    assert wanted == {"virial": False, "polarization": True, "born_charges": True}

    def loss(create_graph):
        output = evaluate(model, batch, create_graph=create_graph, **wanted)
        penalties, _ = error_sums(output, batch, loss_settings)
        of_charges = torch.tensor([quantity in ("dipole", "born_charges") for quantity in QUANTITIES])
        counts = dict.fromkeys(QUANTITIES, 7)
        return weighted_mean(torch.where(of_charges, penalties, 0.0), counts, loss_settings.all_stages()[0])

    with training_kernels():
        loss(True).backward()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        step, data = 1e-5, parameter.data
        values = []
        for sign in (1, -1):
            parameter.data = data + sign * step * direction
            values.append(float(loss(False).detach()))
        parameter.data = data
        slope = 0.0 if parameter.grad is None else float((parameter.grad * direction).sum())
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-7)


def test_dipole_of_a_periodic_cell_counts_up_to_lattice_vectors():
    cell = torch.tensor([[[5.0, 0.3, 0.0], [0.0, 6.0, -0.4], [1.0, 0.0, 7.0]]] * 2, dtype=torch.float64)
    label = torch.tensor([[1.0, 2.0, 3.0]] * 2, dtype=torch.float64)
    batch = {fields.CELL: cell, fields.PERIODIC: torch.tensor([True, False]), LABEL_DIPOLE: label}
    offset = torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64)
    polarization = label + offset + 2 * cell[:, 0] - cell[:, 2]
    errors = dipole_errors(polarization, batch)
    torch.testing.assert_close(errors[0], offset, rtol=0, atol=1e-12)
    torch.testing.assert_close(errors[1], offset + 2 * cell[1, 0] - cell[1, 2], rtol=0, atol=1e-12)


def test_frames_without_a_label_count_nothing(labelled):
    configuration = labelled(training={"seed": 1})
    dataset = prepare_data(configuration)
    counts = count(dataset.train)
    n_labelled = sum(not bool(frame[fields.PERIODIC]) for frame in dataset.train)
    assert counts["dipole"] == 3 * n_labelled
    assert counts["born_charges"] == 9 * 3 * n_labelled
    model = build_model(configuration, dataset)
    batch = collate(dataset.train)
    loss = configuration.training.loss
    output = evaluate(model, batch, **wanted_outputs(batch, loss))
    errors = root_mean_squares(error_sums(output, batch, loss)[1], counts)
    isolated = [frame for frame in dataset.train if bool(frame[HAS_DIPOLE])]
    charges = [evaluate(model, frame)[fields.LATENT_CHARGES].sum(1) for frame in isolated]
    squares = [
        (q @ f[fields.POSITIONS] - f[LABEL_DIPOLE][0]).square().mean() for q, f in zip(charges, isolated, strict=True)
    ]
    assert errors["dipole"] == pytest.approx(1000 * float(torch.stack(squares).mean()) ** 0.5, rel=1e-9)


def test_a_training_learns_dipoles_and_born_charges(labelled, tmp_path, capsys):
    # energies do not depend on these charges, so that labels alone can teach them
    train(labelled(training={"epochs": 30, "learning_rate": 0.03}))
    with open(tmp_path / "run" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for part in ("train", "valid"):
        for column in ("dipole_rmse_me_A", "born_charges_rmse_me"):
            assert float(rows[-1][f"{part}_{column}"]) < 0.4 * float(rows[0][f"{part}_{column}"])
    captured = capsys.readouterr()
    assert " me A, " in captured.err
    assert "me*angstrom" in captured.out
    assert (tmp_path / "run" / "parity_dipole.png").exists()
    model, summary = load_checkpoint(tmp_path / "run" / "model.pt")
    # the mean charges are those of the labels, with their sign, and stay so in the exported file
    dataset = prepare_data(labelled())
    frame = next(frame for frame in dataset.train if bool(frame[HAS_DIPOLE]))
    before = evaluate(model, frame)[fields.LATENT_CHARGES]
    assert before[:, 0].tolist() == pytest.approx([-0.8, 0.4, 0.4], abs=0.2)
    assert summary["errors"]["valid"]["dipole"] < 150
    sign = fix_charge_sign(model, frame, "H", 1, fitted=True)
    assert sign["factors"] == [1.0]


def test_the_start_has_the_sign_of_the_labels(labelled):
    """Labels of the opposite sign start the same training with the opposite charges."""
    configuration = labelled()
    dataset = prepare_data(configuration)
    torch.manual_seed(0)
    model = build_model(configuration, dataset)
    for frame in dataset.train:
        frame[LABEL_DIPOLE].neg_()
        frame["label_born_charges"].neg_()
    torch.manual_seed(0)
    opposite = build_model(configuration, dataset)
    assert torch.equal(opposite.charge_sign, -model.charge_sign)


def test_export_keeps_a_sign_that_was_learned(tmp_path):
    torch.manual_seed(2)
    long_range = LongRangeSettings(n_channels=2)
    model = LESModel(ModelSettings(symbols=["H", "O"], cutoff=3.5, dtype="float64", long_range=long_range))
    frames = make_frames(0, 2)
    with torch.no_grad():
        model.charge_head.constant.copy_(torch.tensor([[-0.4, 0.1], [0.8, -0.1]]) / 0.1)
    summary = {"settings": {"training": {"loss": {"dipole": 0.0, "stages": [{"start_epoch": 1, "dipole": 1.0}]}}}}
    record, _ = export_model(model, tmp_path / "a.les.pt", frames, summary)
    assert record["charge_sign"] == {"element": "O", "sign": 1, "factors": [1.0, 1.0]}
    record, _ = export_model(model, tmp_path / "b.les.pt", frames, summary, charge_sign=("O", -1))
    assert record["charge_sign"] == {"element": "O", "sign": -1, "factors": [-1.0, -1.0]}
    # without labels every channel has a sign of its own
    record, _ = export_model(model, tmp_path / "c.les.pt", frames)
    assert record["charge_sign"]["factors"] == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"data": {"dipole_key": "d"}}, "`data.dipole_key` has no effect without a weight in `training.loss.dipole`"),
        ({"model": {"long_range": None}, "training": {"loss": {"dipole": 1.0}}}, "`training.loss.dipole` needs char"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(settings, sections, text):
    with pytest.raises(LESError, match=text):
        settings(**sections)


def test_a_label_in_no_frame(settings):
    loss = {"loss": {"dipole": 1.0}}
    with pytest.raises(LESError, match=r"no training frame has dipole under `dipol`; set data.dipole_key"):
        prepare_data(settings(data={"dipole_key": "dipol"}, training=loss))
    with pytest.raises(LESError, match=r"born charges under `born_charges` or `REF_born_charges`; set data.born_char"):
        prepare_data(settings(training={"loss": {"born_charges": 1.0}}))


def test_a_label_of_the_wrong_size(settings):
    frames = with_dipoles(make_frames(4, 8))
    frames[6].info["my_dipole"] = np.zeros(4)
    with pytest.raises(LESError, match=r"frame 6 of .*dipole: `my_dipole` must have 3 numbers, got 4"):
        prepare_data(settings(frames, data={"dipole_key": "my_dipole"}, training={"loss": {"dipole": 1.0}}))


def test_dipoles_of_periodic_frames_need_transfers(settings):
    frames = make_frames(8, 0)
    for frame in frames:
        frame.info["my_dipole"] = np.ones(3)
    sections = {"data": {"dipole_key": "my_dipole"}, "training": {"loss": {"dipole": 1.0}}}
    with pytest.raises(LESError, match="dipoles cannot be fitted: all training frames that have one are periodic"):
        prepare_data(settings(frames, **sections))
    dataset = prepare_data(settings(frames, model={"long_range": {"charge_flux": True}}, **sections))
    assert count(dataset.train)["dipole"] == 3 * len(dataset.train)


def test_a_step_without_any_label_changes_nothing(settings):
    """Dipoles alone, with a batch of periodic frames that have none."""
    loss = {"energy": 0.0, "forces": 0.0, "dipole": 1.0}
    configuration = settings(data={"dipole_key": "my_dipole"}, training={"loss": loss, "batch_size": 1, "epochs": 2})
    assert LossSettings(**loss).uses("dipole")
    train(configuration)
