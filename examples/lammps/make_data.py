"""Any structure file with a cell as a LAMMPS data file: `python make_data.py start.xyz water.data O H`.

The chemical symbols are those of the atom types, in the order in which `pair_coeff` names them. The last frame is
taken.
"""

from __future__ import annotations

import argparse

import ase.io
from ase.io.lammpsdata import write_lammps_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structure", help="any format ASE reads")
    parser.add_argument("data", help="data file to write")
    parser.add_argument("symbols", nargs="+", help="chemical symbol of each atom type")
    arguments = parser.parse_args()
    atoms = ase.io.read(arguments.structure)
    atoms.wrap()
    write_lammps_data(
        arguments.data, atoms, specorder=arguments.symbols, atom_style="charge", units="metal", masses=True
    )


if __name__ == "__main__":
    main()
