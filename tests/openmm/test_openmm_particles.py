"""LESForce on some of the particles of a System: the rest, virtual sites, atoms without mass."""

from __future__ import annotations

import ase
import numpy as np
import openmm
import openmm.app
import pytest
from openmm import unit
from openmm_systems import energy_of, evaluate, make_context, waters

from les_md.errors import LESError
from les_md.openmm import LESForce


def solvated(periodic: bool) -> tuple[ase.Atoms, list[int]]:
    """`waters` with argon, which the model does not know, here and there; and the indices of the water atoms in mixed
    order."""
    water = waters(periodic)
    atoms = ase.Atoms(cell=water.cell, pbc=water.pbc)
    for index in range(len(water)):
        if index % 5 == 0:
            atoms += ase.Atoms("Ar", positions=[water.positions[index] + [1.0, 0.7, 0.2]])
        atoms += water[index]
    indices = np.flatnonzero(atoms.numbers != 18)
    return atoms, [int(index) for index in np.random.default_rng(2).permutation(indices)]


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
def test_the_rest_of_the_system_is_neither_seen_nor_pushed(model_file, platform, periodic):
    atoms, particles = solvated(periodic)
    alone = atoms[particles]
    symbols = alone.get_chemical_symbols()
    part = LESForce(model_file(), symbols, periodic=periodic, particles=particles)
    whole = LESForce(model_file(), symbols, periodic=periodic)
    assert part.getParticles() == particles
    assert part.getNumParticles() == len(particles)
    assert part.getParticleSymbols() == symbols
    mixed, reference = make_context(atoms, part, platform=platform), make_context(alone, whole, platform=platform)
    got, expected = evaluate(mixed), evaluate(reference)
    assert got.energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(got.forces[particles], expected.forces, rtol=0, atol=1e-9)
    rest = np.setdiff1d(np.arange(len(atoms)), particles)
    np.testing.assert_array_equal(got.forces[rest], 0.0)
    np.testing.assert_allclose(part.getLatentCharges(mixed), whole.getLatentCharges(reference), rtol=0, atol=1e-12)

    moved = atoms.positions.copy()
    moved[rest] += 0.3
    mixed.setPositions(moved * 0.1)
    assert energy_of(mixed) == got.energy


def test_two_models_share_a_system(model_file):
    atoms = waters(periodic=False)
    symbols = atoms.get_chemical_symbols()
    halves = [list(range(12)), list(range(12, 24))]
    forces = [
        LESForce(model_file(n_channels=channels), [symbols[i] for i in half], periodic=False, particles=half)
        for channels, half in zip((1, 2), halves, strict=True)
    ]
    got = evaluate(make_context(atoms, *forces))
    for channels, half in zip((1, 2), halves, strict=True):
        force = LESForce(model_file(n_channels=channels), [symbols[i] for i in half], periodic=False)
        expected = evaluate(make_context(atoms[half], force))
        np.testing.assert_allclose(got.forces[half], expected.forces, rtol=0, atol=1e-9)
        got.energy -= expected.energy
    assert got.energy == pytest.approx(0.0, abs=1e-9)


def four_site_waters() -> tuple[openmm.app.Topology, openmm.System, np.ndarray]:
    """The molecules of `waters` with a fourth, massless site each, their System without forces, and positions in nm."""
    atoms = waters(periodic=True)
    topology, system, positions = openmm.app.Topology(), openmm.System(), []
    topology.setPeriodicBoxVectors(atoms.cell.array * 0.1 * unit.nanometer)
    system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    chain = topology.addChain()
    for first in range(0, len(atoms), 3):
        residue = topology.addResidue("HOH", chain)
        for atom in atoms[first : first + 3]:
            topology.addAtom(atom.symbol, openmm.app.Element.getBySymbol(atom.symbol), residue)
            system.addParticle(atom.mass)
            positions.append(atom.position * 0.1)
        topology.addAtom("M", None, residue)
        oxygen = system.addParticle(0.0) - 3
        system.setVirtualSite(
            oxygen + 3, openmm.ThreeParticleAverageSite(oxygen, oxygen + 1, oxygen + 2, 0.8, 0.1, 0.1)
        )
        positions.append(np.zeros(3))
    return topology, system, np.array(positions)


def test_virtual_sites_of_a_topology_are_left_out(model_file, platform):
    topology, system, positions = four_site_waters()
    atoms_of_model = [atom.index for atom in topology.atoms() if atom.element is not None]
    system.addForce(LESForce(model_file(), topology, particles=atoms_of_model))
    integrator = openmm.VerletIntegrator(0.0002)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(positions)
    context.computeVirtualSites()
    integrator.step(5)

    plain = waters(periodic=True)
    reference = make_context(plain, LESForce(model_file(), plain.get_chemical_symbols()), platform=platform)
    reference.getIntegrator().step(5)
    got, expected = (
        np.array(c.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
        for c in (context, reference)
    )
    np.testing.assert_allclose(got[atoms_of_model], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got[3::4], 0.8 * got[0::4] + 0.1 * got[1::4] + 0.1 * got[2::4], rtol=0, atol=1e-6)


def test_force_on_a_virtual_site_goes_to_its_parents(model_file, platform):
    """The site is a hydrogen of the model: what pulls at it must be the gradient in the positions of its parents."""
    atoms = waters(periodic=True)[:4]
    atoms.positions[3] = 0.6 * atoms.positions[0] + 0.4 * atoms.positions[1]
    atoms.positions[1] += [1.5, 0.3, 0.0]
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    for mass in (16.0, 1.0, 1.0, 0.0):
        system.addParticle(mass)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.6, 0.4))
    system.addForce(LESForce(model_file(), ["O", "H", "H", "H"], accuracy=1e-7))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))

    def set_positions(positions: np.ndarray) -> None:
        context.setPositions(positions * 0.1)
        context.computeVirtualSites()

    set_positions(atoms.positions)
    expected = evaluate(context).forces
    step = 1e-3
    for atom, axis in [(0, 0), (1, 1), (2, 2)]:
        energies = []
        for sign in (1, -1):
            positions = atoms.positions.copy()
            positions[atom, axis] += sign * step
            set_positions(positions)
            energies.append(energy_of(context))
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(expected[atom, axis], rel=1e-4, abs=1e-5)


def test_atoms_without_mass_stay_and_pull(model_file, platform):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    expected = evaluate(make_context(atoms, LESForce(model_file(), symbols), platform=platform))
    fixed = [0, 4, 17]
    masses = atoms.get_masses()
    masses[fixed] = 0.0
    atoms.set_masses(masses)
    context = make_context(atoms, LESForce(model_file(), symbols), platform=platform)
    got = evaluate(context)
    assert got.energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-9)
    assert np.abs(got.forces[fixed]).min(axis=0).max() > 1e-3
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=3)
    context.setVelocitiesToTemperature(300.0, 1)
    context.getIntegrator().step(3)
    moved = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom) - atoms.positions
    np.testing.assert_allclose(moved[fixed], 0.0, atol=1e-6)
    assert np.abs(np.delete(moved, fixed, axis=0)).max(axis=1).min() > 1e-6


@pytest.mark.parametrize(
    ("particles", "message"),
    [
        ([0, 1, 1], "`particles` must name each particle once, got 1 twice"),
        ([0, -1, 1], "`particles` must be indices from 0, got -1"),
        ([0, 1], "a list of symbols must have one for each of the 2 `particles`, got 3"),
        ([0.0, 1.0, 2.0], "`particles` must be a list of indices or None, got"),
        (7, "`particles` must be a list of indices or None, got 7"),
        ([], "`particles` must name at least one particle, got none; None stands for all"),
    ],
)
def test_unusable_particles(model_file, particles, message):
    with pytest.raises(LESError, match=message):
        LESForce(model_file(), ["O", "H", "H"], particles=particles)


def test_particles_beyond_the_topology_or_the_system(model_file):
    topology, system, _ = four_site_waters()
    with pytest.raises(LESError, match="`particles` must be 0 to 31 for this topology, got 32"):
        LESForce(model_file(), topology, particles=[0, 32])
    system.addForce(LESForce(model_file(), ["O", "H"], particles=[0, 32]))
    message = r"`particles` must be less than the number of particles of the System \(32\), got 32"
    with pytest.raises(openmm.OpenMMException, match=message):
        openmm.Context(system, openmm.VerletIntegrator(0.001))


def test_symbols_and_particles_that_do_not_fit(model_file):
    force = LESForce(model_file(), ["O", "H", "H"], particles=[0, 1, 2])
    force.setParticles([0, 1])
    message = r"number of symbols must equal the number of `particles` \(2\), got 3 symbols"
    with pytest.raises(openmm.OpenMMException, match=message):
        make_context(waters(True), force)


def test_none_stands_for_all_particles(model_file):
    atoms = waters(True)
    force = LESForce(model_file(), atoms.get_chemical_symbols(), particles=range(24))
    assert force.getParticles() == list(range(24))
    force.setParticles(None)
    assert force.getParticles() is None
    context = make_context(atoms, force)
    plain = make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols()))
    assert energy_of(context) == energy_of(plain)
