"""Models that come with the package: files, hashes, cards, numbers on hand-made frames, and the program les-models."""

import hashlib
import subprocess
import sys
import zipfile

import ase
import numpy as np
import pytest
import torch

import les_md
from les_md import export
from les_md.ase import LESCalculator
from les_md.checkpoint import load_checkpoint
from les_md.engine import Engine, unrelated_frames
from les_md.errors import LESError
from les_md.model_file import read_record
from les_md.pretrained_models import program, read_card, read_pretrained_record

NAMES = ["demo-liquid", "water-pbe0"]
#: Of the network in float32: eV for some tens of atoms, and eV/angstrom.
ENERGY_TOLERANCE, FORCE_TOLERANCE = 2e-4, 2e-4


def atoms_of(reference):
    return ase.Atoms(
        reference["symbols"], positions=reference["positions"], cell=reference["cell"], pbc=reference["pbc"]
    )


def test_names():
    assert les_md.list_pretrained() == NAMES
    with pytest.raises(LESError, match=r"unknown pretrained model 'water'; known are demo-liquid, water-pbe0"):
        les_md.pretrained("water")


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_the_record(name):
    record = read_pretrained_record(name)
    for file, path in (("model.les.pt", les_md.pretrained(name)), ("model.pt", les_md.pretrained(name, True))):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"][file]
        assert path.stat().st_size < 500_000
    exported = read_record(les_md.pretrained(name))
    assert exported["symbols"] == record["symbols"]
    assert exported["torch_version"] == record["torch_version"]
    assert exported["long_range"]["charge_flux"] == (name == "water-pbe0")
    assert exported["long_range"]["k_cutoff"] is None


@pytest.mark.parametrize("name", NAMES)
def test_no_path_and_no_frame_of_the_training(name):
    """What is shipped knows file names only, and checks on molecules placed by hand."""
    _, training = load_checkpoint(les_md.pretrained(name, checkpoint=True))
    source = training["settings"]["data"]
    assert all("/" not in path for path in (*source["train"], *source["valid"], training["settings"]["output"]))
    assert [len(frame["symbols"]) for frame in training["check_frames"]] == [3, 6, 24]
    assert read_record(les_md.pretrained(name))["training"] == training
    with zipfile.ZipFile(les_md.pretrained(name)) as archive:
        assert not any(entry.endswith(".debug_pkl") for entry in archive.namelist())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("solver", ["direct", "mesh"])
def test_numbers_of_the_record(name, solver):
    """The engine gives the energies and forces that were stored when the file was made."""
    engine = Engine(les_md.pretrained(name), threads=1, solver=solver)
    references = read_pretrained_record(name)["references"]
    assert len(references) == 3
    for reference in references:
        atoms = atoms_of(reference)
        with unrelated_frames():
            output = engine.compute(
                atoms.positions, engine.types_of(reference["symbols"]), np.asarray(atoms.cell), bool(atoms.pbc.all())
            )
        mesh_error = 1e-3 if solver == "mesh" else 0.0  # eV; of the default accuracy
        assert output["energy"] == pytest.approx(reference["energy"], abs=ENERGY_TOLERANCE + mesh_error)
        np.testing.assert_allclose(output["forces"], reference["forces"], atol=FORCE_TOLERANCE + mesh_error)


@pytest.mark.parametrize("name", NAMES)
def test_charges_are_those_of_water(name):
    """Oxygen is negative; with transfers the total charge is that of the elements: none, to rounding of float32."""
    reference = read_pretrained_record(name)["references"][2]
    atoms = atoms_of(reference)
    atoms.calc = LESCalculator(les_md.pretrained(name))
    charges = atoms.get_charges()
    oxygen = np.array(reference["symbols"]) == "O"
    assert -1.2 < charges[oxygen].mean() < -0.4
    assert abs(charges.sum()) < (1e-5 if name == "water-pbe0" else 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_exports_to_the_same_numbers(name, tmp_path):
    """What users of another torch do."""
    path = tmp_path / "again.les.pt"
    assert export.main([str(les_md.pretrained(name, checkpoint=True)), "-o", str(path), "--charge-sign", "O=-1"]) == 0
    reference = read_pretrained_record(name)["references"][1]
    atoms = atoms_of(reference)
    atoms.calc = LESCalculator(path)
    assert atoms.get_potential_energy() == pytest.approx(reference["energy"], abs=ENERGY_TOLERANCE)
    assert read_record(path)["torch_version"] == torch.__version__


@pytest.mark.parametrize("name", NAMES)
def test_card(name):
    """The card says data, licence, settings, errors, limits, torch version and the hash of the file."""
    card, record = read_card(name), read_pretrained_record(name)
    for heading in ("## Data and licence", "## Settings", "## Errors", "## Limits", "## Files"):
        assert heading in card
    assert "$" not in card.replace("$(les-models", "")
    assert f"torch {record['torch_version'].split('+')[0]}" in card
    assert record["sha256"]["model.les.pt"] in card
    assert f"{record['errors']['les']['forces_meV_per_angstrom']:.3g}" in card
    if name == "water-pbe0":
        assert "LGPL-3.0" in card
        assert "no density" in card


def test_program(capsys):
    assert program.main([]) == 0
    printed = capsys.readouterr().out
    for name in NAMES:
        assert f"{name}: " in printed
        assert str(les_md.pretrained(name)) in printed
    assert "meV/angstrom" in printed
    assert program.main(["water-pbe0"]) == 0
    assert capsys.readouterr().out == f"{les_md.pretrained('water-pbe0')}\n"
    assert program.main(["water-pbe0", "--checkpoint"]) == 0
    assert capsys.readouterr().out == f"{les_md.pretrained('water-pbe0', checkpoint=True)}\n"
    assert program.main(["demo-liquid", "--card"]) == 0
    assert capsys.readouterr().out == read_card("demo-liquid")
    assert program.main(["spce"]) == 1
    assert capsys.readouterr().err == (
        "les-models: error: unknown pretrained model 'spce'; known are demo-liquid, water-pbe0\n"
    )
    assert program.main(["--card"]) == 1
    assert "need the name of a model" in capsys.readouterr().err


def test_list_loads_no_heavy_library():
    """Paths are asked for in scripts: torch takes seconds."""
    code = "import les_md, sys; les_md.pretrained('water-pbe0'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
