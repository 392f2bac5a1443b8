"""LESForce under a plain integrator and the minimiser."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import unit
from openmm_systems import make_context, waters

from les_md.openmm import LESForce


def test_verlet_conserves_energy(model_file, platform):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    context = make_context(atoms, force, platform=platform, integrator=openmm.VerletIntegrator(0.0002))
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=10)
    context.setVelocitiesToTemperature(100.0, 2)
    totals, kinetic = [], []
    for _ in range(20):
        context.getIntegrator().step(5)
        state = context.getState(energy=True)
        kinetic.append(state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole))
        totals.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) + kinetic[-1])
    assert np.ptp(kinetic) > 1.0
    assert np.ptp(totals) < 0.005 * np.ptp(kinetic)


def test_minimiser_with_a_python_reporter(model_file, platform):
    """OpenMM holds Python's lock during such a minimisation, which torch's backward pass refuses."""
    energies = []

    class Reporter(openmm.MinimizationReporter):
        def report(self, iteration, x, grad, args):
            energies.append(args["system energy"])
            return False

    atoms = waters(periodic=True)
    context = make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols()), platform=platform)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 10, Reporter())
    assert len(energies) > 2
    assert energies[-1] < energies[0]


def test_run_continues_from_a_checkpoint_as_if_never_stopped(model_file):
    atoms = waters(periodic=True)
    contexts = [make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols(), threads=1)) for _ in range(2)]
    contexts[0].setVelocitiesToTemperature(300.0, 5)
    contexts[0].getIntegrator().step(10)
    contexts[1].loadCheckpoint(contexts[0].createCheckpoint())
    positions = []
    for context in contexts:
        context.getIntegrator().step(10)
        positions.append(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    np.testing.assert_allclose(positions[1], positions[0], atol=1e-10)
