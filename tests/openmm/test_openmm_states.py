"""States, checkpoints and Contexts: what is saved and put back, several Contexts side by side, positions in the box."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openmm
import pytest
from openmm import unit
from openmm_systems import energy_of, evaluate, make_context, waters

from les_md.openmm import LESForce


def make_run(model, platform: str = "Reference", seed: int = 5, integrator=None) -> openmm.Context:
    """A run of `waters` at 300 K, with a Langevin integrator unless another is given."""
    atoms = waters(periodic=True)
    if integrator is None:
        integrator = openmm.LangevinMiddleIntegrator(300.0, 10.0, 0.0002)
        integrator.setRandomNumberSeed(seed)
    force = LESForce(model, atoms.get_chemical_symbols(), threads=1)
    context = make_context(atoms, force, platform=platform, integrator=integrator)
    context.setVelocitiesToTemperature(300.0, seed)
    return context


def positions_of(context: openmm.Context) -> np.ndarray:
    """Positions (n, 3), angstrom."""
    return np.array(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom))


def test_run_continues_from_a_state_in_xml(model_file):
    atoms = waters(periodic=True)
    contexts = [make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols(), threads=1)) for _ in range(2)]
    contexts[0].setVelocitiesToTemperature(300.0, 5)
    contexts[0].setPeriodicBoxVectors(*(atoms.cell.array * 0.1 * 1.01))
    contexts[0].setParameter("LESForceLambda", 0.5)
    contexts[0].getIntegrator().step(5)
    state = contexts[0].getState(positions=True, velocities=True, parameters=True, integratorParameters=True)
    contexts[1].setState(openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(state)))
    assert contexts[1].getParameter("LESForceLambda") == 0.5
    for context in contexts:
        context.getIntegrator().step(5)
    np.testing.assert_allclose(positions_of(contexts[1]), positions_of(contexts[0]), rtol=0, atol=1e-10)


def test_checkpoint_restores_the_random_numbers_too(model_file, platform):
    context = make_run(model_file(), platform)
    context.getIntegrator().step(5)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(5)
    expected = positions_of(context)
    context.getIntegrator().step(5)
    context.loadCheckpoint(checkpoint)
    context.getIntegrator().step(5)
    np.testing.assert_allclose(positions_of(context), expected, rtol=0, atol=1e-9)


def test_reinitialized_context_goes_on(model_file, platform):
    context = make_run(model_file(), platform)
    context.setParameter("LESForceLambda", 0.75)
    context.getIntegrator().step(3)
    expected = energy_of(context)
    context.reinitialize(preserveState=True)
    assert context.getParameter("LESForceLambda") == 0.75
    assert energy_of(context) == pytest.approx(expected, rel=1e-12)
    context.getIntegrator().step(3)
    assert energy_of(context) != expected
    context.reinitialize()
    with pytest.raises(openmm.OpenMMException, match="positions have not been set"):
        energy_of(context)


def test_wrapped_positions_have_the_same_energy_and_forces(model_file, platform):
    context = make_run(model_file(), platform)
    shift = np.array([7.3, -20.1, 40.0])
    context.setPositions((positions_of(context) + shift) * 0.1)
    expected = evaluate(context)
    wrapped = context.getState(positions=True, enforcePeriodicBox=True).getPositions(asNumpy=True)
    assert np.abs(wrapped.value_in_unit(unit.angstrom) - positions_of(context)).max() > 5.0
    context.setPositions(wrapped)
    got = evaluate(context)
    assert got.energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-8)


def test_molecules_are_wrapped_as_a_whole(model_file, platform):
    atoms = waters(periodic=True)
    lengths = [atoms.get_distance(3 * molecule, 3 * molecule + 1) for molecule in range(8)]
    atoms.positions += [0.0, 0.0, 1.5]  # some molecules lie across the faces of the box

    def broken(*bonds: tuple[int, int]) -> int:
        """Molecules that lose a hydrogen when positions are wrapped."""
        force = LESForce(model_file(), atoms.get_chemical_symbols())
        for bond in bonds:
            force.addBond(*bond)
        assert force.getBonds() == list(bonds)
        context = make_context(atoms, force, platform=platform)
        state = context.getState(positions=True, enforcePeriodicBox=True)
        wrapped = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        assert context.getMolecules() == (
            tuple(tuple(range(3 * m, 3 * m + 3)) for m in range(8)) if bonds else tuple((i,) for i in range(24))
        )
        return sum(abs(np.linalg.norm(wrapped[3 * m] - wrapped[3 * m + 1]) - lengths[m]) > 1e-3 for m in range(8))

    assert broken() > 0
    assert broken(*((3 * m, 3 * m + h) for m in range(8) for h in (1, 2))) == 0


def test_isolated_model_in_a_periodic_system_is_one_molecule(model_file, platform):
    """It knows no periodic images, so a barostat must not put its atoms into the box one by one."""
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    molecule = [0, 1, 2]
    atoms.positions -= atoms.positions[0]  # across a corner of the box
    force = LESForce(model_file(), symbols[:3], periodic=False, particles=molecule)
    rest = openmm.NonbondedForce()
    rest.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    rest.setCutoffDistance(0.3)
    for _ in atoms:
        rest.addParticle(0.0, 0.1, 0.0)
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 1)
    barostat.setRandomNumberSeed(1)
    integrator = openmm.VerletIntegrator(1e-9)
    context = make_context(atoms, force, rest, barostat, platform=platform, integrator=integrator)
    expected = energy_of(context)
    integrator.step(20)
    volume = context.getState().getPeriodicBoxVolume().value_in_unit(unit.angstrom**3)
    assert abs(volume - atoms.get_volume()) > 1e-3
    assert energy_of(context) == pytest.approx(expected, abs=1e-6)


def test_bond_beyond_the_system(model_file):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    force.addBond(0, 24)
    with pytest.raises(openmm.OpenMMException, match=r"between particles of the System \(24\), got 0 and 24"):
        make_context(atoms, force)


def test_contexts_in_threads_do_not_disturb_each_other(model_file):
    """OpenMM steps without Python's lock, so these runs are under way at the same time."""
    models = [model_file(), model_file(n_channels=2), model_file(dtype="float32")]
    expected = []
    for seed, model in enumerate(models):
        context = make_run(model, seed=seed + 1, integrator=openmm.VerletIntegrator(0.0002))
        context.getIntegrator().step(20)
        expected.append(positions_of(context))
    contexts = [
        make_run(model, seed=seed + 1, integrator=openmm.VerletIntegrator(0.0002)) for seed, model in enumerate(models)
    ]
    with ThreadPoolExecutor(len(contexts)) as pool:
        list(pool.map(lambda context: context.getIntegrator().step(20), contexts))
    for context, positions in zip(contexts, expected, strict=True):
        np.testing.assert_allclose(positions_of(context), positions, rtol=0, atol=1e-10)


def test_contexts_of_one_system(model_file):
    atoms = waters(periodic=True)
    first = make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols()))
    system = first.getSystem()
    second = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))
    moved = atoms.copy()
    moved.rattle(0.1, seed=3)
    second.setPositions(moved.positions * 0.1)
    force = LESForce.cast(system.getForce(0))
    before = force.getLatentCharges(first)
    energies = energy_of(first), energy_of(second)
    assert energies[0] != pytest.approx(energies[1], rel=1e-9)
    assert np.abs(force.getLatentCharges(second) - before).max() > 1e-4
    np.testing.assert_array_equal(force.getLatentCharges(first), before)
    assert energy_of(first) == energies[0]
