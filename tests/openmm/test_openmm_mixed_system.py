"""ML/MM Systems: energies are sums of their pieces, forces derivatives; dynamics, barostats, copies."""

from __future__ import annotations

import copy

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV
from water_boxes import ML_RESIDUE, WaterBox, context_of, energy_and_forces, finite_difference, nonbonded_of, water_box

from les_md import ewald
from les_md.constants import COULOMB_CONSTANT
from les_md.engine import Engine
from les_md.openmm import LESForce, create_mixed_system

EMBEDDINGS = ["mechanical", "electrostatic"]
PRECISE = {"solver": "direct"}


def internal_energy(box: WaterBox, system: openmm.System) -> float:
    """Bonds and angle of the molecule of the model, eV, from the parameters of the classical System."""
    atoms, energy = set(box.ml_atoms()), 0.0
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                first, second, length, k = force.getBondParameters(index)
                if {first, second} <= atoms:
                    distance = np.linalg.norm(box.positions[first] - box.positions[second])
                    energy += 0.5 * k._value * (distance - length._value) ** 2
        if isinstance(force, openmm.HarmonicAngleForce):
            for index in range(force.getNumAngles()):
                first, centre, third, angle, k = force.getAngleParameters(index)
                if centre in atoms:
                    arms = [box.positions[i] - box.positions[centre] for i in (first, third)]
                    cosine = arms[0] @ arms[1] / np.linalg.norm(arms[0]) / np.linalg.norm(arms[1])
                    energy += 0.5 * k._value * (np.arccos(cosine) - angle._value) ** 2
    return energy / KILOJOULE_PER_MOLE_PER_EV


def charges_and_positions(box: WaterBox, system: openmm.System) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charges of all particles, positions in angstrom, and which of them are the molecule of the model."""
    nonbonded = nonbonded_of(system)
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(nonbonded.getNumParticles())]
    residue = list(box.topology.residues())[ML_RESIDUE]
    inside = np.isin(np.arange(len(charges)), [atom.index for atom in residue.atoms()])
    context = context_of(system, box.positions)
    positions = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    return np.array(charges), np.array(positions), inside


def energy_of_images(charges: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> float:
    """Energy of a small neutral group with its own periodic images, eV: far away, smeared charges are point charges."""
    values, places = torch.tensor(charges).unsqueeze(1), torch.tensor(positions)
    periodic = ewald.periodic_energy(values, places, torch.tensor(cell), 1.0, 7.5, COULOMB_CONSTANT, True)
    return float(periodic - ewald.isolated_energy(values, places, 1.0, COULOMB_CONSTANT, True))


def model_energy(path, box: WaterBox, periodic: bool, external=None) -> float:
    """Energy of the molecule by the engine, eV, with `external` = charges and positions."""
    engine = Engine(path, **PRECISE)
    charges, positions = external or (np.zeros(0), np.zeros((0, 3)))
    return engine.compute(
        box.positions[box.ml_atoms()] * 10.0,
        engine.types_of(box.ml_symbols()),
        box.cell(),
        periodic,
        external_positions=positions,
        external_charges=charges,
    )["energy"]


@pytest.mark.parametrize("water", ["tip3p", "tip4pew"])
def test_energy_of_mechanical_embedding(model_file, platform, water):
    box = water_box(water)
    system = box.system()
    classical, _ = energy_and_forces(context_of(system, box.positions, platform))
    charges, positions, inside = charges_and_positions(box, system)
    images = energy_of_images(charges[inside], positions[inside], box.cell())
    assert abs(images) > 1e-4
    expected = classical - internal_energy(box, system) - images + model_energy(model_file(), box, True)
    mixed = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), **PRECISE)
    got, _ = energy_and_forces(context_of(mixed, box.positions, platform))
    assert got == pytest.approx(expected, abs=2e-5)
    # an isolated model leaves the images to the classical charges
    isolated = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), periodic=False, **PRECISE)
    expected = classical - internal_energy(box, system) + model_energy(model_file(), box, False)
    assert energy_and_forces(context_of(isolated, box.positions, platform))[0] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("water", ["tip3p", "tip4pew"])
def test_energy_of_electrostatic_embedding(model_file, platform, water):
    box = water_box(water)
    system = box.system()
    charges, positions, inside = charges_and_positions(box, system)
    neutral = copy.deepcopy(system)
    nonbonded = nonbonded_of(neutral)
    for index in np.flatnonzero(inside):
        _, sigma, epsilon = nonbonded.getParticleParameters(int(index))
        nonbonded.setParticleParameters(int(index), 0.0, sigma, epsilon)
    for index in range(nonbonded.getNumExceptions()):
        first, second, *_ = nonbonded.getExceptionParameters(index)
        nonbonded.setExceptionParameters(index, first, second, 0.0, 1.0, 0.0)
    classical, _ = energy_and_forces(context_of(neutral, box.positions, platform))
    outside = charges[~inside], positions[~inside]
    model = model_energy(model_file(), box, True, outside)
    expected = classical - internal_energy(box, system) + model
    mixed = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), "electrostatic", **PRECISE)
    got, _ = energy_and_forces(context_of(mixed, box.positions, platform))
    assert got == pytest.approx(expected, abs=2e-6)
    assert abs(model - model_energy(model_file(), box, True)) > 1e-2


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("water", ["tip3p", "tip4pew"])
def test_forces_are_derivatives(model_file, embedding, water):
    box = water_box(water)
    mixed = create_mixed_system(box.topology, box.system(), box.ml_atoms(), model_file(), embedding, **PRECISE)
    context = context_of(mixed, box.positions)
    _, forces = energy_and_forces(context)
    atoms = box.ml_atoms()
    distances = np.linalg.norm(box.positions - box.positions[atoms[2]], axis=1)
    names = [atom.name for atom in box.topology.atoms()]
    near = [int(i) for i in np.argsort(distances) if i not in atoms and names[i] in ("O", "H1")][:2]
    for particle, axis in [(atoms[0], 0), (atoms[2], 1), (near[0], 2), (near[1], 0)]:
        got = finite_difference(context, box.positions, particle, axis)
        assert got == pytest.approx(forces[particle, axis], rel=1e-4, abs=2e-3)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_molecules_may_be_in_other_images(model_file, platform, embedding):
    box = water_box()
    residues = list(box.topology.residues())
    atoms = [atom.index for index in (ML_RESIDUE, ML_RESIDUE + 3) for atom in residues[index].atoms()]
    mixed = create_mixed_system(box.topology, box.system(), atoms, model_file(), embedding, **PRECISE)
    expected = energy_and_forces(context_of(mixed, box.positions, platform))
    moved = box.positions.copy()
    moved[atoms[3:]] += 0.1 * box.cell()[0] - 0.2 * box.cell()[2]
    got = energy_and_forces(context_of(mixed, moved, platform))
    assert got[0] == pytest.approx(expected[0], abs=1e-4)
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_no_net_force_and_no_periodicity(model_file, platform, embedding):
    """A droplet without cutoff: everything is a sum over pairs."""
    box = water_box()
    system = box.system(method=app.NoCutoff)
    mixed = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), embedding)
    context = context_of(mixed, box.positions, platform)
    energy, forces = energy_and_forces(context)
    np.testing.assert_allclose(forces.sum(0), 0.0, atol=2e-4)
    shifted, _ = energy_and_forces(context_of(mixed, box.positions + np.array([0.3, -0.2, 0.1]), platform))
    assert shifted == pytest.approx(energy, abs=1e-5)


def springs(box: WaterBox) -> openmm.HarmonicBondForce:
    """Random weights do not hold a molecule together."""
    first, second, oxygen = box.ml_atoms()
    force = openmm.HarmonicBondForce()
    for pair in ((first, oxygen), (second, oxygen), (first, second)):
        force.addBond(*pair, float(np.linalg.norm(box.positions[pair[0]] - box.positions[pair[1]])), 4e5)
    return force


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_energy_is_conserved(model_file, embedding):
    box = water_box()
    system = box.system(rigid=True)
    nonbonded_of(system).setUseSwitchingFunction(True)
    nonbonded_of(system).setSwitchingDistance(0.45)
    mixed = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), embedding)
    mixed.addForce(springs(box))
    integrator = openmm.VerletIntegrator(0.00025)
    integrator.setConstraintTolerance(1e-8)
    context = context_of(mixed, box.positions, "CPU", integrator)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=10)
    context.setVelocitiesToTemperature(300.0, 2)
    integrator.step(10)
    energies = []
    for _ in range(6):
        integrator.step(8)
        state = context.getState(energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        energies.append(total.value_in_unit(unit.kilojoule_per_mole))
    kinetic = context.getState(energy=True).getKineticEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert np.ptp(energies) < 3e-4 * kinetic


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_barostat_moves_whole_molecules(model_file, embedding):
    box = water_box()
    system = box.system(rigid=True)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0, 2))
    mixed = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), embedding)
    mixed.addForce(springs(box))
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    context = context_of(mixed, box.positions, "CPU", integrator)
    assert sorted(map(sorted, context.getMolecules())) == sorted(
        map(sorted, context_of(system, box.positions).getMolecules())
    )
    volumes = set()
    for _ in range(8):
        integrator.step(4)
        state = context.getState(energy=True)
        volumes.add(state.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3))
        assert np.isfinite(state.getPotentialEnergy()._value)
    assert len(volumes) >= 3


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_copies_and_xml(model_file, embedding):
    box = water_box()
    system = box.system(rigid=True)
    before = openmm.XmlSerializer.serialize(system)
    mixed = create_mixed_system(
        box.topology, system, box.ml_atoms(), model_file(), embedding, force_group=3, threads=1, accuracy=1e-5
    )
    assert openmm.XmlSerializer.serialize(system) == before
    xml = openmm.XmlSerializer.serialize(mixed)
    expected = energy_and_forces(context_of(mixed, box.positions))
    for other in (copy.deepcopy(mixed), openmm.XmlSerializer.deserialize(xml)):
        assert openmm.XmlSerializer.serialize(other) == xml
        got = energy_and_forces(context_of(other, box.positions))
        assert got[0] == expected[0]
        np.testing.assert_array_equal(got[1], expected[1])
    (force,) = (LESForce.cast(force) for force in mixed.getForces() if LESForce.isinstance(force))
    assert force.getForceGroup() == 3
    assert force.getEmbedding() == embedding
    assert (force.getThreads(), force.getAccuracy()) == (1, 1e-5)
    assert force.getParticles() == box.ml_atoms()
    assert mixed.getNumConstraints() == system.getNumConstraints() - 3


def test_constraints_stay_if_asked_for(model_file):
    box = water_box()
    system = box.system(rigid=True)
    mixed = create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), remove_constraints=False)
    assert mixed.getNumConstraints() == system.getNumConstraints()
