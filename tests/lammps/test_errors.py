"""Every mistake of the user ends in one LAMMPS error line that names it and what mends it, on all ranks, no hang."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from lammps_runs import Lammps, box_script

from les_md import fields
from les_md.model_file import read_record

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ("dtype float32", "unknown keyword dtype, expected one of device, threads, graph_memory, total_charge"),
        ("device tpu", "keyword device must be followed by cpu, cuda or cuda:N, got tpu"),
        ("threads 0", "keyword threads must be followed by a whole number .* at least 1, got 0"),
        ("threads 1.5", "keyword threads must be followed by a whole number .*, got 1.5"),
        ("total_charge one", "keyword total_charge must be followed by a number of elementary charges, got one"),
        ("total_charge nan", "keyword total_charge must be followed by a number of elementary charges, got nan"),
        ("threads", "keyword threads must be followed by a whole number"),
    ],
)
def test_settings(lammps: Lammps, arguments: str, match: str) -> None:
    lammps.refuse(f"region box block 0 9 0 9 0 9\ncreate_box 1 box\npair_style les {arguments}\n", match)


@pytest.mark.parametrize(
    ("coefficients", "match"),
    [
        ("* * {model} O", "must be `\\* \\* model_file` and one chemical symbol for each of the 2 atom types, got 1"),
        ("* * {model} O H H", "each of the 2 atom types, got 3 symbols"),
        ("* *", "each of the 2 atom types, got 0 symbols"),
        ("1 2 {model} O H", "must start with \\* \\*"),
        ("* * {model} O Xe", "Xe.*O H"),
        ("* * {model} O NULL", "NULL under pair_style hybrid or hybrid/overlay only"),
        ("* * nothing.les.pt O H", "nothing.les.pt cannot be read"),
        ("* * in.lammps O H", "in.lammps is not a TorchScript"),
    ],
)
def test_coefficients(
    lammps: Lammps, model_file: ModelFile, structures: Structures, coefficients: str, match: str
) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + "pair_style les\n"
    lammps.refuse(script + f"pair_coeff {coefficients.format(model=model_file('plain'))}\nrun 0\n", match)


def test_only_null(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + "pair_style hybrid les zero 3.0\n"
    script += f"pair_coeff * * zero\npair_coeff * * les {model_file('plain')} NULL NULL\nrun 0\n"
    lammps.refuse(script, "at least one atom type, got only NULL")


def rewritten(path: Path, new: Path, **changes: object) -> Path:
    """A copy of a model file with another record."""
    record = {**read_record(path), **changes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path))
        torch.jit.save(module, str(new), _extra_files={fields.METADATA_RECORD: json.dumps(record)})
    return new


def test_newer_format(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    path = rewritten(model_file("plain"), lammps.folder / "new.les.pt", format_version=1000)
    script = box_script(structures["triclinic"], lammps.folder)
    lammps.refuse(script + f"pair_style les\npair_coeff * * {path} O H\nrun 0\n", "format version 1000")


def test_file_without_record(lammps: Lammps, structures: Structures) -> None:
    path = lammps.folder / "other.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(path))
    script = box_script(structures["triclinic"], lammps.folder)
    lammps.refuse(script + f"pair_style les\npair_coeff * * {path} O H\nrun 0\n", "no LES record")


BEFORE_BOX = [
    ("units metal", "units lj", "supports units metal and real, got lj"),
    ("units metal", "units electron", "supports units metal and real, got electron"),
    ("units metal", "units metal\nnewton off", "needs newton on"),
    ("boundary p p p", "boundary p p f", "periodic in all directions or in none, got periodic x y;"),
]


@pytest.mark.parametrize(("old", "new", "match"), BEFORE_BOX)
def test_box_settings(
    lammps: Lammps, model_file: ModelFile, structures: Structures, old: str, new: str, match: str
) -> None:
    script = box_script(structures["orthogonal"], lammps.folder).replace(old, new)
    lammps.refuse(script + f"pair_style les\npair_coeff * * {model_file('plain')} O H\nrun 0\n", match)


@pytest.mark.parametrize(
    ("commands", "match"),
    [
        ("fix field all efield 0.1 0 0", "cannot be used with fix efield.*dq/dr"),
        ("kspace_style ewald 1e-4", "cannot be used with kspace_style ewald; use `kspace_style none`"),
        ("kspace_style pppm 1e-4", "cannot be used with kspace_style pppm"),
        ("neigh_modify exclude type 1 2", "neigh_modify exclude takes pairs out; use `neigh_modify exclude none`"),
        ("neigh_modify exclude group all all", "neigh_modify exclude takes pairs out"),
        ("pair_style les total_charge 1", "total_charge"),
        ("pair_style les device cuda:99", "cuda"),
        ("fix field all pair 1 les dipoles 0", "dipoles"),
    ],
)  # fmt: skip
def test_commands_beside_it(
    lammps: Lammps, model_file: ModelFile, structures: Structures, commands: str, match: str
) -> None:
    script = box_script(structures["orthogonal"], lammps.folder)
    script += f"pair_style les\npair_coeff * * {model_file('plain')} O H\n{commands}\nrun 0\n"
    lammps.refuse(script, match)


def test_kspace_before_the_model(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + "kspace_style ewald 1e-4\npair_style les\n"
    script += f"pair_coeff * * {model_file('plain')} O H\nrun 0\n"
    lammps.refuse(script, "cannot be used with kspace_style ewald")


def test_neighbour_include(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + "group oxygen type 1\natom_modify first oxygen\n"
    script += "neigh_modify include oxygen\n"
    lammps.refuse(
        script + f"pair_style les\npair_coeff * * {model_file('plain')} O H\nrun 0\n", "use `neigh_modify include all`"
    )


def test_exclusion_outside_the_model(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Exclusions between atoms that are not in the model are fine."""
    atoms = structures["orthogonal"] + ase.Atoms("He", [[4.0, 4.1, 4.0]])
    script = box_script(atoms, lammps.folder, symbols=["O", "H", "He"]) + "neigh_modify exclude type 3 3\n"
    script += f"pair_style hybrid les zero 3.0\npair_coeff * * les {model_file('plain')} O H NULL\n"
    lammps.succeed(script + "pair_coeff * 3 zero\nrun 0\n", 2)


def bonded_script(atoms: ase.Atoms, folder: Path) -> str:
    """Water with bonds between O and H."""
    script = box_script(atoms, folder)
    text = (folder / "atoms.data").read_text()
    head, body = text.split("Atoms")
    _, rows = body.split("\n\n", 1)
    lines = [line.split() for line in rows.strip().splitlines()]
    # id type q x y z -> id molecule type q x y z
    full = "\n".join(" ".join([w[0], str((int(w[0]) + 2) // 3), *w[1:]]) for w in lines)
    bonds = "\n".join(f"{2 * m + k} 1 {3 * m + 1} {3 * m + 1 + k}" for m in range(len(atoms) // 3) for k in (1, 2))
    head = head.replace("atom types", f"atom types\n{2 * len(atoms) // 3} bonds\n1 bond types", 1)
    (folder / "atoms.data").write_text(f"{head}Atoms # full\n\n{full}\n\nBonds\n\n{bonds}\n")
    read = "read_data atoms.data extra/special/per/atom 4\nbond_style zero\nbond_coeff *\n"
    return script.replace("atom_style charge", "atom_style full").replace("read_data atoms.data\n", read)


@pytest.mark.parametrize(
    ("special", "match"),
    [
        ("", "special_bonds takes bonded pairs out; use `special_bonds lj/coul 1.0 1.0 1.0`"),
        ("special_bonds lj/coul 1.0 0.0 1.0", "special_bonds takes bonded pairs out"),
        ("special_bonds lj/coul 1.0 1.0 1.0", None),
        ("special_bonds lj 0.0 0.0 0.0 coul 0.5 0.5 0.5", None),
    ],
)
def test_special_bonds(
    lammps: Lammps, model_file: ModelFile, structures: Structures, special: str, match: str | None
) -> None:
    """Bonded pairs may stay in the list with any factor; none may be taken out."""
    script = bonded_script(structures["orthogonal"], lammps.folder) + special + "\n"
    script += f"pair_style les\npair_coeff * * {model_file('plain')} O H\n"
    script += "thermo_style custom step pe\nthermo_modify format float %.16g\nrun 0\n"
    if match is not None:
        lammps.refuse(script, match)
        return
    bonded = lammps.succeed(script, 2).thermo()["PotEng"]
    script = box_script(structures["orthogonal"], lammps.folder)
    script += f"pair_style les\npair_coeff * * {model_file('plain')} O H\n"
    script += "thermo_style custom step pe\nthermo_modify format float %.16g\nrun 0\n"
    np.testing.assert_allclose(bonded, lammps.succeed(script, 2).thermo()["PotEng"], rtol=1e-12)


def test_no_coefficients(lammps: Lammps, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + "pair_style les\nrun 0\n"
    lammps.refuse(script, "pair coeffs are not set")


def test_charges_before_the_model(lammps: Lammps, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + "pair_style les\nfix q all pair 1 les q 0\n"
    lammps.refuse(script, "q after pair_coeff only")


def test_charges_of_a_short_range_model(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + "pair_style les\n"
    script += f"pair_coeff * * {model_file('short_range')} O H\nfix q all pair 1 les latent_charges 0\nrun 0\n"
    lammps.refuse(script, "short-range only and has no latent_charges")


def test_multiple_communication_cutoffs(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + "neighbor 1.0 multi\ncomm_modify mode multi\n"
    script += f"pair_style les\npair_coeff * * {model_file('whole_two_layers')} O H\nrun 0\n"
    lammps.refuse(script, "use comm_modify mode single")


def test_failure_on_one_rank(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Two atoms in one place, owned by one rank, stop all ranks; the others wait in a sum over ranks by then."""
    atoms = structures["orthogonal"].copy()
    atoms.positions[4] = atoms.positions[3]
    script = box_script(atoms, lammps.folder) + f"pair_style les\npair_coeff * * {model_file('plain')} O H\nrun 0\n"
    lammps.refuse(script, "finite|same place|distance", ranks=2)


def test_recovers_in_one_process(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """`clear` removes style and engine, and the plugin is there again."""
    script = box_script(structures["orthogonal"], lammps.folder)
    script += f"pair_style les\npair_coeff * * {model_file('plain')} O H\nrun 0\n"
    lammps.succeed(script + "clear\n" + script + "plugin unload pair les\n", 2)
