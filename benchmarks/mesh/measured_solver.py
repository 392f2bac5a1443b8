"""The interface that all measured solvers share, and the meshes they choose from.

A measured solver is made once a process: `prepare` takes the box and whatever a host would hold anyway, `build` makes
the solver itself (memory is counted from there), `time_steps` evaluates and returns the seconds of each evaluation.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
from systems import ChargedBox

Settings = dict[str, Any]


class MeasuredSolver:
    """One way of evaluating the kernel. `kernel` is "converged" or "truncated" (at `k_cutoff`, 1/angstrom)."""

    label: ClassVar[str]
    """Name in the tables."""
    provides: ClassVar[str]
    """What one timed evaluation gives."""
    largest: ClassVar[int] = 10**9
    """Atoms beyond which it is not run."""
    calibrate_every_size: ClassVar[bool] = False
    """Whether one spacing cannot serve all sizes."""
    tolerance: ClassVar[float] = 1.0
    """Settings count as good enough up to this multiple of the error asked for."""

    def __init__(self, threads: int, k_cutoff: float | None) -> None:
        self.threads = threads
        self.k_cutoff = k_cutoff

    def series(self, box: ChargedBox, target: float) -> list[list[Settings]]:
        """Settings to choose from for an error of `target`, each list from cheap to accurate."""
        return []

    def prepare(self, box: ChargedBox) -> None:
        """Keeps the box, and a second set of positions a small step away, as in a simulation."""
        self.box = box
        step = np.random.default_rng(0).normal(scale=0.01, size=box.positions.shape)
        self.frames = [box.positions, box.positions + step]

    def build(self, settings: Settings) -> None:
        """Makes the solver."""
        raise NotImplementedError

    def evaluate(self, positions: np.ndarray) -> None:
        """One evaluation, timed from outside."""
        raise NotImplementedError

    def forces(self) -> np.ndarray:
        """(n, 3) eV/angstrom of the last evaluation, with the constant K_E."""
        raise NotImplementedError

    def describe(self) -> str:
        """Settings in words."""
        raise NotImplementedError

    def time_steps(self, n: int) -> list[float]:
        """Seconds of each of n evaluations; the last is of the box's own positions."""
        seconds = []
        for step in range(n - 1, -1, -1):
            positions = self.frames[step % 2]
            self.before_evaluation(positions)
            start = time.perf_counter()
            self.evaluate(positions)
            seconds.append(time.perf_counter() - start)
        return seconds

    def before_evaluation(self, positions: np.ndarray) -> None:
        """What an evaluation needs and is not timed."""

    def stages(self) -> dict[str, float]:
        """Seconds of the stages of the last evaluation, where the solver tells."""
        return {}


def smooth_length(least: float, factors: tuple[int, ...] = (2, 3, 5)) -> int:
    """Smallest even number of points with these factors only, at least `least`."""
    n = max(2, int(np.ceil(least - 1e-9)))
    while True:
        rest = n
        for factor in factors:
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and n % 2 == 0:
            return n
        n += 1


def spacings(box: ChargedBox, coarsest: float, finest: float, factors: tuple[int, ...] = (2, 3, 5)) -> list[float]:
    """Spacings (angstrom) of the smooth meshes of a cube, coarse to fine."""
    length = float(box.cell[0, 0])
    found, n = [], smooth_length(length / coarsest, factors)
    while length / n >= finest:
        found.append(length / n)
        n = smooth_length(n + 1, factors)
    return found


def mesh_length(box: ChargedBox, spacing: float, factors: tuple[int, ...] = (2, 3, 5)) -> int:
    """Points along each side of a cube for a spacing no larger than `spacing`."""
    return smooth_length(float(box.cell[0, 0]) / spacing * (1.0 - 1e-9), factors)
