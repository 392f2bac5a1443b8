"""Liquid at constant pressure with an LES model in OpenMM: `python water_npt.py model.les.pt start.xyz`.

Reads one frame (any format of ASE, with a cell), runs it with a Langevin integrator and a Monte Carlo barostat, and
writes the density along the run, the radial distribution function of one element (rdf.csv) and the polarization current
(current.csv, for les-spectra).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ase.io
import numpy as np
import openmm
import vesin
from openmm import app, unit

from les_md.openmm import LESForce, LESReporter


def make_simulation(arguments: argparse.Namespace) -> app.Simulation:
    """The System of the frame: masses, box, LESForce and barostat."""
    atoms = ase.io.read(arguments.frame)
    # OpenMM wants lattice vectors in its reduced, lower triangular form
    cell, rotation = atoms.cell.standard_form()
    box = cell * 0.1 * unit.nanometer
    topology = app.Topology()
    topology.setPeriodicBoxVectors(box)
    residue = topology.addResidue("SYS", topology.addChain())
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*box)
    for atom in atoms:
        element = app.Element.getBySymbol(atom.symbol)
        topology.addAtom(atom.symbol, element, residue)
        system.addParticle(element.mass)
    system.addForce(LESForce(arguments.model, topology))
    pressure, temperature = arguments.pressure * unit.bar, arguments.temperature * unit.kelvin
    barostat = openmm.MonteCarloBarostat(pressure, temperature, 25)
    barostat.setRandomNumberSeed(arguments.seed)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(temperature, 5 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(arguments.seed)
    platform = openmm.Platform.getPlatformByName(arguments.platform)
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(atoms.positions @ rotation.T * 0.1)
    simulation.context.setVelocitiesToTemperature(temperature, arguments.seed)
    return simulation


class RadialDistribution:
    """Histogram of the distances between atoms of one element, as g(r) of an ideal gas of the same density."""

    def __init__(self, topology: app.Topology, element: str, longest: float = 6.0, bins: int = 120) -> None:
        self.chosen = np.array([atom.element.symbol == element for atom in topology.atoms()])
        if not self.chosen.any():
            sys.exit(f"there is no {element} in the frame; name an element with --element")
        self.edges = np.linspace(0.0, longest, bins + 1)
        self.sum = np.zeros(bins)
        self.n_frames = 0

    def add(self, state: openmm.State) -> None:
        """Adds one frame."""
        positions = np.array(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))[self.chosen]
        box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom))
        neighbours = vesin.NeighborList(cutoff=self.edges[-1], full_list=True)
        (distances,) = neighbours.compute(positions, box, True, "d")
        pairs, _ = np.histogram(distances, self.edges)
        shells = 4.0 / 3.0 * np.pi * np.diff(self.edges**3)
        self.sum += pairs / (shells * len(positions) ** 2 / np.linalg.det(box))
        self.n_frames += 1

    def write(self, path: Path) -> None:
        """Writes r in angstrom and g(r)."""
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        table = np.column_stack([centres, self.sum / max(self.n_frames, 1)])
        np.savetxt(path, table, delimiter=",", header="r_angstrom,g", comments="", fmt="%.6g")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="file written by les-export")
    parser.add_argument("frame", help="start, for instance the last frame of reference.xyz")
    parser.add_argument("--steps", type=int, default=20000, help="of 0.5 fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--pressure", type=float, default=1.0, help="bar")
    parser.add_argument("--element", default="O", help="of the radial distribution function")
    parser.add_argument("--platform", default="CPU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("."), help="folder of the files written")
    arguments = parser.parse_args()

    simulation = make_simulation(arguments)
    simulation.minimizeEnergy(maxIterations=50)
    interval = max(arguments.steps // 100, 1)
    simulation.reporters.append(LESReporter(arguments.output / "current.csv", interval))
    distribution = RadialDistribution(simulation.topology, arguments.element)
    mass = sum(
        (simulation.system.getParticleMass(i) for i in range(simulation.system.getNumParticles())), 0 * unit.dalton
    )
    print(f"{'time / ps':>10} {'T / K':>8} {'density / g/cm^3':>17}")
    densities = []
    for block in range(1, 101):
        simulation.step(block * arguments.steps // 100 - simulation.currentStep)
        state = simulation.context.getState(positions=True, energy=True)
        density = (mass / unit.AVOGADRO_CONSTANT_NA / state.getPeriodicBoxVolume()).value_in_unit(
            unit.gram / unit.milliliter
        )
        densities.append(density)
        if block > 20:
            distribution.add(state)
        if block % 10 == 0:
            kelvin = 2 * state.getKineticEnergy() / (3 * len(distribution.chosen) * unit.MOLAR_GAS_CONSTANT_R)
            time = state.getTime().value_in_unit(unit.picosecond)
            print(f"{time:10.3f} {kelvin.value_in_unit(unit.kelvin):8.1f} {density:17.4f}")
    distribution.write(arguments.output / "rdf.csv")
    print(f"mean density of the last four fifths: {np.mean(densities[20:]):.4f} g/cm^3")


if __name__ == "__main__":
    main()
