"""Water molecules placed by hand: shipped models are checked on them, so the package needs no frames of data sets."""

from __future__ import annotations

import ase
import numpy as np
from scipy.spatial.transform import Rotation

BOND_LENGTH, BOND_ANGLE = 0.98, 105.0  # angstrom, degrees
SEED = 270  # of the orientations: no hydrogens of two molecules too close
SPACING = 3.1  # angstrom between molecules of the periodic frame


def hand_made_frames() -> list[ase.Atoms]:
    """A molecule, a hydrogen-bonded dimer, and eight molecules turned at random in a periodic cell."""
    molecule = _molecule()
    # the first molecule gives a hydrogen to the second, whose own hydrogens point away
    bond = molecule[1] / np.linalg.norm(molecule[1])
    turn = Rotation.align_vectors([bond, [0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])[0]
    dimer = np.concatenate([molecule, turn.apply(molecule) + 2.85 * bond])
    corners = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)])
    rotations = Rotation.random(len(corners), rng=SEED).as_matrix()
    liquid = (molecule @ rotations + SPACING * (corners[:, None, :] + 0.5)).reshape(-1, 3)
    frames = [
        ase.Atoms("OH2", positions=molecule),
        ase.Atoms("OH2OH2", positions=dimer),
        ase.Atoms("OH2" * len(corners), positions=liquid, cell=[2 * SPACING] * 3, pbc=True),
    ]
    for atoms in frames:
        atoms.positions = np.round(atoms.positions, 6)
    return frames


def _molecule() -> np.ndarray:
    half = np.radians(BOND_ANGLE) / 2
    return BOND_LENGTH * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
