"""A closed-form pair potential as reference, and les-md programs run as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase
import numpy as np
import vesin
from ase.calculators.singlepoint import SinglePointCalculator

import les_md

CUTOFF = 3.5
PAIR_STRENGTH = np.array([[6.0, -3.0], [-3.0, 9.0]])  # eV, rows and columns H, O
ATOM_ENERGY = np.array([-3.0, -20.0])  # eV, H, O


def label(atoms: ase.Atoms) -> ase.Atoms:
    """`atoms` with energy, forces and, if periodic, stress of E = sum_i e_i + sum_{i<j} s_ij (1 - r/r_c)^3."""
    species = (atoms.numbers == 8).astype(int)
    builder = vesin.NeighborList(cutoff=CUTOFF, full_list=True)
    i, j, distances, vectors = builder.compute(atoms.positions, atoms.cell.array, bool(atoms.pbc.all()), "ijdD")
    strength = PAIR_STRENGTH[species[i], species[j]]
    energy = ATOM_ENERGY[species].sum() + 0.5 * np.sum(strength * (1 - distances / CUTOFF) ** 3)
    slope = -3 * strength / CUTOFF * (1 - distances / CUTOFF) ** 2
    pair_forces = (slope / distances)[:, None] * vectors  # on i, from dE/dr_i = -slope * unit vector
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, pair_forces)
    results: dict[str, Any] = {"energy": float(energy), "forces": forces}
    if atoms.pbc.all():
        # dE/dstrain / V = 1/(2V) sum slope / r * (vector outer vector)
        stress = 0.5 * np.einsum("ea,eb->ab", pair_forces, vectors) / atoms.get_volume()
        results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def periodic_frame(rng: np.random.Generator) -> ase.Atoms:
    """8 atoms on a distorted simple cubic lattice in a slightly triclinic cell of varying size."""
    cell = 4.6 * (np.eye(3) + 0.04 * rng.normal(size=(3, 3)))
    lattice = np.array([[x, y, z] for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)])
    n_oxygen = int(rng.integers(2, 5))
    atoms = ase.Atoms("O" * n_oxygen + "H" * (8 - n_oxygen), scaled_positions=lattice, cell=cell, pbc=True)
    atoms.positions += rng.normal(scale=0.12, size=(8, 3))
    return label(atoms)


def isolated_frame(rng: np.random.Generator) -> ase.Atoms:
    """A bent molecule OH2 of random shape."""
    positions = np.array([[0.0, 0, 0], [1.2, 0, 0], [-0.4, 1.2, 0]]) + rng.normal(scale=0.12, size=(3, 3))
    return label(ase.Atoms("OHH", positions=positions))


def make_frames(n_periodic: int, n_isolated: int, seed: int = 0) -> list[ase.Atoms]:
    """Frames of both kinds, periodic first."""
    rng = np.random.default_rng(seed)
    return [periodic_frame(rng) for _ in range(n_periodic)] + [isolated_frame(rng) for _ in range(n_isolated)]


def program(module: str, *arguments: Any) -> list[str]:
    """Command line of a program of the package, the one that is under test."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Environment in which a new process finds the package under test."""
    path = os.pathsep.join(filter(None, [str(Path(les_md.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run_program(module: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    return subprocess.run(
        program(module, *arguments), env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
