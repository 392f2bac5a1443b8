"""LESForce under OpenMM's special integrators: ring polymers, multiple time steps, programs of a CustomIntegrator."""

from __future__ import annotations

import numpy as np
import openmm
import openmm.mtsintegrator
import pytest
from openmm import unit
from openmm_systems import make_context, waters

from les_md.openmm import LESForce

KILOJOULE = unit.kilojoule_per_mole


def total_energies(context: openmm.Context, blocks: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Total and kinetic energies along a run, kJ/mol."""
    totals, kinetic = [], []
    for _ in range(blocks):
        context.getIntegrator().step(steps)
        state = context.getState(energy=True)
        kinetic.append(state.getKineticEnergy().value_in_unit(KILOJOULE))
        totals.append(state.getPotentialEnergy().value_in_unit(KILOJOULE) + kinetic[-1])
    return np.array(totals), np.array(kinetic)


def relaxed(atoms, model, platform: str = "Reference") -> None:
    """Moves `atoms` towards a minimum of `model`."""
    context = make_context(atoms, LESForce(model, atoms.get_chemical_symbols()), platform=platform)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    atoms.positions = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


@pytest.mark.parametrize("contractions", [{}, {1: 2}], ids=["full", "contracted"])
def test_ring_polymer_copies_have_their_own_energy(model_file, platform, contractions):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    relaxed(atoms, model_file())
    force = LESForce(model_file(), symbols)
    force.setForceGroup(1)
    integrator = openmm.RPMDIntegrator(4, 300.0, 1.0, 0.0001, contractions)
    integrator.setApplyThermostat(False)
    integrator.setRandomNumberSeed(2)
    context = make_context(atoms, force, platform=platform, integrator=integrator)
    assert context.getParameter("LESForceLambda") == 1.0
    copies = []
    for copy in range(4):
        beads = atoms.copy()
        beads.rattle(0.01, seed=copy)
        copies.append(beads)
        integrator.setPositions(copy, beads.positions * 0.1)
        integrator.setVelocities(copy, np.zeros((24, 3)))
    for copy, beads in enumerate(copies):
        state = integrator.getState(copy, getEnergy=True, getForces=True)
        alone = make_context(beads, LESForce(model_file(), symbols), platform=platform).getState(
            energy=True, forces=True
        )
        energies = [s.getPotentialEnergy().value_in_unit(KILOJOULE) for s in (state, alone)]
        assert energies[0] == pytest.approx(energies[1], rel=1e-9)
        forces = [s.getForces(asNumpy=True).value_in_unit(KILOJOULE / unit.nanometer) for s in (state, alone)]
        np.testing.assert_allclose(forces[0], forces[1], rtol=0, atol=1e-4)
    before = integrator.getTotalEnergy().value_in_unit(KILOJOULE)
    springs_and_motion = []
    for _ in range(5):
        integrator.step(2)
        states = [integrator.getState(copy, getEnergy=True) for copy in range(4)]
        springs_and_motion.append(sum(s.getKineticEnergy().value_in_unit(KILOJOULE) for s in states))
    assert max(springs_and_motion) > 0.1
    if not contractions:
        after = integrator.getTotalEnergy().value_in_unit(KILOJOULE)
        assert after == pytest.approx(before, abs=0.05 * max(springs_and_motion))


@pytest.mark.parametrize("fast", ["bonds", "les"])
def test_multiple_time_steps_conserve_energy(model_file, platform, fast):
    atoms = waters(periodic=True)
    relaxed(atoms, model_file())
    les = LESForce(model_file(), atoms.get_chemical_symbols())
    bonds = openmm.HarmonicBondForce()
    for oxygen in range(0, 24, 3):
        for hydrogen in (1, 2):
            length = atoms.get_distance(oxygen, oxygen + hydrogen) * 0.1
            bonds.addBond(oxygen, oxygen + hydrogen, length, 2.0e5 if fast == "bonds" else 2.0e3)
    bonds.setForceGroup(0 if fast == "les" else 1)
    les.setForceGroup(1 if fast == "les" else 0)
    integrator = openmm.mtsintegrator.MTSIntegrator(0.0004, [(0, 1), (1, 4)])
    context = make_context(atoms, les, bonds, platform=platform, integrator=integrator)
    context.setVelocitiesToTemperature(100.0, 2)
    totals, kinetic = total_energies(context, 15, 3)
    assert np.ptp(kinetic) > 1.0
    assert np.ptp(totals) < 0.02 * np.ptp(kinetic)


def test_multiple_time_step_langevin_reaches_the_temperature(model_file, platform):
    atoms = waters(periodic=True)
    relaxed(atoms, model_file())
    les = LESForce(model_file(), atoms.get_chemical_symbols())
    les.setForceGroup(1)
    integrator = openmm.mtsintegrator.MTSLangevinIntegrator(300.0, 100.0, 0.0004, [(1, 1), (0, 2)])
    integrator.setRandomNumberSeed(3)
    context = make_context(atoms, les, platform=platform, integrator=integrator)
    _, kinetic = total_energies(context, 20, 5)
    expected = 1.5 * 24 * (unit.MOLAR_GAS_CONSTANT_R * 300 * unit.kelvin).value_in_unit(KILOJOULE)
    assert np.mean(kinetic[10:]) == pytest.approx(expected, rel=0.35)


def test_custom_integrator_asks_for_energy_and_forces_apart(model_file, platform):
    atoms = waters(periodic=True)
    les = LESForce(model_file(), atoms.get_chemical_symbols())
    les.setForceGroup(1)
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 3, 0.2, 1000.0)
    integrator = openmm.CustomIntegrator(0.0005)
    for name in ("before", "all", "after"):
        integrator.addGlobalVariable(name, 0.0)
    for name in ("kept", "moved"):
        integrator.addPerDofVariable(name, 0.0)
    integrator.addComputeGlobal("before", "energy1")
    integrator.addComputePerDof("kept", "f1")
    integrator.addComputeGlobal("all", "energy")
    integrator.addComputePerDof("x", "x + 0.01*f1/1000")
    integrator.addComputePerDof("moved", "f1")
    integrator.addComputeGlobal("after", "energy1")
    context = make_context(atoms, les, bond, platform=platform, integrator=integrator)
    first, first_bond = evaluate_group(context, 0b10), evaluate_group(context, 0b01)
    integrator.step(1)
    second = evaluate_group(context, 0b10)
    assert integrator.getGlobalVariableByName("before") == pytest.approx(first[0], rel=1e-9)
    assert integrator.getGlobalVariableByName("all") == pytest.approx(first[0] + first_bond[0], rel=1e-9)
    assert integrator.getGlobalVariableByName("after") == pytest.approx(second[0], rel=1e-9)
    assert first[0] != pytest.approx(second[0], rel=1e-7)
    for name, forces in (("kept", first[1]), ("moved", second[1])):
        got = np.array([[v[0], v[1], v[2]] for v in integrator.getPerDofVariableByName(name)])
        np.testing.assert_allclose(got, forces, rtol=0, atol=1e-6 * np.abs(forces).max())


def evaluate_group(context: openmm.Context, groups: int) -> tuple[float, np.ndarray]:
    """Energy and forces of force groups, kJ/mol and kJ/mol/nm."""
    state = context.getState(energy=True, forces=True, groups=groups)
    forces = state.getForces(asNumpy=True).value_in_unit(KILOJOULE / unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(KILOJOULE), np.array(forces)
