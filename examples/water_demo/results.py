"""What is compared at the end of the demo: predictions for held-out frames, trajectories and total energies.

Apart from the analysis because the plots show the same objects. Models are evaluated through `LESCalculator`: by the
engine that LAMMPS and OpenMM use as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from structure import Trajectory


@dataclass(frozen=True)
class Predictions:
    """What one model says of the held-out frames next to the reference; energies per atom in eV."""

    energies: NDArray[np.float64]  # (n_frames,)
    reference_energies: NDArray[np.float64]
    forces: NDArray[np.float64]  # (n_frames * n_atoms, 3)
    reference_forces: NDArray[np.float64]
    charges: NDArray[np.float64]  # (n_frames * n_atoms,)
    reference_charges: NDArray[np.float64]
    symbols: NDArray[np.str_]

    @property
    def energy_rmse(self) -> float:
        """meV/atom."""
        return 1000 * root_mean_square(self.energies - self.reference_energies)

    @property
    def force_rmse(self) -> float:
        """meV/angstrom, over components."""
        return 1000 * root_mean_square(self.forces - self.reference_forces)

    @property
    def signed_charges(self) -> NDArray[np.float64]:
        """Learned charges with the common sign that fits the true ones; the energy does not depend on it."""
        sign = 1.0 if np.dot(self.charges, self.reference_charges) >= 0 else -1.0
        return sign * self.charges

    def charge_error(self, symbol: str | None = None) -> float:
        """Mean absolute error of the charges of one element, or of all atoms, e."""
        chosen = slice(None) if symbol is None else self.symbols == symbol
        return float(np.mean(np.abs(self.signed_charges[chosen] - self.reference_charges[chosen])))


@dataclass(frozen=True)
class EnergyRecord:
    """Total energy of a constant-energy run: times in ps, energies in meV/atom from the first."""

    times: NDArray[np.float64]
    energies: NDArray[np.float64]

    @property
    def drift(self) -> float:
        """Slope of a straight line through the energies, meV/atom/ps."""
        return float(np.polyfit(self.times, self.energies, 1)[0])

    @property
    def fluctuation(self) -> float:
        """Standard deviation about that line, meV/atom."""
        return root_mean_square(self.energies - np.polyval(np.polyfit(self.times, self.energies, 1), self.times))


def root_mean_square(values: NDArray[np.float64]) -> float:
    """Square root of the mean of the squares."""
    return float(np.sqrt(np.mean(np.square(values))))


def predict(model: Path, frames: list[Atoms]) -> Predictions:
    """Evaluates the exported `model` on `frames`."""
    from les_md.ase import LESCalculator

    calculator = LESCalculator(str(model))
    energies, forces, charges = [], [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / len(atoms))
        forces.append(atoms.get_forces())
        charges.append(atoms.get_charges())
    return Predictions(
        energies=np.array(energies),
        reference_energies=np.array([frame.get_potential_energy() / len(frame) for frame in frames]),
        forces=np.concatenate(forces),
        reference_forces=np.concatenate([frame.get_forces() for frame in frames]),
        charges=np.concatenate(charges),
        reference_charges=np.concatenate([frame.arrays["reference_charges"] for frame in frames]),
        symbols=np.concatenate([frame.get_chemical_symbols() for frame in frames]),
    )


def read_trajectory(path: Path) -> Trajectory:
    """Positions saved by the classical or the LAMMPS run."""
    with np.load(path) as arrays:
        return Trajectory(arrays["positions"], float(arrays["cell"][0, 0]))


def read_energies(path: Path, n_atoms: int) -> EnergyRecord:
    """Energies saved by a constant-energy run of `n_atoms` atoms."""
    times, energies = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True)
    return EnergyRecord(times, 1000 * (energies - energies[0]) / n_atoms)
