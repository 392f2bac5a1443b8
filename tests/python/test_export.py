"""les-export and the model file: what it writes, checks and refuses."""

import json
import zipfile

import ase.io
import numpy as np
import pytest
import torch
from structures import random_atoms, random_model

from les_md import export, fields
from les_md.ase import LESCalculator
from les_md.charge_sign import parse_charge_sign
from les_md.checkpoint import load_checkpoint, save_checkpoint
from les_md.engine import Engine, check_versions
from les_md.errors import LESError
from les_md.forces import evaluate
from les_md.model_file import read_record
from les_md.settings import LongRangeSettings


@pytest.fixture
def frames():
    return [random_atoms(seed=1), random_atoms(seed=2, periodic=False)]


@pytest.fixture
def checkpoint(frames, tmp_path):
    model = random_model(atoms=frames[0], eps_inf=1.78)
    path = tmp_path / "model.pt"
    save_checkpoint(path, model, {"check_frames": export.frames_to_plain(frames), "n_frames": 2})
    return path


def test_program(checkpoint, frames, capsys):
    assert export.main([str(checkpoint)]) == 0
    printed = capsys.readouterr().out
    path = checkpoint.with_name("model.les.pt")
    for part in (
        "elements     O H",
        "cutoff       3.5 angstrom",
        "parameters",
        "kB)",
        "checked      2 frame(s)",
        "O is negative",
    ):
        assert part in printed
    model, _ = load_checkpoint(checkpoint)
    results = evaluate(model, export.batch_of(frames[:1], model.settings))
    atoms = frames[0].copy()
    atoms.calc = LESCalculator(path)
    assert atoms.get_potential_energy() == pytest.approx(results["energy"].item(), rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), results["forces"].detach(), atol=1e-9)
    latent = results["latent_charges"].detach().numpy()[:, 0]
    np.testing.assert_allclose(np.abs(atoms.get_charges()), np.abs(latent) * 1.78**0.5, atol=1e-9)
    types = np.array(atoms.get_chemical_symbols())
    assert atoms.get_charges()[types == "O"].mean() < 0


def test_record(checkpoint):
    export.main([str(checkpoint)])
    record = read_record(checkpoint.with_name("model.les.pt"))
    assert record["symbols"] == ["O", "H"]
    assert record["long_range"]["smearing"] == 1.0
    assert record["long_range"]["k_cutoff"] is None
    assert record["charge_sign"]["element"] == "O"
    assert record["atomic_charge"]["scale"] == pytest.approx(1.78**0.5)
    assert record["training"]["n_frames"] == 2
    assert record["bound_symbols"] is None


@pytest.mark.parametrize(("choice", "element", "sign"), [("H=-1", "H", -1), ("O=+1", "O", 1), ("H+", "H", 1)])
def test_charge_sign(checkpoint, frames, choice, element, sign):
    assert export.main([str(checkpoint), "--charge-sign", choice]) == 0
    atoms = frames[0].copy()
    atoms.calc = LESCalculator(checkpoint.with_name("model.les.pt"))
    chosen = np.array(atoms.get_chemical_symbols()) == element
    assert np.sign(atoms.get_charges()[chosen].mean()) == sign


def test_bind_and_change_precision_of_an_exported_file(checkpoint, frames, tmp_path):
    export.main([str(checkpoint)])
    structure = tmp_path / "system.xyz"
    ase.io.write(structure, frames[0])
    output = tmp_path / "bound.les.pt"
    source = checkpoint.with_name("model.les.pt")
    assert export.main([str(source), "--atoms", str(structure), "--dtype", "float32", "-o", str(output)]) == 0
    record = read_record(output)
    assert record["dtype"] == "float32"
    assert record["bound_symbols"] == frames[0].get_chemical_symbols()
    with export.torchscript():
        module = torch.jit.load(str(output))
    energy = module(torch.tensor(frames[0].positions / 10), torch.tensor(np.asarray(frames[0].cell)) / 10)
    engine = Engine(source)
    types = engine.types_of(frames[0].get_chemical_symbols())
    expected = engine.compute(frames[0].positions, types, np.asarray(frames[0].cell), True)
    assert energy.item() / 96.48533212331002 == pytest.approx(expected["energy"], abs=1e-3)


def test_several_channels_flip_one_by_one(frames, tmp_path):
    model = random_model(atoms=frames[0], long_range=LongRangeSettings(n_channels=3))
    record, differences = export.export_model(model, tmp_path / "m.les.pt", frames)
    assert max(differences.values()) < 1e-10
    engine = Engine(tmp_path / "m.les.pt")
    types = engine.types_of(frames[0].get_chemical_symbols())
    cells = [(np.asarray(frame.cell), bool(frame.pbc.all())) for frame in frames]
    results = [engine.compute(frame.positions, types, *cell) for frame, cell in zip(frames, cells, strict=True)]
    charges = np.concatenate([result["latent_charges"][types == 0] for result in results])
    assert (charges.mean(0) < 0).all()
    assert len(record["charge_sign"]["factors"]) == 3


def test_short_range_only(frames, tmp_path):
    model = random_model(atoms=frames[0], long_range=None)
    record, _ = export.export_model(model, tmp_path / "m.les.pt", frames)
    assert record["long_range"] is None
    atoms = frames[0].copy()
    atoms.calc = LESCalculator(tmp_path / "m.les.pt")
    assert atoms.get_charges().tolist() == [0.0] * len(atoms)
    assert atoms.calc.results["long_range_energy"] == 0.0


def test_a_wrong_file_is_not_kept(frames, tmp_path, monkeypatch):
    """The check compares real numbers: a file with other weights fails it and leaves nothing behind."""
    model = random_model(atoms=frames[0])
    original = export.copy_model

    copies = []

    def spoiled(model, dtype=None):
        copy = original(model, dtype)
        copies.append(dtype)
        if copies == [None, "float64"]:  # the copy that is written; the next one is what it is checked against
            with torch.no_grad():
                copy.energy_head.linear.weight.mul_(1.001)
        return copy

    monkeypatch.setattr(export, "copy_model", spoiled)
    with pytest.raises(LESError, match=r"energy of the file differ from the checkpoint by .* the file was not kept"):
        export.export_model(model, tmp_path / "m.les.pt", frames, dtype="float64")
    assert list(tmp_path.iterdir()) == []


def test_errors(checkpoint, tmp_path, capsys):
    def refuses(*arguments):
        assert export.main([str(a) for a in arguments]) == 1
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        assert text.startswith("les-export: error: ")
        return text

    assert "nowhere.pt does not exist" in refuses(tmp_path / "nowhere.pt")
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"junk")
    assert "is not a checkpoint of les-train" in refuses(junk)
    assert "charge sign must look like O=-1" in refuses(checkpoint, "--charge-sign", "O")
    assert "element Xe is not in the model" in refuses(checkpoint, "--charge-sign", "Xe=-1")
    assert "structure file none.xyz does not exist" in refuses(checkpoint, "--atoms", "none.xyz")
    xenon = tmp_path / "xenon.xyz"
    xenon.write_text("1\n\nXe 0 0 0\n")
    assert "element Xe is not in the model" in refuses(checkpoint, "--atoms", xenon)
    model, _ = load_checkpoint(checkpoint)
    save_checkpoint(tmp_path / "bare.pt", model, {})
    assert "holds no frames to check on; give some with --check FILE" in refuses(tmp_path / "bare.pt")
    export.main([str(checkpoint)])
    assert "is the input file; name another with --output" in refuses(checkpoint.with_name("model.les.pt"))


def test_record_errors(checkpoint, tmp_path):
    with pytest.raises(LESError, match="does not exist"):
        read_record(tmp_path / "none.les.pt")
    with pytest.raises(LESError, match="is not a TorchScript archive"):
        read_record(checkpoint)
    with zipfile.ZipFile(tmp_path / "plain.pt", "w") as archive:
        archive.writestr("x/constants.pkl", "")
    with pytest.raises(LESError, match="has no LES record"):
        read_record(tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "newer.pt", "w") as archive:
        archive.writestr("x/constants.pkl", "")
        archive.writestr(f"x/extra/{fields.METADATA_RECORD}", json.dumps({"format_version": 7}))
    with pytest.raises(LESError, match="has format version 7, this les-md reads up to 2"):
        read_record(tmp_path / "newer.pt")


def test_another_torch_minor_version_is_refused():
    check_versions("2.13.0", "2.13.1+cpu", "torch")
    with pytest.raises(LESError, match=r"built with torch 2\.13\.0, but torch 2\.14\.0 is installed; run `pip install"):
        check_versions("2.13.0", "2.14.0", "torch")


def test_parse_charge_sign():
    assert parse_charge_sign("Na=+1") == ("Na", 1)
    with pytest.raises(LESError, match="must look like"):
        parse_charge_sign("Na")
