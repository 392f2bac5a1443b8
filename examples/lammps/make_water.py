"""Water molecules on a cubic lattice, turned at random, as a LAMMPS data file: `python make_water.py 4 water.data`.

The first argument is the number of molecules along each axis. The density is that of 64 molecules in a cell of 12.4447
angstrom, 0.993 g/cm3; types 1 and 2 are O and H. Minimize the energy before dynamics: neighbours may be too close.
"""

from __future__ import annotations

import argparse

import ase
import numpy as np
from ase.io.lammpsdata import write_lammps_data
from scipy.spatial.transform import Rotation

SPACING = 12.4447 / 4  # angstrom
BOND_LENGTH, BOND_ANGLE = 0.97, 105.0  # angstrom, degrees


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("molecules", type=int, help="along each axis")
    parser.add_argument("data", help="data file to write")
    parser.add_argument("--seed", type=int, default=1, help="of the orientations")
    arguments = parser.parse_args()
    n = arguments.molecules
    half = np.radians(BOND_ANGLE) / 2
    molecule = BOND_LENGTH * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    rotations = Rotation.random(n**3, rng=arguments.seed).as_matrix()
    corners = np.stack(np.meshgrid(*[np.arange(n) + 0.5] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = molecule @ rotations + corners * SPACING
    atoms = ase.Atoms("OH2" * n**3, positions=positions.reshape(-1, 3), cell=[n * SPACING] * 3, pbc=True)
    atoms.wrap()
    write_lammps_data(arguments.data, atoms, specorder=["O", "H"], atom_style="charge", units="metal", masses=True)


if __name__ == "__main__":
    main()
