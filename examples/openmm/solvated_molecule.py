"""MD of one molecule with an LES model in classical water, with electrostatic embedding:

    python solvated_molecule.py model.les.pt [--pdb solvated.pdb --forcefield amber14-all.xml amber14/tip3p.xml]

The model describes one residue, the force field the rest, and the latent charges of the molecule and the charges of the
water act on each other. Without --pdb it is a water molecule in a box of water, for which any model of H and O will do.
Writes temperature, the terms of the model's energy and the learned charge of the molecule's first atom.
"""

from __future__ import annotations

import argparse

import openmm
from openmm import app, unit

from les_md.openmm import LESForce, create_mixed_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="file written by les-export")
    parser.add_argument("--pdb", help="the solvated molecule, whole, with its box; default: a box of water")
    parser.add_argument("--forcefield", nargs="+", default=["amber14/tip3p.xml"], help="of OpenMM, for everything")
    parser.add_argument("--residue", type=int, default=0, help="the residue the model describes, from 0")
    parser.add_argument("--embedding", choices=["electrostatic", "mechanical"], default="electrostatic")
    parser.add_argument("--length", type=float, default=2.2, help="of the box of water, nm")
    parser.add_argument("--minimize", type=int, default=200, help="iterations before the dynamics")
    parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs")
    parser.add_argument("--platform", default="CPU")
    arguments = parser.parse_args()

    forcefield = app.ForceField(*arguments.forcefield)
    if arguments.pdb:
        start = app.PDBFile(arguments.pdb)
    else:
        start = app.Modeller(app.Topology(), [] * unit.nanometer)
        start.addSolvent(forcefield, boxSize=openmm.Vec3(1, 1, 1) * arguments.length * unit.nanometer)
    classical = forcefield.createSystem(
        start.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=True
    )
    residue = list(start.topology.residues())[arguments.residue]
    atoms = [atom.index for atom in residue.atoms() if atom.element is not None]
    system = create_mixed_system(start.topology, classical, atoms, arguments.model, arguments.embedding)
    force = next(LESForce.cast(force) for force in system.getForces() if LESForce.isinstance(force))

    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 5 / unit.picosecond, 0.5 * unit.femtosecond)
    platform = openmm.Platform.getPlatformByName(arguments.platform)
    simulation = app.Simulation(start.topology, system, integrator, platform)
    context = simulation.context
    context.setPositions(start.positions)
    simulation.minimizeEnergy(maxIterations=arguments.minimize)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 1)

    header = ("step", "T / K", "E_short / kJ/mol", "E_long / kJ/mol", "E_embedding / kJ/mol", "q_0 / e")
    print("{:>8} {:>8} {:>18} {:>18} {:>21} {:>10}".format(*header))
    freedom = 3 * sum(system.getParticleMass(i) > 0 * unit.dalton for i in range(system.getNumParticles()))
    freedom -= system.getNumConstraints() + 3
    for step in range(0, arguments.steps + 1, max(arguments.steps // 10, 1)):
        simulation.step(step - simulation.currentStep)
        kinetic = context.getState(energy=True).getKineticEnergy()
        kelvin = (2 * kinetic / (freedom * unit.MOLAR_GAS_CONSTANT_R)).value_in_unit(unit.kelvin)
        energies = (force.getShortRangeEnergy, force.getLongRangeEnergy, force.getEmbeddingEnergy)
        short_range, long_range, embedding = (get(context).value_in_unit(unit.kilojoule_per_mole) for get in energies)
        charge = force.getLatentCharges(context)[0].sum()
        print(f"{step:8d} {kelvin:8.1f} {short_range:18.4f} {long_range:18.4f} {embedding:21.4f} {charge:10.4f}")


if __name__ == "__main__":
    main()
