"""From the published form of a data set to extended XYZ with the keys that les-train reads.

One reader per data set, named in READERS; each yields frames in the order of the file that is written. The sources are
in eV and angstrom already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from les_md.datasets.catalogue import Dataset, sha256_of
from les_md.errors import LESError

#: Folders of the water set; the fourth one beside them is a test set of DeePMD-kit.
_WATER_SYSTEMS = ("data_0", "data_1", "data_2")
#: Numbers of the files of the dimers: CC, CA, PA, CP, PP, AA (charged, polar, apolar).
_DIMER_NUMBERS = (0, 2, 3, 4, 5, 6)


def convert(entry: Dataset, source: Path, output: Path) -> list[Path]:
    """Writes the files of `entry` into the folder `output`, from the published files in the folder `source`.

    Raises LESError if a published file is missing or is not the expected one. Files that are written are complete.
    """
    check_source(entry, source)
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for file in entry.files:
        path = output / file.name
        temporary = path.with_name(path.name + ".part")
        try:
            ase.io.write(temporary, list(READERS[entry.name](source, file.name)), format="extxyz")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        written.append(path)
    return written


def check_source(entry: Dataset, source: Path) -> None:
    """Compares the published files in the folder `source` with the catalogue."""
    if not source.is_dir():
        raise LESError(f"folder '{source}' does not exist; get it from {entry.where}")
    for name, expected in entry.source.items():
        path = source / name
        if not path.is_file():
            raise LESError(f"'{source}' has no file {name}; it must be the folder of {entry.where}")
        got = sha256_of(path)
        if got != expected:
            raise LESError(f"{path}: expected SHA-256 {expected}, got {got}; get it again from {entry.where}")


def _labelled(atoms: Atoms, energy: float, forces: np.ndarray, info: dict[str, Any], arrays: dict[str, Any]) -> Atoms:
    """`atoms` with energy (eV), forces (n_atoms, 3) in eV/angstrom and further labels."""
    atoms.info.update(info)
    atoms.arrays.update(arrays)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def _water(source: Path, _name: str) -> Iterator[Atoms]:
    for system in _WATER_SYSTEMS:
        symbols = np.array((source / system / "type_map.raw").read_text().split())
        symbols = symbols[np.loadtxt(source / system / "type.raw", dtype=int)]
        for folder in sorted((source / system).glob("set.*")):
            boxes, positions, energies, forces = (
                np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("box", "coord", "energy", "force")
            )
            for box, place, energy, force in zip(boxes, positions, energies, forces, strict=True):
                atoms = Atoms(list(symbols), positions=place.reshape(-1, 3), cell=box.reshape(3, 3), pbc=True)
                yield _labelled(atoms, float(energy), force.reshape(-1, 3), {}, {})


def _dipeptides(source: Path, name: str) -> Iterator[Atoms]:
    part = {"dipeptides_train.xyz": "train", "dipeptides_valid.xyz": "val"}[name]
    for frame in ase.io.iread(source / f"spice-dipep-dipolar_{part}.xyz", ":", format="extxyz"):
        dipole = frame.info["dipole"] if "dipole" in frame.info else frame.calc.results["dipole"]
        info = {
            "ref_dipole": np.asarray(dipole).reshape(3),
            "ref_quadrupole": np.asarray(frame.info["quadrupole"]).reshape(3, 3),
        }
        names = {"mbi_charges": "ref_mbis_charges", "bec": "ref_bec"}
        arrays = {new: frame.arrays[old] for old, new in names.items() if old in frame.arrays}
        atoms = Atoms(frame.symbols, positions=frame.positions)
        yield _labelled(atoms, frame.get_potential_energy(), frame.arrays["force"], info, arrays)


def _dimers(source: Path, name: str) -> Iterator[Atoms]:
    part = {"charged_dimers_train.xyz": "train", "charged_dimers_test.xyz": "test"}[name]
    for number in _DIMER_NUMBERS:
        # their cells of 30 angstrom are for codes that need one: the calculations were isolated
        for frame in ase.io.iread(source / f"{part}-id{number}.xyz", ":", format="extxyz"):
            info = {key: frame.info[key] for key in ("label", "distance", "chargeA", "chargeB")}
            atoms = Atoms(frame.symbols, positions=frame.positions)
            yield _labelled(atoms, frame.get_potential_energy(), frame.get_forces(), info, {})


READERS: dict[str, Callable[[Path, str], Iterator[Atoms]]] = {
    "water_pbe0ts": _water,
    "dipeptides": _dipeptides,
    "charged_dimers": _dimers,
}
