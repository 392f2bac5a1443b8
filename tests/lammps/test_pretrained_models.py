"""The models that come with the package in real LAMMPS: conserved energy, and the current of the spectrum example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import Lammps

import les_md
from les_md.spectra import read_series

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "lammps"


@pytest.mark.parametrize("name", ["water-pbe0", "demo-liquid"])
def test_energy_is_conserved(lammps: Lammps, name: str) -> None:
    """Eight molecules from a relaxed lattice: the total energy fluctuates little, and less with smaller time steps."""
    subprocess.run([sys.executable, EXAMPLES / "make_water.py", "2", "water.data"], cwd=lammps.folder, check=True)
    fluctuation, exchanged = [], []
    for time_step in (0.001, 0.0005):
        thermo = lammps.succeed(
            f"""
units metal
atom_style charge
read_data water.data
pair_style les
pair_coeff * * {les_md.pretrained(name)} O H
neighbor 0.5 bin
thermo {round(0.005 / time_step)}
thermo_style custom step temp pe etotal
thermo_modify format float %.12g
minimize 1e-4 1e-2 50 100
reset_timestep 0
velocity all create 300 7 mom yes rot yes dist gaussian loop geom
fix integrate all nve
timestep {time_step}
run {round(0.05 / time_step)}
"""
        ).thermo()
        first = np.flatnonzero(thermo["Step"] == 0)[-1]  # of the dynamics, after the minimisation
        total, kinetic = thermo["TotEng"][first:], (thermo["TotEng"] - thermo["PotEng"])[first:]
        fluctuation.append(np.ptp(total))
        exchanged.append(np.ptp(kinetic))
        assert kinetic.max() < 3.0  # eV of 24 atoms: nothing flies apart
    assert fluctuation[1] < 0.02 * exchanged[1]
    assert fluctuation[1] < 0.5 * fluctuation[0]


def test_spectrum_example_from_the_package_alone(lammps: Lammps) -> None:
    """Lattice, model and input of the package make a current that les-spectra reads, of the size of that of water."""
    subprocess.run([sys.executable, EXAMPLES / "make_water.py", "2", "water.data"], cwd=lammps.folder, check=True)
    arguments = ["-var", "model", str(les_md.pretrained("water-pbe0")), "-var", "equilibration", "40"]
    lammps.succeed((EXAMPLES / "in.water_spectrum").read_text(), 1, [*arguments, "-var", "steps", "200"])
    series = read_series(lammps.folder / "current.txt")
    assert series.n_rows == 51
    assert series.time_step == pytest.approx(0.002)
    assert series.volume == pytest.approx(6.22235**3, rel=1e-4)
    assert series.current is not None
    # of 24 free atoms with charges -0.8 and 0.4 e at 300 K: sqrt(sum q^2 kT/m), 16 hydrogens, is 25 e angstrom/ps
    assert 5.0 < np.sqrt(np.mean(series.current**2)) < 60.0
