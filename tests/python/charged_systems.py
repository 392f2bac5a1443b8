"""Random and crystalline charges in cells of many shapes, shared by the tests of the solvers."""

import math

import numpy as np

from les_md import EwaldSolver

TRICLINIC = np.array([[14.0, 0.0, 0.0], [3.0, 13.0, 0.0], [-2.0, 1.0, 12.0]])
LEFT_HANDED = TRICLINIC[[1, 0, 2]]
ELONGATED = np.diag([6.0, 40.0, 9.0])
ROTATION = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
CELLS = {
    "cubic": np.eye(3) * 13.0,
    "triclinic": TRICLINIC,
    "left_handed": LEFT_HANDED,
    "elongated": ELONGATED,
    "rotated": TRICLINIC @ ROTATION,
    "one_shell": np.eye(3) * 4.0,
}


def random_charges(cell, density=0.1, channels=1, seed=1, net=0.0):
    rng = np.random.default_rng(seed)
    n = max(4, int(density * abs(np.linalg.det(cell))))
    charges = rng.normal(size=(n, channels)) * 0.5
    charges += (net - charges.sum(0)) / n
    return charges, rng.uniform(-1.0, 2.0, (n, 3)) @ cell


def rms(values):
    return math.sqrt(np.square(values).sum() / len(values))


def random_force(charges, cell, k_cutoff, samples=4):
    """rms force of the same charges placed at random."""
    rng = np.random.default_rng(11)
    solver = EwaldSolver(k_cutoff=k_cutoff)
    forces = [solver.compute(charges, rng.uniform(0, 1, (len(charges), 3)) @ cell, cell).forces for _ in range(samples)]
    return math.sqrt(np.mean([rms(f) ** 2 for f in forces]))


def rock_salt(n, d=2.8, displacement=0.0):
    grid = np.array([[i, j, k] for i in range(n) for j in range(n) for k in range(n)], dtype=float)
    rng = np.random.default_rng(3)
    return (-1.0) ** grid.sum(1), grid * d + displacement * rng.normal(size=grid.shape), np.eye(3) * n * d
