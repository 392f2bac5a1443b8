"""Molecules with an LES model among classical ones, by openmm-ml: `python openmm_ml.py water.les.pt`.

Fills a box with flexible TIP3P-FB water, gives the model to the first molecules and runs MD at 300 K. Interactions
between the two kinds are classical. With all molecules given to the model (--molecules 0) the system is a pure one.
"""

from __future__ import annotations

import argparse
import sys

import openmm
from openmm import app, unit
from openmmml import MLPotential


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="file written by les-export")
    parser.add_argument("--molecules", type=int, default=8, help="molecules with the model; 0: all")
    parser.add_argument("--box", type=float, default=1.9, help="edge of the box, nm")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--platform", default="CPU")
    arguments = parser.parse_args()

    forcefield = app.ForceField("amber14/tip3pfb.xml")
    water = app.Modeller(app.Topology(), [] * unit.nanometer)
    water.addSolvent(forcefield, model="tip3p", boxSize=openmm.Vec3(1, 1, 1) * arguments.box * unit.nanometer)

    potential = MLPotential("les", model=arguments.model)
    if arguments.molecules:
        classical = forcefield.createSystem(
            water.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=False
        )
        residues = list(water.topology.residues())[: arguments.molecules]
        atoms = [atom.index for residue in residues for atom in residue.atoms()]
        system = potential.createMixedSystem(water.topology, classical, atoms)
    else:
        system = potential.createSystem(water.topology)

    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 10 / unit.picosecond, 0.5 * unit.femtosecond)
    platform = openmm.Platform.getPlatformByName(arguments.platform)
    simulation = app.Simulation(water.topology, system, integrator, platform)
    simulation.context.setPositions(water.positions)
    simulation.minimizeEnergy(maxIterations=min(arguments.steps, 100))
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    interval = max(arguments.steps // 10, 1)
    simulation.reporters.append(
        app.StateDataReporter(sys.stdout, interval, step=True, potentialEnergy=True, temperature=True, speed=True)
    )
    simulation.step(arguments.steps)


if __name__ == "__main__":
    main()
