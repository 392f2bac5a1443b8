"""The ways from OpenMM to an LES model that are compared: each makes a System of a topology.

`les` is the package's force. The Python routes are what openmm-ml does today for models without a plugin: an
openmm.PythonForce whose function takes positions from the State, builds a neighbour list, calls the PyTorch model and
differentiates it. TorchForce belongs to OpenMM-Torch and runs where les-md is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import openmm.app
from openmm import unit

Task = dict[str, Any]
Made = tuple[openmm.System, Any]  # with the force, if it can tell where its time goes


def empty_system(task: Task, topology: openmm.app.Topology) -> Made:
    """OpenMM's own step, to know what is not the force's."""
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*topology.getPeriodicBoxVectors())
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    return system, None


def les_force(task: Task, topology: openmm.app.Topology) -> Made:
    """The package's force."""
    from les_md.openmm import LESForce

    system, _ = empty_system(task, topology)
    force = LESForce(task["model"], topology, accuracy=task["accuracy"], threads=len(task["cores"]))
    system.addForce(force)
    return system, force


def python_force(task: Task, topology: openmm.app.Topology, solver: str = "direct") -> Made:
    """A PythonForce around the PyTorch model, with vesin's neighbour list and autograd.

    `solver` of the long-range sum: "direct", as in the published LES code, or "mesh", the package's torch function.
    """
    import torch
    from ase import Atoms

    from les_md import fields
    from les_md.batch import frame_from_atoms
    from les_md.constants import KILOJOULE_PER_MOLE_PER_EV
    from les_md.export import load_exported
    from les_md.forces import PeriodicSum, evaluate

    torch.set_num_threads(len(task["cores"]))
    model, record = load_exported(task["model"])
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    atoms = Atoms([atom.element.symbol for atom in topology.atoms()], pbc=True)
    periodic_sum = PeriodicSum(solver=solver, accuracy=task["accuracy"])  # type: ignore[arg-type]

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        atoms.cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        frame = frame_from_atoms(atoms, record["symbols"], record["cutoff"])
        result = evaluate(model, frame, virial=False, periodic_sum=periodic_sum)
        energy = result[fields.ENERGY].item() * KILOJOULE_PER_MOLE_PER_EV
        return energy, result[fields.FORCES].numpy() * (10.0 * KILOJOULE_PER_MOLE_PER_EV)

    system, _ = empty_system(task, topology)
    force = openmm.PythonForce(compute)
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)
    return system, None


def python_force_with_mesh(task: Task, topology: openmm.app.Topology) -> Made:
    """The same with the mesh in place of the direct sum."""
    return python_force(task, topology, "mesh")


def ase_potential(task: Task, topology: openmm.app.Topology) -> Made:
    """openmm-ml's potential "ase" with the package's calculator: the compiled engine, by way of Python."""
    from openmmml import MLPotential

    from les_md.ase import LESCalculator

    calculator = LESCalculator(task["model"], accuracy=task["accuracy"], threads=len(task["cores"]))
    return MLPotential("ase").createSystem(topology, calculator=calculator, removeCMMotion=False), None


def torch_force(task: Task, topology: openmm.app.Topology) -> Made:
    """OpenMM-Torch on the file bound to these atoms."""
    import openmmtorch
    import torch

    torch.set_num_threads(len(task["cores"]))
    system, _ = empty_system(task, topology)
    force = openmmtorch.TorchForce(task["bound_model"])
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)
    return system, None


#: Name on the command line: label in the report and function.
ROUTES: dict[str, tuple[str, Callable[[Task, openmm.app.Topology], Made]]] = {
    "les": ("LESForce", les_force),
    "python-mesh": ("PythonForce, mesh", python_force_with_mesh),
    "python": ("PythonForce, direct sum", python_force),
    "ase": ("openmm-ml `ase`, LESCalculator", ase_potential),
    "torchforce": ("TorchForce", torch_force),
    "none": ("OpenMM without a force", empty_system),
}
