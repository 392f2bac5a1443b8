"""Frames with labels as they are stored in extended XYZ files: which keys, which shapes, which units.

Reading stands apart from what training derives from the frames, because evaluation reads the same labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from les_md.batch import is_periodic
from les_md.datasets.catalogue import sha256_of
from les_md.errors import LESError
from les_md.training.born_order import Molecule, check_order, in_order
from les_md.training.data_settings import DataSettings


@dataclass
class LabelledFrame:
    """One frame as read: `source` says where it is from, labels are in eV, eV/angstrom, eV/angstrom^3, e."""

    atoms: ase.Atoms
    source: str
    energy: float | None
    forces: np.ndarray | None  # (n_atoms, 3)
    stress: np.ndarray | None  # (3, 3)
    total_charge: float | None  # e; None: that of the model's settings
    spin: float | None = None  # multiplicity 2S + 1
    dipole: np.ndarray | None = None  # (3,), e angstrom, about the origin of the coordinates
    born_charges: np.ndarray | None = None  # (n_atoms, 3, 3), e, d(dipole_a)/d(r_ib)


def check_hash(path: Path, expected: str | None) -> None:
    """LESError if the file `path` has another SHA-256 than `expected`; None expects nothing."""
    if expected is not None and (got := sha256_of(path)) != expected:
        raise LESError(
            f"data file '{path}': expected SHA-256 {expected}, got {got}; get the file again (`les-data`), or set "
            "`data.sha256` to your own file's or leave it out"
        )


def read_atoms(path: Path) -> list[ase.Atoms]:
    """All frames of the extended XYZ file `path`; LESError if it is missing, unreadable or empty."""
    if not path.is_file():
        raise LESError(f"data file '{path}' does not exist")
    try:
        frames = list(ase.io.iread(path, index=":", format="extxyz"))
    except Exception as error:  # ase raises many kinds for malformed files
        text = " ".join(str(error).split())
        raise LESError(f"cannot read '{path}' as extended XYZ: {text or type(error).__name__}") from None
    if not frames:
        raise LESError(f"data file '{path}' holds no frames")
    return frames


def read_frames(
    paths: list[Path],
    settings: DataSettings,
    need_energy: bool,
    need_forces: bool,
    need_stress: bool,
    optional: Collection[str] = (),
) -> list[LabelledFrame]:
    """Frames of all `paths` with checked labels.

    Energies, forces and stresses that are present are read even if they are not needed; of dipoles and Born charges
    those named in `optional`, in the frames that have them. LESError names file, frame (from 0) and quantity if a
    needed label is missing, if a number is not finite, or if the cell and `pbc` cannot be used.
    """
    frames = []
    for path in paths:
        for index, atoms in enumerate(read_atoms(path)):
            if not is_selected(atoms, settings.select):
                continue
            source = f"frame {index} of {path}"
            try:
                frame = _labelled_frame(atoms, source, settings, optional)
            except LESError as error:
                raise LESError(f"{source}: {error}") from None
            if need_energy and frame.energy is None:
                raise _missing("energy", settings.energy_key, "energy_key", frame)
            if need_forces and frame.forces is None:
                raise _missing("forces", settings.forces_key, "forces_key", frame)
            if need_stress and frame.stress is None and is_periodic(atoms):
                if settings.virial_key is not None:
                    raise _missing("virial", settings.virial_key, "virial_key", frame)
                raise _missing("stress", settings.stress_key, "stress_key", frame)
            frames.append(frame)
    if not frames:
        wanted = ", ".join(f"{name}={value}" for name, value in settings.select.items())
        raise LESError(f"no frame of {', '.join(map(str, paths))} has {wanted}; change data.select or --select")
    found = [molecule for frame in frames if (molecule := molecule_of(frame, settings)) is not None]
    check_order(found, settings.born_charges_order, "data.born_charges_order")
    return frames


def is_selected(atoms: ase.Atoms, select: Mapping[str, Any]) -> bool:
    """Whether the entries of a frame's comment line have the values of `select`, compared as text."""
    return all(name in atoms.info and str(atoms.info[name]) == str(value) for name, value in select.items())


def read_label(atoms: ase.Atoms, quantity: str, key: str | None, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """The label `quantity` of `atoms` as a finite float64 array, None if the frame has none.

    ASE moves some keys (energy, forces, stress, charges, ...) to a calculator while it reads; both places are searched.

    Args:
        key: its name; None tries `quantity` and REF_`quantity`.
        shape: of the result; None takes it as it is stored.
    """
    stored: dict[str, Any] = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    names = [key] if key is not None else [quantity, f"REF_{quantity}"]
    found = [name for name in names if stored.get(name) is not None]
    if not found:
        return None
    if len(found) > 1:
        raise LESError(
            f"{quantity}: both `{found[0]}` and `{found[1]}` are present; choose with "
            f"`{quantity.replace(' ', '_')}_key`"
        )
    try:
        value = np.array(stored[found[0]], dtype=np.float64)
    except (TypeError, ValueError):
        raise LESError(f"{quantity}: `{found[0]}` must be numbers, got {stored[found[0]]!r}") from None
    if shape is not None:
        if value.size != int(np.prod(shape)):
            raise LESError(f"{quantity}: `{found[0]}` must have {int(np.prod(shape))} numbers, got {value.size}")
        value = value.reshape(shape)
    _check_finite(found[0], value, per_atom=quantity in ("forces", "born_charges"))
    return value


def _labelled_frame(atoms: ase.Atoms, source: str, settings: DataSettings, optional: Collection[str]) -> LabelledFrame:
    if len(atoms) == 0:
        raise LESError("the frame has no atoms")
    periodic = is_periodic(atoms)
    _check_finite("positions", atoms.positions, per_atom=True)
    if (atoms.numbers == 0).any():
        raise LESError(f"atom {int(np.argmin(atoms.numbers))} has no element (X)")
    energy = read_label(atoms, "energy", settings.energy_key, (1,))
    forces = read_label(atoms, "forces", settings.forces_key, (len(atoms), 3))
    stress = _stress(atoms, settings, periodic)
    total_charge: float | None = None
    if settings.total_charge_key is not None:
        value = read_label(atoms, "total charge", settings.total_charge_key, (1,))
        if value is None:
            raise LESError(f"total charge: no `{settings.total_charge_key}` (data.total_charge_key) in the frame")
        total_charge = float(value[0])
    frame = LabelledFrame(atoms, source, None if energy is None else float(energy[0]), forces, stress, total_charge)
    if settings.spin_key is not None:
        spin = read_label(atoms, "spin", settings.spin_key, (1,))
        if spin is None:
            raise LESError(f"spin: no `{settings.spin_key}` (data.spin_key) in the frame")
        if not spin[0] >= 1.0:
            raise LESError(f"spin: `{settings.spin_key}` must be a multiplicity 2S + 1, at least 1, got {spin[0]:g}")
        frame.spin = float(spin[0])
    if "dipole" in optional:
        frame.dipole = read_label(atoms, "dipole", settings.dipole_key, (3,))
    if "born_charges" in optional:
        born_charges = read_label(atoms, "born_charges", settings.born_charges_key, (len(atoms), 3, 3))
        frame.born_charges = None if born_charges is None else in_order(born_charges, settings.born_charges_order)
    return frame


def molecule_of(frame: LabelledFrame, settings: DataSettings) -> Molecule | None:
    """What the sum rule for Born charges needs of an isolated frame; None without both labels."""
    if frame.born_charges is None or is_periodic(frame.atoms):
        return None
    dipole = frame.dipole
    if dipole is None:
        try:
            dipole = read_label(frame.atoms, "dipole", settings.dipole_key, (3,))
        except LESError:  # no label that anything but this check would use
            return None
    return None if dipole is None else (frame.atoms.positions, dipole, frame.born_charges)


def _stress(atoms: ase.Atoms, settings: DataSettings, periodic: bool) -> np.ndarray | None:
    if settings.virial_key is not None:
        value = read_label(atoms, "virial", settings.virial_key, None)
    else:
        value = read_label(atoms, "stress", settings.stress_key, None)
    if value is None:
        return None
    if not periodic:
        raise LESError("an isolated frame (pbc='F F F') has no volume, but carries a stress or virial; remove it")
    name = "stress" if settings.virial_key is None else "virial"
    if value.size == 6:
        xx, yy, zz, yz, xz, xy = value.ravel()
        value = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    elif value.size == 9:
        value = value.reshape(3, 3)
    else:
        raise LESError(f"{name} must have 6 numbers (xx yy zz yz xz xy) or 9, got {value.size}")
    if np.abs(value - value.T).max() > 1e-3 * max(np.abs(value).max(), 1e-12):
        raise LESError(f"{name} must be symmetric, got {value.tolist()}")
    value = 0.5 * (value + value.T)
    return value if settings.virial_key is None else -value / abs(np.linalg.det(atoms.cell.array))


def _check_finite(name: str, values: np.ndarray, per_atom: bool) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        where = f" at atom {int(np.argwhere(wrong)[0][0])}" if per_atom else ""
        raise LESError(f"`{name}` must be finite, got {values[wrong].ravel()[0]}{where}")


def _missing(quantity: str, key: str | None, setting: str, frame: LabelledFrame) -> LESError:
    atoms = frame.atoms
    names = {*atoms.info, *atoms.arrays, *(atoms.calc.results if atoms.calc else {})} - {"numbers", "positions"}
    looked_for = f"`{key}`" if key is not None else f"`{quantity}` or `REF_{quantity}`"
    present = ", ".join(sorted(names)) or "none"
    return LESError(
        f"{frame.source}: no {quantity} under {looked_for}; set data.{setting} (keys of the frame: {present})"
    )
