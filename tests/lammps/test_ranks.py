"""The same numbers as in Python on any number of MPI ranks, in both unit styles, with every kind of model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import (
    DIRECT,
    Lammps,
    Outcome,
    assert_close,
    box_script,
    evaluate_script,
    model_script,
    virial_of,
)

from les_md.batch import frame_from_atoms
from les_md.forces import evaluate
from les_md.model import LESModel

#: kcal/mol in one eV as LAMMPS converts
ENERGY_UNIT = {"metal": 1.0, "real": 23.060549}

Models = dict[str, LESModel]
ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]


def assert_as_in_python(
    outcome: Outcome, model: LESModel, atoms: ase.Atoms, units: str = "metal", dump: str = "dump"
) -> None:
    """Energy, its parts, forces, virial and charges of `outcome` against the Python model."""
    expected = evaluate(model, frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff))
    relative = 1e-6 if model.settings.dtype == "float64" else 1e-4
    unit = ENERGY_UNIT[units]
    thermo = outcome.thermo()
    for name, key in {"PotEng": "energy", "E_vdwl": "short_range_energy", "E_coul": "long_range_energy"}.items():
        assert_close(thermo[name][0], expected[key].detach().numpy() * unit, relative, f"{dump} {key}")
    assert_close(outcome.forces(f"{dump}.txt"), expected["forces"].numpy() * unit, relative, f"{dump} forces")
    assert_close(virial_of(thermo, units), expected["virial"][0].numpy() * unit, relative, f"{dump} virial")
    charges = expected["latent_charges"].detach().sum(1).numpy()
    assert_close(outcome.dump(f"{dump}.txt")["q"], charges, relative, f"{dump} charges")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_models_and_structures(
    lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures, ranks: int
) -> None:
    """Every model and structure in one process, with `clear` between them."""
    cases = [
        ("plain", "orthogonal", "metal"),
        ("plain", "triclinic", "metal"),
        ("plain", "triclinic", "real"),
        ("plain", "isolated", "metal"),
        ("plain", "isolated", "real"),
        ("float32", "triclinic", "metal"),
        ("float32", "isolated", "real"),
        ("two_layers", "triclinic", "metal"),
        ("two_layers", "isolated", "real"),
        ("charge_flux", "triclinic", "metal"),
        ("two_layers_flux", "orthogonal", "real"),
        ("three_layers", "triclinic", "metal"),
        ("whole_three_layers", "triclinic", "metal"),
        ("two_channels", "triclinic", "metal"),
        ("neutral", "triclinic", "metal"),
        ("neutral", "isolated", "metal"),
        ("short_range", "triclinic", "metal"),
    ]
    script = ""
    for model, structure, units in cases:
        name = f"{model}-{structure}-{units}"
        script += f"clear\nprint 'case {name}'\n"
        script += box_script(structures[structure], lammps.folder, units, name=name)
        script += model_script(model_file(model), DIRECT) + evaluate_script(name)
    outcome = lammps.succeed(script, ranks).cases()
    for model, structure, units in cases:
        name = f"{model}-{structure}-{units}"
        expected = models[model.removeprefix("whole_")]
        assert_as_in_python(outcome[name], expected, structures[structure], units, name)


def test_communication_cutoff(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Ghosts reach one cutoff where layers exchange messages; else the style raises the cutoff and says so."""
    box = box_script(structures["triclinic"], lammps.folder)
    exchanged = lammps.succeed(box + model_script(model_file("two_layers"), DIRECT) + evaluate_script(), 2)
    model = model_script(model_file("whole_two_layers"), DIRECT)
    raised = lammps.succeed(box + model + evaluate_script(), 2)
    kept = lammps.succeed(box + "comm_modify cutoff 9.0\n" + model + evaluate_script(), 2)
    assert "ghost atom cutoff = 4\n" in exchanged.output
    assert "ghost atom cutoff = 7\n" in raised.output
    assert "communication cutoff raised to 7 angstrom" in raised.output
    assert "communication cutoff raised" not in exchanged.output + kept.output
    energies = [float(outcome.thermo()["PotEng"][0]) for outcome in (exchanged, raised, kept)]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)


def test_cutoffs_of_types(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder).replace("1.0 bin", "1.0 multi")
    script += "comm_modify mode multi\n" + model_script(model_file("two_layers"), DIRECT)
    assert_as_in_python(lammps.succeed(script + evaluate_script(), 4), models["two_layers"], structures["triclinic"])


@pytest.mark.parametrize(
    ("model", "structure"), [("neutral", "molecule"), ("neutral", "isolated"), ("two_layers_flux", "molecule")]
)
def test_empty_ranks(
    lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures, model: str, structure: str
) -> None:
    """The atoms sit in a corner of the 60 angstrom box, so that ranks are left without any."""
    script = box_script(structures[structure], lammps.folder) + "displace_atoms all move -15 -15 -15\n"
    outcome = lammps.succeed(script + model_script(model_file(model), DIRECT) + evaluate_script(), 4)
    assert " 0 min" in next(line for line in outcome.output.splitlines() if line.startswith("Nlocal:"))
    assert_as_in_python(outcome, models[model], structures[structure])


@pytest.mark.parametrize("model", ["plain", "three_layers"])
def test_one_atom_on_four_ranks(lammps: Lammps, models: Models, model_file: ModelFile, model: str) -> None:
    """One atom in a box smaller than the cutoff: its neighbours are its own images, and three ranks own nothing."""
    atoms = ase.Atoms("O", positions=[[0.4, 0.5, 0.6]], cell=np.diag([2.2, 2.4, 2.6]), pbc=True)
    script = box_script(atoms, lammps.folder) + model_script(model_file(model), DIRECT) + evaluate_script()
    assert_as_in_python(lammps.succeed(script, 4), models[model], atoms)


def test_tiled_domains(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + "comm_style tiled\nbalance 1.0 rcb\n"
    outcome = lammps.succeed(script + model_script(model_file("two_layers"), DIRECT) + evaluate_script(), 4)
    assert_as_in_python(outcome, models["two_layers"], structures["triclinic"])


def test_partitions(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    """Two partitions of two ranks run different models; a collective on all four would mix or hang them."""
    names = ["plain", "two_layers"]
    script = (
        f"variable model world {model_file(names[0])} {model_file(names[1])}\nvariable dump world {' '.join(names)}\n"
    )
    script += box_script(structures["triclinic"], lammps.folder)
    script += model_script(Path("${model}"), DIRECT) + evaluate_script("${dump}")
    lammps.succeed(script, 4, ["-partition", "2x2"])
    for partition, name in enumerate(names):
        log = Outcome(0, (lammps.folder / f"log.lammps.{partition}").read_text(), lammps.folder)
        assert_as_in_python(log, models[name], structures["triclinic"], dump=name)


def test_partitions_of_one_rank(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"), DIRECT)
    lammps.succeed("variable dump world a b\n" + script + evaluate_script("${dump}"), 2, ["-partition", "2x1"])
    for partition, name in enumerate("ab"):
        log = Outcome(0, (lammps.folder / f"log.lammps.{partition}").read_text(), lammps.folder)
        assert_as_in_python(log, models["plain"], structures["triclinic"], dump=name)


def test_settings(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    """Keywords reach the engine, also when the style is set again after the model was loaded."""
    script = box_script(structures["triclinic"], lammps.folder)
    script += model_script(model_file("neutral"), "threads 2 device cpu")
    script += "compute q all property/atom q\ncompute total all reduce sum c_q\nthermo_style custom step pe c_total\n"
    script += "thermo_modify format float %.16g\nrun 0\npair_style les total_charge -2\nrun 0\n"
    outcome = lammps.succeed(script, 2)
    assert "float64 on cpu, 2 torch thread(s) a rank" in outcome.output
    np.testing.assert_allclose(outcome.thermo()["c_total"], [0.0, -2.0], atol=1e-10)


def test_another_model(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    """A second `pair_coeff` replaces the model."""
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"), DIRECT)
    script += "thermo_style custom step pe\nthermo_modify format float %.16g\nrun 0\n"
    script += f"pair_coeff * * {model_file('two_channels')} O H\nrun 0\n"
    frame = frame_from_atoms(structures["triclinic"], ["O", "H"], 3.0)
    expected = [evaluate(models[name], frame)["energy"].item() for name in ("plain", "two_channels")]
    np.testing.assert_allclose(lammps.succeed(script).thermo()["PotEng"], expected, rtol=1e-9)


def test_type_order(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Symbols belong to LAMMPS types by their order in `pair_coeff`, and several types may share one."""
    script = box_script(structures["triclinic"], lammps.folder) + "thermo_style custom step pe evdwl\n"
    script += "thermo_modify format float %.16g\n" + model_script(model_file("plain")) + "run 0\n"
    script += "variable other atom 3-type\nset group all type v_other\n"
    script += f"pair_coeff * * {model_file('plain')} H O\nrun 0\n"
    script += f"pair_coeff * * {model_file('plain')} O O\nrun 0\n"
    energies = lammps.succeed(script, 2).thermo()["PotEng"]
    np.testing.assert_allclose(energies[1], energies[0], rtol=1e-12)
    assert abs(energies[2] - energies[0]) > 1.0


def test_file_in_potential_folder(
    lammps: Lammps, model_file: ModelFile, structures: Structures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model file is found in LAMMPS_POTENTIALS as other potential files are."""
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(model_file("plain").parent))
    script = box_script(structures["triclinic"], lammps.folder) + model_script(Path(model_file("plain").name))
    lammps.succeed(script + "run 0\n", 2)
