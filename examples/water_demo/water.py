"""Flexible SPC water: its constants, a crystal of molecules to start from, and LAMMPS data files.

Apart from the stages because the classical runs and the runs with the learned model both build their systems here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from stages import write_text

SYMBOLS = ("O", "H")  # LAMMPS types 1 and 2
MASSES = {"O": 15.9994, "H": 1.008}  # g/mol
CHARGES = {"O": -0.82, "H": 0.41}  # e
BOND_LENGTH = 1.0  # angstrom
BOND_ANGLE = 109.47  # degrees
BOX_LENGTH = 9.86  # angstrom: 32 molecules at 997 kg/m3
N_CELLS = 2  # face-centred cubic cells along each axis, with 4 molecules each


def molecular_crystal(box_length: float, seed: int) -> Atoms:
    """32 molecules on a face-centred cubic lattice in a cubic box, turned at random; atoms in the order O H H."""
    corners = np.array([[i, j, k] for i in range(N_CELLS) for j in range(N_CELLS) for k in range(N_CELLS)])
    basis = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    centres = (corners[:, None, :] + basis + 0.25).reshape(-1, 3) * box_length / N_CELLS
    half = np.radians(BOND_ANGLE) / 2
    molecule = BOND_LENGTH * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    rotations = random_rotations(len(centres), np.random.default_rng(seed))
    positions = (molecule @ rotations + centres[:, None, :]).reshape(-1, 3)
    return Atoms("OH2" * len(centres), positions=positions, cell=[box_length] * 3, pbc=True)


def random_rotations(n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """`n` rotation matrices `(n, 3, 3)`, uniform over all rotations."""
    matrices, upper = np.linalg.qr(generator.normal(size=(n, 3, 3)))
    matrices = matrices * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None, :]  # uniform among Q of QR
    return np.asarray(matrices * np.sign(np.linalg.det(matrices))[:, None, None])


def write_lammps_data(path: Path, atoms: Atoms, molecular: bool) -> None:
    """Writes `atoms` (order O H H, cubic box) as a LAMMPS data file.

    molecular: with molecules, bonds, angles and charges (`atom_style full`); otherwise for `atom_style charge`, with
    zero charges.
    """
    length = float(atoms.cell[0, 0])
    n_molecules = len(atoms) // 3
    counts = [f"{len(atoms)} atoms", "2 atom types"]
    if molecular:
        counts += [f"{2 * n_molecules} bonds", f"{n_molecules} angles", "1 bond types", "1 angle types"]
    box = [f"0.0 {length:.10f} {axis}lo {axis}hi" for axis in "xyz"]
    masses = [f"{number} {MASSES[symbol]}" for number, symbol in enumerate(SYMBOLS, start=1)]
    lines = []
    for index, (symbol, position) in enumerate(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)):
        place = " ".join(f"{value:.10f}" for value in position)
        type_number = SYMBOLS.index(symbol) + 1
        if molecular:
            lines.append(f"{index + 1} {index // 3 + 1} {type_number} {CHARGES[symbol]} {place}")
        else:
            lines.append(f"{index + 1} {type_number} 0.0 {place}")
    sections = [("", counts), ("", box), ("Masses", masses), ("Atoms", lines)]
    if molecular:
        oxygens = range(1, len(atoms), 3)
        bonds = [(oxygen, oxygen + hydrogen) for oxygen in oxygens for hydrogen in (1, 2)]
        sections += [
            ("Bonds", [f"{number} 1 {first} {second}" for number, (first, second) in enumerate(bonds, start=1)]),
            ("Angles", [f"{number} 1 {o + 1} {o} {o + 2}" for number, o in enumerate(oxygens, start=1)]),
        ]
    text = ["water, written by the water demo of les-md", ""]
    for title, body in sections:
        text += ([title, ""] if title else []) + body + [""]
    write_text(path, "\n".join(text))
