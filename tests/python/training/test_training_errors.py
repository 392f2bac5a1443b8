"""Every mistake of a user: one line that says what is wrong, exit status 1, and nothing written."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from training_helpers import label, make_frames, run_program

from les_md.training.data_settings import DataSettings
from les_md.training.loss_settings import LossSettings
from les_md.training.program import main
from les_md.training.settings import ScheduleSettings, TrainingSettings, load_settings


def fails(capsys, arguments, output: Path) -> str:
    """Runs les-train, which must fail before it writes; returns its one line on stderr."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert not output.exists()
    assert captured.err.startswith("les-train: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.fixture
def check(capsys, tmp_path, write_frames, settings_of, write_settings):
    """Writes `frames` and settings with the given changes, runs les-train and looks for `text` in its error."""

    def run(text, frames=None, valid=None, overrides=(), **sections):
        settings = settings_of(write_frames(make_frames(3, 1) if frames is None else frames), **sections)
        if valid is not None:
            del settings["data"]["valid_fraction"]
            settings["data"]["valid"] = [str(write_frames(valid, "valid.xyz"))]
        arguments = [write_settings(settings)]
        for override in overrides:
            arguments += ["--set", override]
        message = fails(capsys, arguments, tmp_path / "run")
        assert text in message

    return run


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("model.long_range.smering=2", "unknown key `model.long_range.smering`: did you mean `smearing`?"),
        ("trainning.epochs=2", "unknown key `trainning`: did you mean `training`?"),
        ("training.loss.stages=[{start_epoch: 2, force: 1}]", "`training.loss.stages.0.force`: did you mean `forces`?"),
        ("training.schedule.zzz=1", "unknown key `training.schedule.zzz`: valid keys are kind, warmup_epochs"),
        ("model.dtype=float16", "`model.dtype`: input should be 'float32' or 'float64', got 'float16'"),
        ("training.epochs=many", "`training.epochs`: input should be a valid integer"),
        ("training.learning_rate=-1", "`training.learning_rate`: input should be greater than 0, got -1"),
        ("training.device=tpu", "`training.device`: input should be 'auto', 'cpu' or 'gpu', got 'tpu'"),
        ("training.schedule.patience=3", "`patience` has no effect with `kind: cosine`"),
        ("training.loss.huber_delta=1", "`huber_delta` has no effect with `kind: squared`"),
        ("training.loss.stages=[{start_epoch: 9}]", "never starts: `epochs` is 4"),
        ("training.loss.stages=[{start_epoch: 2}, {start_epoch: 1}]", "`start_epoch` must grow from stage to stage"),
        ("training.loss={energy: 0, forces: 0}", "all weights are 0 from epoch 0 on"),
        ("model.symbols=[Xy]", "`symbols` must be chemical symbols"),
        ("model=3", "`model`: input should be a mapping"),
        ("data.valid=other.xyz", "`valid` and `valid_fraction` exclude each other"),
        ("data={train: a.xyz, stress_key: a, virial_key: b}", "`stress_key` and `virial_key` exclude each other"),
        ("data={}", "key `data.train` is missing"),
        ("data.total_charge_key=charge", "has no effect without `model.long_range.neutrality: true`"),
        ("training.epochs", "--set must be given as key.path=value, got 'training.epochs'"),
        ("training.epochs.more=3", "`epochs` is a single value, not a section"),
        ("data.train=nowhere.xyz", "data file 'nowhere.xyz' does not exist"),
    ],
)
def test_wrong_settings(check, override, text):
    check(text, overrides=[override])


def test_gpu_without_gpu(check, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    check("`training.device` is gpu, but torch finds no CUDA device", overrides=["training.device=gpu"])


def test_settings_file_missing_or_broken(capsys, tmp_path):
    assert "settings file 'none.yaml' does not exist" in fails(capsys, ["none.yaml"], tmp_path / "run")
    path = tmp_path / "broken.yaml"
    path.write_text("data: [1, 2")
    assert "cannot read settings file" in fails(capsys, [path], tmp_path / "run")
    path.write_text("")
    assert "must hold the sections data, model, training and output" in fails(capsys, [path], tmp_path / "run")


def test_missing_energies(check):
    frames = make_frames(3, 0)
    del frames[1].calc.results["energy"]
    check("frame 1 of", frames)
    check("no energy under `energy` or `REF_energy`; set data.energy_key (keys of the frame: forces, stress)", frames)


def test_missing_forces_under_a_named_key(check):
    text = "no forces under `my_forces`; set data.forces_key (keys of the frame: energy, forces, stress)"
    check(text, overrides=["data.forces_key=my_forces"])


def test_missing_stress(check):
    frames = make_frames(3, 0)
    del frames[2].calc.results["stress"]
    check("no stress under `stress` or `REF_stress`", frames, overrides=["training.loss.stress=1"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_not_finite(check, value):
    frames = make_frames(3, 0)
    frames[1].calc.results["forces"][2, 0] = value
    check(f"`forces` must be finite, got {value} at atom 2", frames)
    frames = make_frames(3, 0)
    frames[0].calc.results["energy"] = value
    check(f"`energy` must be finite, got {value}", frames)


def test_ambiguous_labels(check):
    frames = make_frames(3, 0)
    frames[0].info["REF_energy"] = 1.0
    check("energy: both `energy` and `REF_energy` are present; choose with `energy_key`", frames)


def test_label_that_is_no_number(check):
    frames = make_frames(3, 0)
    for frame in frames:
        frame.info["words"] = "hello"
    check("energy: `words` must be numbers, got 'hello'", frames, overrides=["data.energy_key=words"])


def test_asymmetric_stress(check):
    frames = make_frames(3, 0)
    for frame in frames:
        frame.info["tensor"] = np.arange(9.0).reshape(3, 3)
    check("stress must be symmetric", frames, overrides=["data.stress_key=tensor"])


def test_stress_of_isolated_frames(check):
    check("stresses cannot be fitted: all training frames are isolated", make_frames(0, 4),
          overrides=["training.loss.stress=1"])  # fmt: skip
    frames = make_frames(3, 1)
    frames[3].calc.results["stress"] = np.zeros(6)
    check("an isolated frame (pbc='F F F') has no volume, but carries a stress or virial", frames)


def test_mixed_periodicity(check):
    frames = make_frames(3, 0)
    frames[1].pbc = (True, True, False)
    check("`pbc` must be periodic in all three directions or in none, got [True, True, False]", frames)


def test_periodic_without_cell(check):
    frames = make_frames(0, 3)
    frames[1].pbc = True
    check("`cell` of a periodic system must have a volume", frames)


def test_atom_without_neighbours(check):
    far = label(ase.Atoms("OHHH", [[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]], cell=np.eye(3) * 20, pbc=True))
    check("atom 3 (H) has no neighbour within the cutoff of 3.5 angstrom; check the length unit", [far, far])


def test_coinciding_atoms(check):
    frames = make_frames(3, 0)
    frames[1].positions[5] = frames[1].positions[4] + 0.001
    check("atoms 4 and 5 are 0.00173 angstrom apart", frames)


def test_one_frame_only(check):
    check("training needs at least 2 frames, one to fit and one to validate, got 1", make_frames(1, 0))
    check("training needs at least 2 frames, got 1", make_frames(1, 0), valid=make_frames(1, 0))


def test_empty_and_unreadable_files(check, tmp_path):
    path = tmp_path / "empty.xyz"
    path.write_text("")
    check("empty.xyz' holds no frames", overrides=[f"data.train={path}"])
    path.write_text("3\nthree atoms\nO 0 0\n")
    check("empty.xyz' as extended XYZ", overrides=[f"data.train={path}"])


def test_element_that_training_lacks(check):
    valid = make_frames(2, 0)
    valid[1].symbols[0] = "Cl"
    check("element Cl of the validation frames is in no training frame (training has H O)", valid=valid)


def test_symbols_that_do_not_fit_the_data(check):
    check("element H of the training frames is not in `model.symbols` (O)", overrides=["model.symbols=[O]"])
    check("element C of `model.symbols` is in no training frame", overrides=["model.symbols=[C, H, O]"])
    check("`data.element_energies` lacks element O", overrides=["data.element_energies={H: 1}"])
    check("`data.element_energies` names C", overrides=["data.element_energies={H: 1, O: 1, C: 2}"])


def test_output_that_is_a_file(capsys, tmp_path, write_frames, settings_of, write_settings):
    (tmp_path / "taken").write_text("mine")
    config = write_settings(settings_of(write_frames(make_frames(3, 0)), output="taken"))
    message = fails(capsys, [config], tmp_path / "run")
    assert "`output` must be a folder" in message
    assert (tmp_path / "taken").read_text() == "mine"


def test_example_and_documentation_name_the_settings_there_are():
    root = Path(__file__).parents[3]
    example = load_settings(root / "examples" / "training" / "config.yaml")
    assert example.training.loss.all_stages()[-1].energy == 100.0
    text = (root / "docs" / "training.md").read_text()
    for section in (DataSettings, TrainingSettings, ScheduleSettings, LossSettings):
        for key in section.model_fields:
            assert f"{key}`" in text or f"`{key}." in text, key


def test_exit_status_of_the_program():
    """As a user sees it: status 1 and one line, no stack trace; 2 for wrong options, as argparse does."""
    result = run_program("les_md.training.program", "none.yaml")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "les-train: error: settings file 'none.yaml' does not exist\n"
    assert run_program("les_md.training.program").returncode == 2
