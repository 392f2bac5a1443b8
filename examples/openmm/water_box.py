"""MD of a periodic box with an LES model in OpenMM: `python water_box.py model.les.pt start.xyz`.

Reads one frame (any format of ASE, with a cell), heats it to 300 K with a Langevin integrator and writes temperature,
energies and the learned charge of the first atom.
"""

from __future__ import annotations

import argparse

import ase.io
import openmm
from openmm import unit

from les_md.openmm import LESForce


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="file written by les-export")
    parser.add_argument("frame", help="start, for instance the last frame of reference.xyz")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--platform", default="CPU")
    arguments = parser.parse_args()
    atoms = ase.io.read(arguments.frame)

    # OpenMM wants lattice vectors in its reduced, lower triangular form
    cell, rotation = atoms.cell.standard_form()
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(cell * 0.1))
    for mass in atoms.get_masses():
        system.addParticle(mass)
    force = LESForce(arguments.model, atoms.get_chemical_symbols())
    system.addForce(force)

    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 10 / unit.picosecond, 0.5 * unit.femtosecond)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(arguments.platform))
    context.setPositions(atoms.positions @ rotation.T * 0.1)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 1)

    print(f"{'step':>6} {'T / K':>8} {'E_short / kJ/mol':>18} {'E_long / kJ/mol':>18} {'q_0 / e':>10}")
    for step in range(0, arguments.steps + 1, max(arguments.steps // 10, 1)):
        integrator.step(step - context.getStepCount())
        state = context.getState(energy=True)
        temperature = 2 * state.getKineticEnergy() / (3 * len(atoms) * unit.MOLAR_GAS_CONSTANT_R)
        short_range = force.getShortRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole)
        long_range = force.getLongRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole)
        charge = force.getLatentCharges(context)[0].sum()
        kelvin = temperature.value_in_unit(unit.kelvin)
        print(f"{step:6d} {kelvin:8.1f} {short_range:18.4f} {long_range:18.4f} {charge:10.4f}")


if __name__ == "__main__":
    main()
