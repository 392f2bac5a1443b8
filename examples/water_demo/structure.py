"""Radial distribution functions of water in a cubic periodic box. Apart because it needs only positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAIRS = (("O", "O"), ("O", "H"), ("H", "H"))


@dataclass(frozen=True)
class Trajectory:
    """Positions `(n_frames, n_atoms, 3)` in angstrom, in a cubic box of `box_length`, atoms in the order O H H."""

    positions: NDArray[np.float64]
    box_length: float


def radial_distributions(
    trajectory: Trajectory, n_bins: int = 100
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Bin centres `(n_bins,)` in angstrom up to half the box, and g(r) `(n_bins,)` of O-O, O-H and H-H.

    O-H and H-H include the pairs within a molecule.
    """
    length = trajectory.box_length
    edges = np.linspace(0.0, length / 2, n_bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    species = np.array(["O", "H", "H"] * (trajectory.positions.shape[1] // 3))
    distributions = {}
    for first, second in PAIRS:
        counts = np.zeros(n_bins)
        n_first, n_second = np.sum(species == first), np.sum(species == second)
        for positions in trajectory.positions:
            vectors = positions[species == second] - positions[species == first][:, None, :]
            vectors -= length * np.round(vectors / length)
            distances = np.linalg.norm(vectors, axis=-1)
            if first == second:
                distances = distances[~np.eye(n_first, dtype=bool)]
            counts += np.histogram(distances, bins=edges)[0]
        n_pairs = n_first * (n_second - (first == second))
        ideal = len(trajectory.positions) * n_pairs * shells / length**3
        distributions[f"{first}-{second}"] = counts / ideal
    return (edges[1:] + edges[:-1]) / 2, distributions


def similarity(first: NDArray[np.float64], second: NDArray[np.float64], radii: NDArray[np.float64]) -> float:
    """Similarity of two radial distribution functions: 1 if equal, 0 if they share nothing.

    One minus the integral of |g1 - g2| r^2 over that of (g1 + g2) r^2.
    """
    weights = radii**2
    total = float(np.sum((first + second) * weights))
    return 1.0 - float(np.sum(np.abs(first - second) * weights)) / total
