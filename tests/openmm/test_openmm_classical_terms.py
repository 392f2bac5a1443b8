"""What create_mixed_system takes out of each classical force and what stays; systems it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import openmm
import pytest
from openmm import app
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV
from water_boxes import ML_RESIDUE, context_of, energy_and_forces, nonbonded_of, water_box

from les_md.errors import LESError
from les_md.openmm import LESForce, create_mixed_system

N_ATOMS = 9
#: The atoms of the model: the end of a chain, so that terms of all kinds lie inside, across and outside.
INSIDE = [4, 3, 2, 1, 0]


def chain() -> tuple[app.Topology, openmm.System, np.ndarray]:
    """A chain of hydrogen and oxygen with one particle list of each length in every class of bonded force."""
    topology, system = app.Topology(), openmm.System()
    residue = topology.addResidue("X", topology.addChain())
    symbols = ["O", "H", "H"] * 3
    atoms = [topology.addAtom(f"{s}{i}", app.Element.getBySymbol(s), residue) for i, s in enumerate(symbols)]
    for atom, other in pairwise(atoms):
        topology.addBond(atom, other)
    for _ in atoms:
        system.addParticle(12.0)
    for force in bonded_forces():
        system.addForce(force)
    nonbonded = openmm.NonbondedForce()
    custom = openmm.CustomNonbondedForce("0.3*a1*a2/r^2")
    custom.addPerParticleParameter("a")
    for index in range(N_ATOMS):
        nonbonded.addParticle(0.3 * (-1) ** index, 0.2, 0.4)
        custom.addParticle([1.0 + index])
    for index in range(N_ATOMS - 1):
        nonbonded.addException(index, index + 1, 0.01 * index, 0.2, 0.1)
        custom.addExclusion(index + 1, index)
    system.addForce(nonbonded)
    system.addForce(custom)
    external = openmm.CustomExternalForce("5*x^2")
    external.addParticle(2)
    system.addForce(external)
    system.addForce(openmm.CMMotionRemover(7))
    system.addConstraint(0, 1, 0.11)
    system.addConstraint(4, 5, 0.11)
    generator = np.random.default_rng(6)
    positions = 0.12 * np.arange(N_ATOMS)[:, None] * [1.0, 0.2, 0.0] + generator.normal(0.0, 0.03, (N_ATOMS, 3))
    return topology, system, positions


def bonded_forces(n_atoms: int = N_ATOMS) -> list[openmm.Force]:
    """All terms of the first `n_atoms` of the chain."""
    bond, angle, torsion = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    ryckaert, cmap = openmm.RBTorsionForce(), openmm.CMAPTorsionForce()
    custom_bond, custom_angle = openmm.CustomBondForce("k*r^3"), openmm.CustomAngleForce("k*theta^3")
    custom_torsion = openmm.CustomTorsionForce("k*cos(theta)")
    compound = openmm.CustomCompoundBondForce(5, "k*distance(p1,p5)^2")
    for custom in (custom_bond, custom_torsion):
        custom.addGlobalParameter(f"scale_{custom.getName()}", 1.0)
    custom_bond.addPerBondParameter("k")
    custom_angle.addPerAngleParameter("k")
    custom_torsion.addPerTorsionParameter("k")
    compound.addPerBondParameter("k")
    cmap.addMap(4, list(np.linspace(-1.0, 1.0, 16)))
    for i in range(n_atoms - 1):
        bond.addBond(i, i + 1, 0.1, 1000.0 + i)
        custom_bond.addBond(i, i + 1, [10.0 + i])
    for i in range(n_atoms - 2):
        angle.addAngle(i, i + 1, i + 2, 1.9, 100.0 + i)
        custom_angle.addAngle(i, i + 1, i + 2, [3.0 + i])
    for i in range(n_atoms - 3):
        torsion.addTorsion(i, i + 1, i + 2, i + 3, 2, 0.3, 5.0 + i)
        ryckaert.addTorsion(i, i + 1, i + 2, i + 3, 1.0, -0.5, 0.3, 0.2, 0.1, 0.4 + i)
        custom_torsion.addTorsion(i, i + 1, i + 2, i + 3, [2.0 + i])
    for i in range(n_atoms - 4):
        cmap.addTorsion(0, i, i + 1, i + 2, i + 3, i + 1, i + 2, i + 3, i + 4)
        compound.addBond([i, i + 1, i + 2, i + 3, i + 4], [7.0 + i])
    return [bond, angle, torsion, ryckaert, cmap, custom_bond, custom_angle, custom_torsion, compound]


#: Terms of each class inside the first five atoms of the chain, as pure counting.
N_INSIDE = {
    "HarmonicBondForce": 4,
    "HarmonicAngleForce": 3,
    "PeriodicTorsionForce": 2,
    "RBTorsionForce": 2,
    "CMAPTorsionForce": 1,
    "CustomBondForce": 4,
    "CustomAngleForce": 3,
    "CustomTorsionForce": 2,
    "CustomCompoundBondForce": 1,
}


def n_terms(force: openmm.Force) -> int:
    for kind in ("Bonds", "Angles", "Torsions"):
        if hasattr(force, f"getNum{kind}"):
            return int(getattr(force, f"getNum{kind}")())
    raise AssertionError(force)


def energy_of_only(system: openmm.System, positions: np.ndarray, index: int) -> float:
    """Energy of force `index` alone, eV."""
    alone = copy.deepcopy(system)
    for other in reversed(range(alone.getNumForces())):
        if other != index:
            alone.removeForce(other)
    return energy_and_forces(context_of(alone, positions))[0]


def test_bonded_terms(model_file):
    """What remains of each force has its energy less that of the terms inside, made by themselves."""
    topology, system, positions = chain()
    mixed = create_mixed_system(topology, system, INSIDE, model_file())
    inside = copy.deepcopy(system)
    for _ in range(inside.getNumForces()):
        inside.removeForce(0)
    for force in bonded_forces(len(INSIDE)):
        inside.addForce(force)
    for index, name in enumerate(N_INSIDE):
        before, after = system.getForce(index), mixed.getForce(index)
        assert type(before).__name__ == type(after).__name__ == name
        assert n_terms(before) - n_terms(after) == n_terms(inside.getForce(index)) == N_INSIDE[name]
        removed = energy_of_only(inside, positions, index)
        assert abs(removed) > 1e-4
        expected = energy_of_only(system, positions, index) - removed
        assert energy_of_only(mixed, positions, index) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_nonbonded_pairs(model_file):
    topology, system, positions = chain()
    mixed = create_mixed_system(topology, system, INSIDE, model_file())
    assert [type(force).__name__ for force in mixed.getForces()][:-1] == [
        type(force).__name__ for force in system.getForces()
    ]
    assert LESForce.isinstance(mixed.getForces()[-1])
    nonbonded = nonbonded_of(mixed)
    energies = 0.0
    charges = [0.3 * (-1) ** index for index in range(N_ATOMS)]
    for first in range(N_ATOMS):
        for second in range(first + 1, N_ATOMS):
            if second <= 4:
                continue
            r = np.linalg.norm(positions[first] - positions[second])
            product, epsilon = charges[first] * charges[second], 0.4
            if second == first + 1:
                product, epsilon = 0.01 * first, 0.1
            sixth = (0.2 / r) ** 6
            energies += 138.93545764438198 * product / r + 4 * epsilon * (sixth**2 - sixth)
    index = [type(force).__name__ for force in mixed.getForces()].index("NonbondedForce")
    got = energy_of_only(mixed, positions, index) * KILOJOULE_PER_MOLE_PER_EV
    assert got == pytest.approx(energies, rel=1e-6)
    assert nonbonded.getNumExceptions() == 10 + 4

    expected = 0.0
    for first in range(N_ATOMS):
        for second in range(max(first + 2, 5), N_ATOMS):
            expected += 0.3 * (1 + first) * (1 + second) / np.sum((positions[first] - positions[second]) ** 2)
    got = energy_of_only(mixed, positions, index + 1) * KILOJOULE_PER_MOLE_PER_EV
    assert got == pytest.approx(expected, rel=1e-6)


def test_constraints_and_molecules(model_file):
    topology, system, _ = chain()
    mixed = create_mixed_system(topology, system, INSIDE, model_file())
    assert [mixed.getConstraintParameters(i)[:2] for i in range(mixed.getNumConstraints())] == [[4, 5]]
    force = LESForce.cast(mixed.getForces()[-1])
    assert force.getBonds() == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert not force.usesPeriodicBoundaryConditions()


def add_offset(system: openmm.System, exception: bool) -> None:
    nonbonded = nonbonded_of(system)
    nonbonded.addGlobalParameter("switch", 0.0)
    if exception:
        nonbonded.addExceptionParameterOffset("switch", 1, 0.1, 0.0, 0.0)
    else:
        nonbonded.addParticleParameterOffset("switch", 2, 0.1, 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda system: system.addForce(openmm.GBSAOBCForce()),
            r"cannot be made of a System with GBSAOBCForce, of which is not known what acts inside",
        ),
        (
            lambda system: system.addForce(openmm.RMSDForce(np.zeros((9, 3)))),
            "cannot be made of a System with RMSDForce",
        ),
        (
            lambda system: add_offset(system, False),
            "changes particle 2 of the model with the global parameter switch",
        ),
        (
            lambda system: add_offset(system, True),
            "changes an interaction inside `ml_atoms` with the global parameter switch",
        ),
    ],
)
def test_forces_that_are_refused(model_file, change: Callable[[openmm.System], None], message):
    topology, system, _ = chain()
    change(system)
    with pytest.raises(LESError, match=message):
        create_mixed_system(topology, system, INSIDE, model_file())


def test_a_mixed_system_is_not_mixed_again(model_file):
    topology, system, _ = chain()
    mixed = create_mixed_system(topology, system, INSIDE, model_file())
    with pytest.raises(LESError, match=r"cannot be made of a System with LESForce"):
        create_mixed_system(topology, mixed, INSIDE, model_file())


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        ([0, 1, 9], "`ml_atoms` must be 0 to 8 for this System, got 9"),
        ([0, -1], "`ml_atoms` must be 0 to 8 for this System, got -1"),
        ([0, 0], "`ml_atoms` must name each atom once, got 0 twice"),
        ([], "`ml_atoms` must name at least one atom, got none"),
        (["0"], r"`ml_atoms` must be a list of indices, got \['0'\]"),
        (3, "`ml_atoms` must be a list of indices, got 3"),
    ],
)
def test_atoms_that_cannot_be_used(model_file, atoms, message):
    topology, system, _ = chain()
    with pytest.raises(LESError, match=message):
        create_mixed_system(topology, system, atoms, model_file())


def test_topology_of_another_system(model_file):
    topology, system, _ = chain()
    system.addParticle(1.0)
    with pytest.raises(LESError, match="`topology` and `system` must have the same number of particles, got 9 and 10"):
        create_mixed_system(topology, system, INSIDE, model_file())


def test_words_for_the_embedding(model_file):
    topology, system, _ = chain()
    with pytest.raises(LESError, match="`embedding` must be 'mechanical' or 'electrostatic', got 'electric'"):
        create_mixed_system(topology, system, INSIDE, model_file(), "electric")


def test_electrostatic_embedding_cuts_no_bond(model_file):
    topology, system, _ = chain()
    with pytest.raises(LESError, match=r"electrostatic embedding has no link atoms, but .* ties atom 4 to atom 5"):
        create_mixed_system(topology, system, INSIDE, model_file(), "electrostatic")


def test_an_isolated_model_in_a_periodic_system(model_file):
    box = water_box()
    create_mixed_system(box.topology, box.system(), box.ml_atoms(), model_file(), periodic=False)
    with pytest.raises(LESError, match="needs a model that is periodic if the System is, got `periodic=False`; leave"):
        create_mixed_system(box.topology, box.system(), box.ml_atoms(), model_file(), "electrostatic", periodic=False)


def images_of(system: openmm.System) -> list[int]:
    return [index for index, force in enumerate(system.getForces()) if isinstance(force, openmm.CustomCVForce)]


@pytest.mark.parametrize("method", [app.CutoffPeriodic, app.Ewald, app.PME, app.LJPME], ids=str)
def test_periodic_images_of_the_inside(model_file, method):
    """What is taken out is what the molecule has alone in the box, where only its images are left to act on it."""
    box = water_box()
    mixed = create_mixed_system(box.topology, box.system(method=method), box.ml_atoms(), model_file())
    if method is app.CutoffPeriodic:
        assert images_of(mixed) == []
        return
    residue = list(box.topology.residues())[ML_RESIDUE]
    others = app.Modeller(box.topology, box.positions * openmm.unit.nanometer)
    others.delete([other for other in box.topology.residues() if other is not residue])
    molecule = replace(box, topology=others.topology).system(method=method)
    nonbonded = nonbonded_of(molecule)
    for index in range(3):
        charge, sigma, _ = nonbonded.getParticleParameters(index)
        nonbonded.setParticleParameters(index, charge, sigma, 0.0)
    positions = box.positions[[atom.index for atom in residue.atoms()]]
    index = [type(force).__name__ for force in molecule.getForces()].index("NonbondedForce")
    expected = energy_of_only(molecule, positions, index)
    assert abs(expected) > 1e-4
    (images,) = images_of(mixed)
    assert energy_of_only(mixed, box.positions, images) == pytest.approx(-expected, rel=1e-3)


def test_images_stay_where_the_model_has_none(model_file):
    box = water_box()
    arguments = (box.topology, box.system(), box.ml_atoms())
    assert images_of(create_mixed_system(*arguments, model_file(n_channels=0))) == []
    assert images_of(create_mixed_system(*arguments, model_file(), periodic=False)) == []
    assert images_of(create_mixed_system(*arguments, model_file(), "electrostatic")) == []


def test_virtual_sites_across_the_boundary(model_file):
    box = water_box("tip4pew")
    hydrogen, other, oxygen = box.ml_atoms()
    with pytest.raises(LESError, match="virtual site 163 must depend on atoms on one side of the boundary"):
        create_mixed_system(box.topology, box.system(), [hydrogen, oxygen], model_file())
    with pytest.raises(LESError, match="`ml_atoms` must be atoms, got the virtual site 163; leave it out"):
        create_mixed_system(box.topology, box.system(), [hydrogen, other, oxygen, 163], model_file())


def test_charges_that_cannot_be_taken(model_file):
    box = water_box()
    system = box.system()
    nonbonded = nonbonded_of(system)
    nonbonded.addGlobalParameter("switch", 0.0)
    nonbonded.addParticleParameterOffset("switch", 0, 0.1, 0.0, 0.0)
    with pytest.raises(
        LESError, match="charges that are fixed, that of particle 0 changes with the global parameter sw"
    ):
        create_mixed_system(box.topology, system, box.ml_atoms(), model_file(), "electrostatic")
    create_mixed_system(box.topology, system, box.ml_atoms(), model_file())
    without = box.system()
    for index in reversed(range(without.getNumForces())):
        if isinstance(without.getForce(index), openmm.NonbondedForce):
            without.removeForce(index)
    with pytest.raises(LESError, match="takes the charges of the rest from one NonbondedForce, the System has 0"):
        create_mixed_system(box.topology, without, box.ml_atoms(), model_file(), "electrostatic")


def test_a_model_without_charges(model_file):
    box = water_box()
    path = model_file(n_channels=0)
    create_mixed_system(box.topology, box.system(), box.ml_atoms(), path)
    with pytest.raises(LESError, match="`external_charges` need a model with charges, this one is short-range only"):
        create_mixed_system(box.topology, box.system(), box.ml_atoms(), path, "electrostatic")


def test_settings_reach_the_force(model_file):
    box = water_box()
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        create_mixed_system(box.topology, box.system(), box.ml_atoms(), model_file(), colour="red")
