"""Runs of many steps: conserved energies, minimisation, and what LAMMPS does between runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import Lammps, box_script, model_script

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]


def repulsion(model: Path, keywords: str = "") -> str:
    """The style beside nuclear repulsion, so that atoms do not fall into each other under a random model."""
    return f"""
pair_style hybrid/overlay les {keywords} zbl 1.0 2.0
pair_coeff * * les {model} O H
pair_coeff 1 1 zbl 8 8
pair_coeff 1 2 zbl 8 1
pair_coeff 2 2 zbl 1 1
"""


THERMO = """
thermo 5
thermo_style custom step temp pe etotal econserve vol press
thermo_modify format float %.16g
"""


@pytest.mark.parametrize(("model", "ranks"), [("plain", 4), ("two_layers", 2)])
def test_nve_conserves_energy(
    lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, ranks: int
) -> None:
    """The total energy fluctuates little against its parts, and with the square of the time step."""
    fluctuation = []
    for time_step in (2e-4, 1e-4):
        script = box_script(structures["triclinic"], lammps.folder) + repulsion(model_file(model)) + THERMO
        script += "neighbor 0.3 bin\nvelocity all create 400 7 mom yes dist gaussian loop geom\nfix integrate all nve\n"
        script += f"timestep {time_step}\nrun {round(0.02 / time_step)}\n"
        thermo = lammps.succeed(script, ranks).thermo()
        fluctuation.append(np.ptp(thermo["TotEng"]))
        assert fluctuation[-1] < 0.005 * np.ptp(thermo["PotEng"])
    assert fluctuation[1] < 0.3 * fluctuation[0]


def test_trajectory_on_one_and_four_ranks(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Atoms change ranks and lists are built again on the way; the start of the trajectory stays the same."""
    energies = []
    for ranks in (1, 4):
        script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain")) + THERMO
        script += (
            "neighbor 0.1 bin\nvelocity all create 1500 7 mom yes dist gaussian loop geom\nfix integrate all nve\n"
        )
        outcome = lammps.succeed(script + "timestep 2e-4\nrun 60\n", ranks)
        builds = next(line for line in outcome.output.splitlines() if line.startswith("Neighbor list builds"))
        assert int(builds.split("=")[1]) > 0
        energies.append(outcome.thermo()["PotEng"])
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-9)


@pytest.mark.parametrize("solver", ["direct", "mesh"])
def test_npt_conserves_its_energy(lammps: Lammps, model_file: ModelFile, structures: Structures, solver: str) -> None:
    """A barostat does work with the virial, so that a wrong one shows in the conserved quantity."""
    fluctuation = []
    for time_step in (1e-4, 5e-5):
        script = box_script(structures["triclinic"], lammps.folder)
        script += repulsion(model_file("plain"), f"solver {solver}") + THERMO
        script += "velocity all create 300 7 mom yes dist gaussian loop geom\n"
        script += "fix integrate all npt temp 300 300 0.05 tri 0 0 0.2\n"
        script += f"timestep {time_step}\nrun {round(0.02 / time_step)}\n"
        thermo = lammps.succeed(script, 2).thermo()
        assert np.ptp(thermo["Volume"]) > 1.0
        fluctuation.append(np.ptp(thermo["Econserve"]))
        assert fluctuation[-1] < 0.005 * np.ptp(thermo["PotEng"])
    assert fluctuation[1] < 0.5 * fluctuation[0]


def test_minimise_and_run_again(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + repulsion(model_file("plain")) + THERMO
    script += "min_style cg\nminimize 0 1e-3 100 500\nprint 'fnorm: $(fnorm)'\n"
    script += "velocity all create 300 7\nfix integrate all nve\ntimestep 2e-4\nrun 5\nrun 5\n"
    outcome = lammps.succeed(script, 2)
    thermo = outcome.thermo()
    assert thermo["PotEng"][-1] < thermo["PotEng"][0] - 0.1
    assert outcome.printed("fnorm").item() < 0.5


def test_box_relaxation(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + repulsion(model_file("plain")) + THERMO
    script += "fix box all box/relax iso 0.0 vmax 0.001\nmin_style cg\nminimize 0 1e-3 20 100\n"
    thermo = lammps.succeed(script, 2).thermo()
    assert np.abs(thermo["Press"][-1]) < np.abs(thermo["Press"][0])


def test_restart(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """A restart file keeps the atoms and their charges; the input names the style and the model again."""
    model = model_script(model_file("plain")) + THERMO
    integrate = "fix integrate all nve\ntimestep 2e-4\n"
    script = box_script(structures["triclinic"], lammps.folder) + model + "velocity all create 300 7\n" + integrate
    straight = lammps.succeed(script + "run 10\nwrite_restart half.restart\nrun 10\n", 2).thermo()
    script = "read_restart half.restart\nneighbor 1.0 bin\nneigh_modify delay 0 every 1 check yes\n"
    again = lammps.succeed(script + model + integrate + "run 10\n", 2).thermo()
    np.testing.assert_allclose(again["PotEng"][-1], straight["PotEng"][-1], rtol=1e-10)


def test_respa_on_pair_level(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain")) + THERMO
    script += "velocity all create 300 7\nfix integrate all nve\nrun_style respa 2 2 pair 2\ntimestep 2e-4\nrun 10\n"
    thermo = lammps.succeed(script, 2).thermo()
    assert np.ptp(thermo["TotEng"]) < 0.05 * max(np.ptp(thermo["PotEng"]), 1e-3)


def test_rerun(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """A stored trajectory gives its energies again."""
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain")) + THERMO
    run = "velocity all create 300 7\nfix integrate all nve\ntimestep 2e-4\ndump x all custom 5 x.dump id type x y z\n"
    straight = lammps.succeed(script + run + "dump_modify x format float %.16g\nrun 10\n", 2).thermo()
    again = lammps.succeed(script + "rerun x.dump dump x y z\n", 2).thermo()
    np.testing.assert_allclose(again["PotEng"], straight["PotEng"], rtol=1e-10)
