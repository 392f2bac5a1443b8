"""Models, systems and Contexts shared by the OpenMM tests: a few water molecules, in a triclinic cell or isolated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase.build
import numpy as np
import openmm
import torch
from openmm import unit

from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings

KILOJOULE_PER_MOLE_PER_EV = (1 * unit.elementary_charge * unit.volt * unit.AVOGADRO_CONSTANT_NA).value_in_unit(
    unit.kilojoule_per_mole
)
#: Lattice vectors in rows, angstrom, in OpenMM's reduced form; the cutoff of the test models is more than half of it.
TRICLINIC_CELL = np.array([[6.4, 0.0, 0.0], [1.1, 6.2, 0.0], [-0.9, 1.3, 6.3]])


def make_model(
    dtype: str = "float64",
    n_channels: int = 1,
    neutrality: bool = False,
    k_cutoff: float | None = None,
    charge_flux: bool = False,
) -> LESModel:
    """A small model of H and O with random weights and element offsets."""
    torch.manual_seed(3)
    long_range = None
    if n_channels:
        long_range = LongRangeSettings(
            n_channels=n_channels, neutrality=neutrality, k_cutoff=k_cutoff, charge_flux=charge_flux
        )
    settings = ModelSettings(
        symbols=["H", "O"],
        cutoff=4.0,
        n_radial=4,
        l_max=2,
        body_order=3,
        channels=4,
        hidden=[8],
        dtype=dtype,
        long_range=long_range,
    )
    model = LESModel(settings)
    if charge_flux:
        model.element_charges.fixed.copy_(torch.tensor([[0.4], [-0.8]]))
    model.set_offsets(torch.tensor([-13.6, -432.5], dtype=torch.float64))
    return model.eval()


def waters(periodic: bool) -> ase.Atoms:
    """Eight molecules in random directions on a grid, with TRICLINIC_CELL or without cell."""
    generator = np.random.default_rng(5)
    atoms = ase.Atoms()
    for index in np.ndindex(2, 2, 2):
        molecule = ase.build.molecule("H2O")
        molecule.euler_rotate(*generator.uniform(0.0, 180.0, 3))
        molecule.positions += np.array(index) @ TRICLINIC_CELL / 2 + generator.normal(0.0, 0.05, (3, 3))
        atoms += molecule
    if periodic:
        atoms.set_cell(TRICLINIC_CELL)
        atoms.pbc = True
    return atoms


@dataclass
class Evaluation:
    """What a Context says, in eV and angstrom."""

    energy: float
    forces: np.ndarray


def make_context(
    atoms: ase.Atoms, *forces: openmm.Force, platform: str = "Reference", integrator: Any = None
) -> openmm.Context:
    """A Context of `atoms` with `forces`."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    for force in forces:
        system.addForce(force)
    integrator = integrator or openmm.VerletIntegrator(0.0002)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(atoms.positions * 0.1)
    return context


def energy_of(context: openmm.Context) -> float:
    """Potential energy, eV."""
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return float(energy / KILOJOULE_PER_MOLE_PER_EV)


def evaluate(context: openmm.Context) -> Evaluation:
    """Energy and forces at the present state."""
    forces = (
        context.getState(forces=True).getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    )
    return Evaluation(energy_of(context), np.asarray(forces) / KILOJOULE_PER_MOLE_PER_EV)
