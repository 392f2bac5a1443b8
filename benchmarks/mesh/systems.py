"""Boxes of charges for the mesh benchmarks: water, random ions, rock salt; cubic, elongated, triclinic.

They are made from a seed, so that every process of a benchmark and every machine sees the same atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

DENSITY = 0.1  # atoms per cubic angstrom, that of water at room temperature
OXYGEN_CHARGE, HYDROGEN_CHARGE = -0.82, 0.41  # e, SPC
BOND, ANGLE = 1.0, np.deg2rad(109.47)  # angstrom, SPC


@dataclass(frozen=True)
class ChargedBox:
    """`charges` (n,) in e, `positions` (n, 3) and `cell` (3, 3, rows are lattice vectors) in angstrom."""

    name: str
    charges: np.ndarray
    positions: np.ndarray
    cell: np.ndarray

    def save(self, path: Path) -> None:
        """Writes the box to a .npz file."""
        np.savez(path, name=self.name, charges=self.charges, positions=self.positions, cell=self.cell)

    @classmethod
    def load(cls, path: Path) -> ChargedBox:
        """Reads what `save` wrote."""
        with np.load(path) as data:
            return cls(str(data["name"]), data["charges"], data["positions"], data["cell"])


def random_rotations(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 3, 3) uniform rotations, from unit quaternions."""
    w, x, y, z = (q := rng.normal(size=(4, n))) / np.linalg.norm(q, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def water(n_atoms: int, seed: int = 1) -> ChargedBox:
    """Close to `n_atoms` atoms of SPC water in a cube: random orientations on a jittered lattice with vacancies.

    Molecules are ordered along the lattice. No two charges are closer than about 0.5 angstrom.
    """
    rng = np.random.default_rng(seed)
    n_molecules = max(1, round(n_atoms / 3))
    length = (3 * n_molecules / DENSITY) ** (1.0 / 3.0)
    sites = int(np.ceil(n_molecules ** (1.0 / 3.0) - 1e-9))
    chosen = np.sort(rng.permutation(sites**3)[:n_molecules])
    lattice = np.stack(np.unravel_index(chosen, (sites,) * 3), axis=1)
    spacing = length / sites
    oxygens = (lattice + 0.5) * spacing + rng.uniform(-0.25, 0.25, (n_molecules, 3))
    half = 0.5 * ANGLE
    hydrogens = BOND * np.array([[np.sin(half), np.cos(half), 0.0], [-np.sin(half), np.cos(half), 0.0]])
    rotated = np.einsum("nij,hj->nhi", random_rotations(rng, n_molecules), hydrogens)
    positions = np.concatenate([oxygens[:, None], oxygens[:, None] + rotated], axis=1).reshape(-1, 3)
    charges = np.tile([OXYGEN_CHARGE, HYDROGEN_CHARGE, HYDROGEN_CHARGE], n_molecules)
    return ChargedBox("water", charges, positions % length, length * np.eye(3))


def random_ions(n_atoms: int, cell: np.ndarray | None = None, seed: int = 2, name: str = "random ions") -> ChargedBox:
    """Charges +1 and -1 e at random in `cell`, by default the cube of water density."""
    rng = np.random.default_rng(seed)
    if cell is None:
        cell = (n_atoms / DENSITY) ** (1.0 / 3.0) * np.eye(3)
    charges = np.where(np.arange(n_atoms) % 2 == 0, 1.0, -1.0)
    return ChargedBox(name, charges, rng.random((n_atoms, 3)) @ cell, np.asarray(cell, dtype=float))


def rock_salt(cells_along: int, displacement: float = 0.05, seed: int = 3) -> ChargedBox:
    """NaCl, lattice constant 5.64 angstrom, every ion moved by a normal step of `displacement` angstrom per axis."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(2 * cells_along)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    charges = np.where(sites.sum(axis=1) % 2 == 0, 1.0, -1.0)
    positions = sites * 2.82 + rng.normal(scale=displacement, size=sites.shape)
    length = 5.64 * cells_along
    return ChargedBox("NaCl", charges, positions % length, length * np.eye(3))


def triclinic_ions(n_atoms: int) -> ChargedBox:
    """Random ions in a cell with angles of about 60, 70 and 80 degrees in general orientation, at water density."""
    shape = np.array([[1.0, 0.0, 0.0], [0.17, 1.1, 0.0], [0.31, 0.45, 0.9]])
    rotation = random_rotations(np.random.default_rng(4), 1)[0]
    scale = (n_atoms / DENSITY / np.linalg.det(shape)) ** (1.0 / 3.0)
    return random_ions(n_atoms, scale * shape @ rotation.T, seed=5, name="triclinic")


def elongated_ions(n_atoms: int) -> ChargedBox:
    """Random ions in a cell of aspect ratio 1 : 1.5 : 8, at water density."""
    sides = np.array([1.0, 1.5, 8.0])
    scale = (n_atoms / DENSITY / sides.prod()) ** (1.0 / 3.0)
    return random_ions(n_atoms, np.diag(scale * sides), seed=6, name="elongated")
