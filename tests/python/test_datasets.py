"""les-data: what it says, converts and refuses, on small stand-ins for published files; `data.sha256` of les-train."""

import dataclasses
import hashlib
import re

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from les_md.datasets import convert as conversion
from les_md.datasets import datasets, program
from les_md.datasets.catalogue import DataFile, dataset, sha256_of
from les_md.errors import LESError
from les_md.training.run import prepare_data
from les_md.training.settings import load_settings


def stand_in(name, source):
    """The entry `name` with the hashes of the files in `source`."""
    files = {path: sha256_of(source / path) for path in dataset(name).source if (source / path).exists()}
    return dataclasses.replace(dataset(name), source=files)


def numbered(n_frames, n_numbers):
    return np.arange(n_frames * n_numbers, dtype=np.float32).reshape(n_frames, n_numbers) / 8


@pytest.fixture
def water(tmp_path):
    """DeePMD-kit's folders with one molecule in two frames each."""
    for folder in ("data_0/set.000", "data_1/set.000", "data_1/set.001", "data_2/set.000"):
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path.parent / "type_map.raw").write_text("O H\n")
        (path.parent / "type.raw").write_text("0\n1\n1\n")
        np.save(path / "box.npy", np.tile(np.diag([4.0, 5.0, 6.0]).ravel(), (2, 1)))
        np.save(path / "coord.npy", numbered(2, 9))
        np.save(path / "force.npy", -numbered(2, 9))
        np.save(path / "energy.npy", np.array([1.0, 2.0], dtype=np.float32))
    return tmp_path


def test_list_and_show(capsys):
    assert program.main([]) == 0
    printed = capsys.readouterr().out
    for entry in datasets():
        assert entry.name in printed
        assert program.main(["show", entry.name]) == 0
        shown = capsys.readouterr().out
        for part in (entry.where, entry.licence, entry.reference, *(file.sha256 for file in entry.files)):
            assert part in shown
    assert "PhysRevLett.120.143001" in program.dataset("water_pbe0ts").reference
    assert "LGPL-3.0" in program.dataset("water_pbe0ts").licence


def test_settings_name_the_files_of_the_catalogue(capsys, tmp_path):
    """`les-data config` prints settings that les-train takes, with the hashes of the catalogue."""
    for entry in datasets():
        assert program.main(["config", entry.name]) == 0
        path = tmp_path / entry.settings
        path.write_text(capsys.readouterr().out)
        source = load_settings(path).data
        hashes = {file.name: file.sha256 for file in entry.files}
        assert source.sha256
        assert source.sha256.items() <= hashes.items()
        assert {file.name for file in (*source.train, *source.valid)} == set(source.sha256)


def test_water_from_deepmd_folders(water, tmp_path):
    (path,) = conversion.convert(stand_in("water_pbe0ts", water), water, tmp_path / "out")
    frames = ase.io.read(path, ":")
    assert len(frames) == 8
    assert frames[1].get_chemical_formula() == "H2O"
    assert frames[1].get_potential_energy() == 2.0
    np.testing.assert_array_equal(frames[1].positions, numbered(2, 9)[1].reshape(3, 3))
    np.testing.assert_array_equal(frames[1].get_forces(), -numbered(2, 9)[1].reshape(3, 3))
    np.testing.assert_array_equal(frames[1].cell, np.diag([4.0, 5.0, 6.0]))
    assert frames[1].pbc.all()


def test_dipeptides(tmp_path):
    for part, arrays in (("train", {}), ("val", {"bec": np.arange(27.0).reshape(3, 9)})):
        atoms = ase.Atoms("OH2", positions=np.arange(9.0).reshape(3, 3))
        atoms.info.update(
            energy=-3.0,
            dipole=np.array([[1.0, 2.0, 3.0]]),
            quadrupole=[[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]],
        )
        atoms.arrays.update(force=np.ones((3, 3)), mbi_charges=np.array([-0.8, 0.4, 0.4]), **arrays)
        ase.io.write(tmp_path / f"spice-dipep-dipolar_{part}.xyz", atoms, format="extxyz")
    train, valid = conversion.convert(stand_in("dipeptides", tmp_path), tmp_path, tmp_path / "out")
    frame = ase.io.read(valid)
    assert frame.get_potential_energy() == -3.0
    np.testing.assert_array_equal(frame.get_forces(), 1.0)
    np.testing.assert_array_equal(frame.info["ref_dipole"], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(frame.info["ref_quadrupole"], np.diag([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(frame.arrays["ref_bec"], np.arange(27.0).reshape(3, 9))
    assert "ref_bec" not in ase.io.read(train).arrays


def test_dimers(tmp_path):
    for number in (0, 2, 3, 4, 5, 6):
        for part in ("train", "test"):
            atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 1.0 + number]], cell=[30] * 3, pbc=True)
            atoms.info.update(label="CC", distance=6.5, chargeA=1, chargeB=-1, dimer_id=number)
            atoms.calc = SinglePointCalculator(atoms, energy=-5.0, forces=np.full((2, 3), 0.5))
            ase.io.write(tmp_path / f"{part}-id{number}.xyz", atoms, format="extxyz")
    train, _ = conversion.convert(stand_in("charged_dimers", tmp_path), tmp_path, tmp_path / "out")
    frames = ase.io.read(train, ":")
    assert [round(frame.positions[1, 2]) for frame in frames] == [1, 3, 4, 5, 6, 7]
    assert not frames[0].pbc.any()
    assert frames[0].info == {"label": "CC", "distance": 6.5, "chargeA": 1, "chargeB": -1}
    assert frames[0].get_potential_energy() == -5.0


def test_published_files_are_checked(water, tmp_path, capsys):
    entry = stand_in("water_pbe0ts", water)
    np.save(water / "data_1/set.001/energy.npy", np.zeros(2))
    with pytest.raises(LESError, match=r"data_1/set.001/energy.npy: expected SHA-256 .*, got .*; get it again from"):
        conversion.convert(entry, water, tmp_path / "out")
    (water / "data_1/set.001/energy.npy").unlink()
    with pytest.raises(LESError, match=r"has no file data_1/set.001/energy.npy; it must be the folder of GitHub"):
        conversion.convert(entry, water, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert program.main(["convert", "water_pbe0ts", str(tmp_path / "nowhere")]) == 1
    assert "does not exist; get it from GitHub project deepmodeling/deepmd-kit" in capsys.readouterr().err


def test_check(tmp_path):
    frame = ase.Atoms("OH2", positions=np.arange(9.0).reshape(3, 3))
    path = tmp_path / "water_pbe0ts.xyz"
    ase.io.write(path, [frame] * 3)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = dataset("water_pbe0ts")
    matching = dataclasses.replace(entry, files=[DataFile(path.name, 3, digest)])
    assert program.check(matching, path).endswith("3 frames, SHA-256 as expected")
    with pytest.raises(LESError, match=rf"expected 320 frames and SHA-256 7db0.*, got 3 frames and {digest}"):
        program.check(entry, path)
    with pytest.raises(LESError, match=r"has no file 'other.xyz'; its files are water_pbe0ts.xyz"):
        program.check(entry, tmp_path / "other.xyz")
    with pytest.raises(LESError, match=r"known are water_pbe0ts, dipeptides, charged_dimers"):
        dataset("water")


def test_les_train_checks_the_hash(tmp_path):
    frames = []
    for index in range(3):
        atoms = ase.Atoms("OH2", positions=[[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6 + 0.01 * index]])
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((3, 3)))
        frames.append(atoms)
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    config = tmp_path / "config.yaml"
    digest = sha256_of(tmp_path / "a.xyz")

    def settings(text):
        config.write_text(f"data: {{train: {tmp_path}/a.xyz, sha256: {{{text}}}}}\noutput: {tmp_path}/run\n")
        return load_settings(config)

    assert len(prepare_data(settings(f"a.xyz: '{digest}'")).train) == 2
    with pytest.raises(LESError, match=rf"expected SHA-256 00, got {re.escape(digest)}; .*`data.sha256`"):
        prepare_data(settings("a.xyz: '00'"))
    with pytest.raises(LESError, match=r"`sha256` names b.xyz, which is neither in `train` nor in `valid`"):
        settings(f"b.xyz: '{digest}'")
