"""Classical water boxes for the ML/MM tests, and how their energies and forces are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import openmm
from openmm import app, unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV

#: The molecule that the model describes: its residue, in the middle of the box.
ML_RESIDUE = 40


@dataclass
class WaterBox:
    """Topology and positions (n, 3) in nm of a cubic box; positions of virtual sites are right."""

    topology: app.Topology
    positions: np.ndarray
    forcefield: app.ForceField

    def system(self, rigid: bool = False, method: Any = app.PME) -> openmm.System:
        """The classical System, its lattice sum accurate enough for comparisons; without box for NoCutoff."""
        options = {} if method is app.NoCutoff else {"nonbondedCutoff": 0.6 * unit.nanometer}
        system = self.forcefield.createSystem(
            self.topology, nonbondedMethod=method, constraints=None, rigidWater=rigid, **options
        )
        if method in (app.Ewald, app.PME, app.LJPME):
            nonbonded_of(system).setEwaldErrorTolerance(1e-6)
        return system

    def ml_atoms(self) -> list[int]:
        """Atoms of the molecule of the model, hydrogens first."""
        residue = list(self.topology.residues())[ML_RESIDUE]
        oxygen, *hydrogens = (atom.index for atom in residue.atoms() if atom.element is not None)
        return [*hydrogens, oxygen]

    def ml_symbols(self) -> list[str]:
        return ["H", "H", "O"]

    def cell(self) -> np.ndarray:
        """(3, 3), angstrom."""
        vectors = self.topology.getPeriodicBoxVectors().value_in_unit(unit.angstrom)
        return np.array([list(vector) for vector in vectors])


@lru_cache
def water_box(water: str = "tip3p", length: float = 1.5) -> WaterBox:
    """A box of `length` in nm; `water` is "tip3p" or "tip4pew", whose fourth particle is a virtual site."""
    forcefield = app.ForceField(f"{water}.xml")
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(forcefield, model=water, boxSize=openmm.Vec3(length, length, length) * unit.nanometer)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return WaterBox(modeller.topology, positions, forcefield)


def nonbonded_of(system: openmm.System) -> openmm.NonbondedForce:
    (force,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return force


def context_of(
    system: openmm.System, positions: np.ndarray, platform: str = "Reference", integrator: Any = None
) -> openmm.Context:
    """A Context at `positions` in nm."""
    integrator = integrator or openmm.VerletIntegrator(0.00025)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(positions)
    context.computeVirtualSites()
    return context


def energy_and_forces(context: openmm.Context) -> tuple[float, np.ndarray]:
    """eV and eV/angstrom."""
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    return float(energy) / KILOJOULE_PER_MOLE_PER_EV, np.asarray(forces) / KILOJOULE_PER_MOLE_PER_EV


def finite_difference(context: openmm.Context, positions: np.ndarray, particle: int, axis: int) -> float:
    """-dE/dr of one particle, virtual sites following, eV/angstrom."""
    step = 2e-5  # nm
    energies = []
    for sign in (1, -1):
        moved = positions.copy()
        moved[particle, axis] += sign * step
        context.setPositions(moved)
        context.computeVirtualSites()
        energies.append(energy_and_forces(context)[0])
    context.setPositions(positions)
    context.computeVirtualSites()
    return -(energies[0] - energies[1]) / (20.0 * step)
