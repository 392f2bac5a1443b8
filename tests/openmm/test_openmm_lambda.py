"""The global parameter that scales the energy, and its derivative."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, energy_of, evaluate, make_context, waters

from les_md.errors import LESError
from les_md.openmm import LESForce

NO_FIELD = dict.fromkeys(LESForce.getElectricFieldNames(), 0.0)


def derivatives_of(context: openmm.Context, groups: int = -1) -> dict[str, float]:
    """Energy parameter derivatives, kJ/mol."""
    return dict(context.getState(parameterDerivatives=True, groups=groups).getEnergyParameterDerivatives())


def test_lambda_scales_energy_and_forces(model_file, platform):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    context = make_context(atoms, force, platform=platform)
    assert dict(context.getParameters()) == {"LESForceLambda": 1.0, **NO_FIELD}
    full, charges = evaluate(context), force.getLatentCharges(context)
    short_range = force.getShortRangeEnergy(context)
    context.setParameter("LESForceLambda", 0.3)
    scaled = evaluate(context)
    assert scaled.energy == pytest.approx(0.3 * full.energy, rel=1e-12)
    np.testing.assert_allclose(scaled.forces, 0.3 * full.forces, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(force.getLatentCharges(context), charges)
    assert force.getShortRangeEnergy(context) == short_range


def test_default_and_name(model_file, platform):
    atoms = waters(periodic=False)
    symbols = atoms.get_chemical_symbols()
    forces = [LESForce(model_file(n_channels=channels), symbols, periodic=False) for channels in (1, 2)]
    energies = [energy_of(make_context(atoms, force, platform=platform)) for force in forces]
    forces = [LESForce(model_file(n_channels=channels), symbols, periodic=False) for channels in (1, 2)]
    forces[1].setLambdaName("second_model")
    forces[1].setDefaultLambda(0.25)
    context = make_context(atoms, *forces, platform=platform)
    assert dict(context.getParameters()) == {"LESForceLambda": 1.0, "second_model": 0.25, **NO_FIELD}
    assert energy_of(context) == pytest.approx(energies[0] + 0.25 * energies[1], rel=1e-12)


def test_derivative_is_the_energy_of_the_model(model_file, platform):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    force = LESForce(model_file(), symbols)
    force.addEnergyParameterDerivative("LESForceLambda")
    force.setForceGroup(1)
    assert force.getNumEnergyParameterDerivatives() == 1
    assert force.getEnergyParameterDerivativeName(0) == "LESForceLambda"
    bond = openmm.CustomBondForce("LESForceLambda*r")
    bond.addGlobalParameter("LESForceLambda", 1.0)
    bond.addEnergyParameterDerivative("LESForceLambda")
    bond.addBond(0, 1)
    length = atoms.get_distance(0, 1) * 0.1
    context = make_context(atoms, force, bond, platform=platform)
    energies = []
    for value in (0.9, 1.1):
        context.setParameter("LESForceLambda", value)
        energies.append(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    difference = (energies[1] - energies[0]) / 0.2
    for _ in range(2):
        assert derivatives_of(context)["LESForceLambda"] == pytest.approx(difference, rel=1e-9)
    assert derivatives_of(context, groups=0b01)["LESForceLambda"] == pytest.approx(length, rel=1e-6)
    without_bond = derivatives_of(context, groups=0b10)["LESForceLambda"]
    assert without_bond == pytest.approx(difference - length, rel=1e-9)


def test_derivatives_leave_energy_and_forces_alone(model_file, platform):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    expected = make_context(atoms, LESForce(model_file(), symbols), platform=platform)
    force = LESForce(model_file(), symbols)
    force.addEnergyParameterDerivative("LESForceLambda")
    force.addEnergyParameterDerivative("LESForceFieldY")
    context = make_context(atoms, force, platform=platform)
    for value in (1.0, 0.1, 1.0 / 3.0):
        for one in (expected, context):
            one.setParameter("LESForceLambda", value)
            one.setPositions(atoms.positions * 0.1 * value)
        energies = derivatives_of(context)["LESForceLambda"]
        assert energies == pytest.approx(energy_of(expected) / value * KILOJOULE_PER_MOLE_PER_EV, rel=1e-12)
        assert energy_of(context) == energy_of(expected)
        np.testing.assert_array_equal(evaluate(context).forces, evaluate(expected).forces)
    assert context.getMolecules() == expected.getMolecules()


def test_derivative_follows_the_atoms(model_file, platform):
    """In a run, where GPU platforms put atoms into an order of their own."""
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    force.addEnergyParameterDerivative("LESForceLambda")
    force.setDefaultLambda(0.5)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0005)
    context = make_context(atoms, force, integrator=integrator, platform=platform)
    for _ in range(5):
        integrator.step(60)
        slope = derivatives_of(context)["LESForceLambda"] / KILOJOULE_PER_MOLE_PER_EV
        assert slope == pytest.approx(2.0 * energy_of(context), rel=1e-9)


def test_custom_integrator_sees_the_derivative(model_file, platform):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    force.addEnergyParameterDerivative("LESForceLambda")
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addGlobalVariable("slope", 0.0)
    integrator.addComputeGlobal("slope", "deriv(energy, LESForceLambda)")
    context = make_context(atoms, force, integrator=integrator, platform=platform)
    integrator.step(1)
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert integrator.getGlobalVariableByName("slope") == pytest.approx(energy, rel=1e-12)


def test_collective_variable_force_gives_the_derivative(model_file, platform):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    expected = energy_of(make_context(atoms, LESForce(model_file(), symbols), platform=platform))
    scaled = openmm.CustomCVForce("coupling*les")
    scaled.addGlobalParameter("coupling", 0.5)
    scaled.addEnergyParameterDerivative("coupling")
    scaled.addCollectiveVariable("les", LESForce(model_file(), symbols))
    context = make_context(atoms, scaled, platform=platform)
    assert energy_of(context) == pytest.approx(0.5 * expected, rel=1e-12)
    slope = derivatives_of(context)["coupling"]
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert slope == pytest.approx(2.0 * energy, rel=1e-6)


def test_derivative_of_another_parameter(model_file):
    force = LESForce(model_file(), ["O", "H", "H"])
    message = "derivative must be of one of its global parameters, LESForceLambda and LESForceFieldX, Y, Z, got other"
    with pytest.raises(LESError, match=message):
        force.addEnergyParameterDerivative("other")
    with pytest.raises(LESError, match="index of an energy parameter derivative must be less than 0, got 0"):
        force.getEnergyParameterDerivativeName(0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_lambda_that_is_no_number(model_file, value):
    atoms = waters(periodic=True)
    context = make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols()))
    context.setParameter("LESForceLambda", value)
    with pytest.raises(openmm.OpenMMException, match="LESForceLambda must be a finite number, got"):
        energy_of(context)


def test_name_of_lambda_that_is_empty(model_file):
    with pytest.raises(LESError, match="name of the parameter that scales the energy must not be empty"):
        LESForce(model_file(), ["O", "H", "H"]).setLambdaName("")
