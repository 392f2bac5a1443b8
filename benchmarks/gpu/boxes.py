"""Boxes that programs in Python and in C++ share: charges at random, and water whose atoms move.

Random numbers are a function of their index (splitmix64), so mesh_times.cpp makes the same atoms without a file.
"""

from __future__ import annotations

import ase
import numpy as np
from systems import DENSITY, ChargedBox, water

CHARGE = 0.4  # e, of every other atom; the rest have the opposite one
STEPS_OF_SEARCH = 15  # steps in which the fastest atom moves by half the skin
SKIN = 0.5  # angstrom, that of the engine by default


def uniform(n: int) -> np.ndarray:
    """The first `n` random numbers in [0, 1), those of `uniform` in mesh_times.cpp."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.ldexp(((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64), -53)


def random_charges(n: int) -> ChargedBox:
    """`n` charges of +-0.4 e at random in a cube of 0.1 atoms per cubic angstrom; neutral for even n."""
    length = float(np.cbrt(n / DENSITY))
    charges = np.where(np.arange(n) % 2 == 0, CHARGE, -CHARGE)
    return ChargedBox("random charges", charges, length * uniform(3 * n).reshape(n, 3), length * np.eye(3))


def moving_water(n: int) -> tuple[ase.Atoms, np.ndarray]:
    """Close to `n` atoms of water, and frames (30, n, 3) of their positions, as in step_times.cpp.

    Every atom goes its own way at a constant velocity, so that a neighbour search is due once in 15 steps.
    """
    box = water(n)
    n_molecules = len(box.charges) // 3
    atoms = ase.Atoms(np.tile([8, 1, 1], n_molecules), positions=box.positions, cell=box.cell, pbc=True)
    speeds = np.sqrt(16.0 / np.tile([16.0, 1.0, 1.0], n_molecules))
    step = speeds[:, None] * np.random.default_rng(2).normal(size=box.positions.shape)
    step *= 0.5 * SKIN / (STEPS_OF_SEARCH * np.linalg.norm(step, axis=1).max())
    times = np.arange(2 * STEPS_OF_SEARCH)
    return atoms, box.positions + times[:, None, None] * step
