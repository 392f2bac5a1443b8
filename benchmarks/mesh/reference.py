"""Converged reference forces and the error measure shared by all solvers of the mesh benchmarks.

The kernel is exp(-sigma^2 k^2 / 2) / k^2, converged or cut at k_cutoff. Small boxes are summed directly by
`les_md.EwaldSolver`; larger ones by a non-uniform FFT (FINUFFT) over all wave vectors, whose error is 1e-9 or less, or
without FINUFFT by `les_md.MeshSolver` at an accuracy of 1e-8.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from systems import ChargedBox

N_F = 90.4756  # 1/(2 eps0), eV angstrom / e^2, the constant of trained models
K_E = N_F / (2.0 * np.pi)
SMEARING = 1.0  # angstrom
LARGEST_DIRECT = 3_000  # atoms
LARGEST_DOUBLED = 300_000  # atoms; above it the non-uniform FFT takes an upsampling of 1.25 to save memory


@dataclass(frozen=True)
class Reference:
    """`forces` (n, 3) in eV/angstrom, `potentials` (n,) in V, and how they were made."""

    forces: np.ndarray
    potentials: np.ndarray
    method: str

    def save(self, path: Path) -> None:
        """Writes a .npz file."""
        np.savez(path, forces=self.forces, potentials=self.potentials, method=self.method)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Reads what `save` wrote."""
        with np.load(path) as data:
            return cls(data["forces"], data["potentials"], str(data["method"]))


def reciprocal_rows(cell: np.ndarray) -> np.ndarray:
    """Rows b_a with b_a . a_b = 2 pi delta_ab, 1/angstrom."""
    return 2.0 * np.pi * np.linalg.inv(cell).T


def waves_along(cell: np.ndarray, k_cutoff: float) -> np.ndarray:
    """(3,) largest |n_a| inside the sphere: |n_a| = |k . a_a| / 2 pi <= k_cutoff |a_a| / 2 pi."""
    return np.floor(k_cutoff * np.linalg.norm(cell, axis=1) / (2.0 * np.pi) + 1e-6).astype(int)


def wave_slab(cell: np.ndarray, n0: int, waves: np.ndarray) -> np.ndarray:
    """(2 m1 + 1, 2 m2 + 1, 3) wave vectors with first index n0, second and third from -m to m."""
    rows = reciprocal_rows(cell)
    n1, n2 = (np.arange(-m, m + 1) for m in waves[1:])
    return n0 * rows[0] + (n1[:, None] * rows[1])[:, None, :] + (n2[:, None] * rows[2])[None, :, :]


def kernel_of(k_sq: np.ndarray, smearing: float, k_cutoff: float) -> np.ndarray:
    """exp(-sigma^2 k^2 / 2) / k^2 for 0 < |k| <= k_cutoff, else 0."""
    inside = (k_sq > 1e-12) & (k_sq <= k_cutoff**2 * (1.0 + 1e-9))
    return np.where(inside, np.exp(-0.5 * smearing**2 * k_sq) / np.where(inside, k_sq, 1.0), 0.0)


def kernel_moments(cell: np.ndarray, smearing: float, k_cutoff: float | None) -> tuple[float, float]:
    """Sums over k of A^2 k^2 and A^2 |M|^2, A the kernel and M_ab = delta_ab - k_a k_b (2 / k^2 + sigma^2)."""
    largest = k_cutoff or 4.7 / smearing  # exp(-sigma^2 k^2) < 1e-9
    waves = waves_along(cell, largest)
    force, virial = 0.0, 0.0
    for n0 in range(waves[0] + 1):
        multiplicity = 1.0 if n0 == 0 else 2.0
        k_sq = (wave_slab(cell, n0, waves) ** 2).sum(axis=-1)
        kernel_sq = kernel_of(k_sq, smearing, largest) ** 2
        along = 2.0 + smearing**2 * k_sq
        force += multiplicity * float((k_sq * kernel_sq).sum())
        virial += multiplicity * float(((3.0 - 2.0 * along + along**2) * kernel_sq).sum())
    return force, virial


def random_force(box: ChargedBox, smearing: float = SMEARING, k_cutoff: float | None = None) -> float:
    """Rms force, eV/angstrom, of the same charges placed at random in the same cell: what `accuracy` is relative to.

    For independent positions <F_i^2> = q_i^2 sum_{j != i} q_j^2 (2 N_F / V)^2 sum_k k^2 A(k)^2.
    """
    squares = box.charges**2
    pairs = float((squares * (squares.sum() - squares)).mean())
    moment = kernel_moments(box.cell, smearing, k_cutoff)[0]
    return 2.0 * N_F / abs(np.linalg.det(box.cell)) * float(np.sqrt(moment * pairs))


def random_virial(box: ChargedBox, smearing: float = SMEARING, k_cutoff: float | None = None) -> float:
    """Rms of the norm of the virial, eV, of the same charges placed at random, less each charge's own part."""
    squares = box.charges**2
    pairs = 0.5 * float((squares * (squares.sum() - squares)).sum())
    moment = kernel_moments(box.cell, smearing, k_cutoff)[1]
    return 2.0 * N_F / abs(np.linalg.det(box.cell)) * float(np.sqrt(moment * pairs))


def rms(vectors: np.ndarray) -> float:
    """Root of the mean over atoms of the squared length."""
    return float(np.sqrt((np.asarray(vectors) ** 2).sum() / len(vectors)))


def nufft_sum(
    box: ChargedBox, k_cutoff: float, eps: float, upsampling: float, smearing: float = SMEARING
) -> tuple[np.ndarray, np.ndarray]:
    """Forces (n, 3) and potentials (n,), self interaction kept, by FINUFFT over all |k| <= k_cutoff."""
    import finufft

    waves = waves_along(box.cell, k_cutoff)
    modes = tuple(int(m) for m in 2 * waves + 1)
    angles = (box.positions @ np.linalg.inv(box.cell) * 2.0 * np.pi + np.pi) % (2.0 * np.pi) - np.pi
    points = [np.ascontiguousarray(angles[:, axis]) for axis in range(3)]
    options = {"eps": eps, "upsampfac": upsampling, "nthreads": 1}
    structure = finufft.nufft3d1(*points, box.charges.astype(complex), modes, isign=1, **options)
    factor = 2.0 * N_F / abs(np.linalg.det(box.cell))
    columns = []
    for component in (None, 0, 1, 2):
        field = np.empty_like(structure)
        for index, n0 in enumerate(range(-waves[0], waves[0] + 1)):
            k = wave_slab(box.cell, n0, waves)
            field[index] = structure[index] * kernel_of((k**2).sum(axis=-1), smearing, k_cutoff)
            if component is not None:
                field[index] *= -1j * k[..., component]
        columns.append(factor * finufft.nufft3d2(*points, field, isign=-1, **options).real)
    return -box.charges[:, None] * np.stack(columns[1:], axis=1), columns[0]


def self_potential(charges: np.ndarray, smearing: float = SMEARING) -> np.ndarray:
    """Potential of each smeared charge in its own centre, V."""
    return 2.0 * N_F * charges / (smearing * (2.0 * np.pi) ** 1.5)


def reference_for(box: ChargedBox, k_cutoff: float | None) -> Reference:
    """Converged forces and potentials, self interaction removed; `k_cutoff` None means the converged kernel."""
    n = len(box.charges)
    if n <= LARGEST_DIRECT:
        return direct_reference(box, k_cutoff)
    if importlib.util.find_spec("finufft") is None:
        import les_md

        result = les_md.MeshSolver(SMEARING, k_cutoff, accuracy=1e-8).compute(box.charges, box.positions, box.cell)
        return Reference(result.forces, result.potentials, "les_md.MeshSolver at 1e-8")
    return nufft_reference(box, k_cutoff)


def direct_reference(box: ChargedBox, k_cutoff: float | None) -> Reference:
    """The direct sum of the package."""
    import les_md

    result = les_md.EwaldSolver(SMEARING, k_cutoff).compute(box.charges, box.positions, box.cell)
    return Reference(np.asarray(result.forces), np.asarray(result.potentials), "direct sum (les_md.EwaldSolver)")


def nufft_reference(box: ChargedBox, k_cutoff: float | None) -> Reference:
    """A non-uniform FFT, accurate to 1e-12 (1e-9 for the largest boxes)."""
    small = len(box.charges) <= LARGEST_DOUBLED
    eps, upsampling, smallest = (1e-12, 2.0, 1e-9) if small else (1e-9, 1.25, 1e-7)
    forces, potentials = nufft_sum(box, k_cutoff or np.sqrt(-2.0 * np.log(smallest)) / SMEARING, eps, upsampling)
    return Reference(forces, potentials - self_potential(box.charges), f"FINUFFT at {eps:g}")
