"""The potential "les" of openmm-ml: pure and mixed systems, link atoms, interpolation, settings and errors."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import ase
import numpy as np
import openmm
import openmm.app
import pytest
from openmm import unit
from openmm_systems import evaluate, make_context, waters
from openmmml import MLPotential

from les_md.errors import LESError
from les_md.openmm import LESForce, create_mixed_system

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "openmm" / "openmm_ml.py"
CHARGES = {"O": -0.8, "H": 0.4}


def topology_of(atoms: ase.Atoms) -> openmm.app.Topology:
    """Molecules of three atoms, O H H, with bonds."""
    topology = openmm.app.Topology()
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors(atoms.cell.array * 0.1 * unit.nanometer)
    chain = topology.addChain()
    for first in range(0, len(atoms), 3):
        residue = topology.addResidue("HOH", chain)
        added = [
            topology.addAtom(atom.symbol, openmm.app.Element.getBySymbol(atom.symbol), residue)
            for atom in atoms[first : first + 3]
        ]
        for hydrogen in added[1:]:
            topology.addBond(added[0], hydrogen)
    return topology


def classical_system(atoms: ase.Atoms, method: int) -> openmm.System:
    """Harmonic bonds, point charges and Lennard-Jones."""
    system = openmm.System()
    bonds, nonbonded = openmm.HarmonicBondForce(), openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(method)
    nonbonded.setCutoffDistance(0.3)
    nonbonded.setEwaldErrorTolerance(1e-6)
    nonbonded.setUseDispersionCorrection(False)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    for atom in atoms:
        system.addParticle(atom.mass)
        nonbonded.addParticle(CHARGES[atom.symbol], 0.3, 0.5 if atom.symbol == "O" else 0.0)
    for first in range(0, len(atoms), 3):
        for other in (first + 1, first + 2):
            bonds.addBond(first, other, 0.097, 3e5)
            nonbonded.addException(first, other, 0.0, 1.0, 0.0)
        nonbonded.addException(first + 1, first + 2, 0.0, 1.0, 0.0)
    system.addForce(bonds)
    system.addForce(nonbonded)
    return system


def context_of(system: openmm.System, positions: np.ndarray) -> openmm.Context:
    """Positions in angstrom; virtual sites beyond them are computed."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0002), platform)
    sites = system.getNumParticles() - len(positions)
    context.setPositions(np.concatenate([positions, np.zeros((sites, 3))]) * 0.1)
    context.computeVirtualSites()
    return context


def finite_difference(context: openmm.Context, particle: int, axis: int, step: float = 1e-5) -> float:
    """-dE/dr of one coordinate, eV/angstrom; `step` in nm."""
    positions = np.array(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    energies = []
    for sign in (1.0, -1.0):
        moved = positions.copy()
        moved[particle, axis] += sign * step
        context.setPositions(moved)
        context.computeVirtualSites()
        energies.append(evaluate(context).energy)
    context.setPositions(positions)
    return -(energies[0] - energies[1]) / (20.0 * step)


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
def test_pure_system(model_file, periodic):
    atoms = waters(periodic)
    potential = MLPotential("les", model=model_file())
    system = potential.createSystem(topology_of(atoms), solver="direct")
    assert LESForce.cast(system.getForce(0)).usesPeriodicBoundaryConditions() is periodic
    got = evaluate(context_of(system, atoms.positions))
    force = LESForce(model_file(), atoms.get_chemical_symbols(), periodic=periodic, solver="direct")
    expected = evaluate(make_context(atoms, force))
    assert got.energy == expected.energy
    np.testing.assert_array_equal(got.forces, expected.forces)


def test_settings_of_the_potential_and_of_one_system(model_file):
    topology = topology_of(waters(True))
    potential = MLPotential("les", model=model_file(), solver="mesh", accuracy=1e-5, deterministic=True, graphs="off")
    system = potential.createSystem(topology, accuracy=1e-6, removeCMMotion=False)
    force = LESForce.cast(system.getForce(0))
    assert (force.getSolver(), force.getAccuracy(), force.getDeterministic()) == ("mesh", 1e-6, True)
    assert force.getGraphs() == "off"
    assert system.getNumForces() == 1


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
def test_mixed_system(model_file, periodic):
    """Two of the molecules have the model: the classical energy loses their internal part and gains the model's."""
    atoms = waters(periodic)
    method = openmm.NonbondedForce.PME if periodic else openmm.NonbondedForce.NoCutoff
    subset = [0, 1, 2, 12, 13, 14]
    classical = classical_system(atoms, method)
    potential = MLPotential("les", model=model_file())
    mixed = potential.createMixedSystem(topology_of(atoms), classical, subset, forceGroup=3, solver="direct")
    context = context_of(mixed, atoms.positions)
    model = evaluate(
        make_context(
            atoms[subset],
            LESForce(model_file(), atoms[subset].get_chemical_symbols(), periodic=periodic, solver="direct"),
        )
    )
    energy_of_group = context.getState(energy=True, groups={3}).getPotentialEnergy()
    assert energy_of_group.value_in_unit(unit.kilojoule_per_mole) / 96.48533212331 == pytest.approx(
        model.energy, rel=1e-10
    )

    subset_classical = evaluate(context_of(classical_system(atoms[subset], method), atoms.positions[subset]))
    whole = evaluate(context_of(classical, atoms.positions))
    got = evaluate(context)
    assert got.energy == pytest.approx(whole.energy - subset_classical.energy + model.energy, abs=1e-4)
    expected = whole.forces.copy()
    expected[subset] += model.forces - subset_classical.forces
    np.testing.assert_allclose(got.forces, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
def test_mechanical_embedding_of_either_package_is_the_same(model_file, periodic):
    atoms = waters(periodic)
    classical = classical_system(atoms, openmm.NonbondedForce.PME if periodic else openmm.NonbondedForce.NoCutoff)
    subset = [3, 4, 5, 12, 13, 14]
    potential = MLPotential("les", model=model_file())
    theirs = potential.createMixedSystem(topology_of(atoms), classical, subset, solver="direct")
    ours = create_mixed_system(topology_of(atoms), classical, subset, model_file(), solver="direct")
    expected = evaluate(context_of(theirs, atoms.positions))
    got = evaluate(context_of(ours, atoms.positions))
    assert got.energy == pytest.approx(expected.energy, abs=1e-4)
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-3)


def test_electrostatic_embedding(model_file):
    atoms = waters(True)
    classical = classical_system(atoms, openmm.NonbondedForce.PME)
    classical.addConstraint(0, 1, 0.1)
    classical.addConstraint(3, 4, 0.1)
    potential = MLPotential("les", model=model_file(), solver="direct")
    assert potential.getSupportedEmbeddings() == ["electrostatic", "mechanical"]
    arguments = (topology_of(atoms), classical, [3, 4, 5])
    info = potential.createMixedSystem(*arguments, forceGroup=2, embedding="electrostatic", returnInfo=True)
    assert info["oldToNew"] == list(range(len(atoms)))
    expected = create_mixed_system(*arguments, model_file(), "electrostatic", force_group=2, solver="direct")
    assert openmm.XmlSerializer.serialize(info["system"]) == openmm.XmlSerializer.serialize(expected)
    assert expected.getNumConstraints() == 1
    for extra in ({"interpolate": True}, {"linkAtomDistances": []}):
        (name,) = extra
        with pytest.raises(LESError, match=f"electrostatic embedding does not support `{name}`; use mechanical"):
            potential.createMixedSystem(*arguments, embedding="electrostatic", **extra)
    assert MLPotential("les", model=model_file(n_channels=0)).getSupportedEmbeddings() == ["mechanical"]


def test_interpolation(model_file):
    """lambda_interpolate of openmm-ml puts the force into a CustomCVForce, by way of its XML."""
    atoms = waters(False)
    classical = classical_system(atoms, openmm.NonbondedForce.NoCutoff)
    potential = MLPotential("les", model=model_file())
    system = potential.createMixedSystem(topology_of(atoms), classical, [3, 4, 5], interpolate=True)
    context = context_of(system, atoms.positions)
    energies = []
    for value in (0.0, 0.5, 1.0):
        context.setParameter("lambda_interpolate", value)
        energies.append(evaluate(context).energy)
    assert energies[0] == pytest.approx(evaluate(context_of(classical, atoms.positions)).energy, rel=1e-6)
    assert energies[1] == pytest.approx(0.5 * (energies[0] + energies[2]), rel=1e-9)
    assert energies[2] == pytest.approx(energies[0] - 13.6 * 2 - 432.5, rel=0.05)


def test_link_atoms(model_file):
    """A molecule cut through a bond: openmm-ml caps it with a hydrogen that is a virtual site."""
    atoms = waters(False)
    classical = classical_system(atoms, openmm.NonbondedForce.NoCutoff)
    potential = MLPotential("les", model=model_file())
    system = potential.createMixedSystem(
        topology_of(atoms), classical, [0, 1], linkAtomDistances=[(0, 2, 0.11 * unit.nanometer)]
    )
    assert system.getNumParticles() == len(atoms) + 1
    context = context_of(system, atoms.positions)
    force = LESForce.cast(system.getForce(system.getNumForces() - 1))
    assert force.getParticles() == [0, 1, len(atoms)]
    assert force.getParticleSymbols() == ["O", "H", "H"]
    forces = evaluate(context).forces
    for particle in (0, 2):
        assert finite_difference(context, particle, 0) == pytest.approx(forces[particle, 0], rel=1e-5, abs=1e-5)


def test_long_range_is_known_to_embeddings(model_file):
    with_charges, without = (MLPotential("les", model=model_file(n_channels=n)) for n in (1, 0))
    assert with_charges._impl.getMLLongRange() is True
    assert without._impl.getMLLongRange() is False
    assert "mechanical" in with_charges.getSupportedEmbeddings()


def test_errors(model_file, tmp_path):
    with pytest.raises(LESError, match=r'"les" needs a file of les-export: MLPotential\("les", model=FILE\)'):
        MLPotential("les")
    with pytest.raises(LESError, match="does not exist"):
        MLPotential("les", model=tmp_path / "none.les.pt")
    with pytest.raises(LESError, match='the potential "les" has no argument `acuracy`; it takes device, threads'):
        MLPotential("les", model=model_file(), acuracy=1e-5)
    potential = MLPotential("les", model=model_file())
    with pytest.raises(LESError, match="no argument `precision`"):
        potential.createSystem(topology_of(waters(True)), precision="single")
    with pytest.raises(LESError, match="`accuracy` must be a number"):
        potential.createSystem(topology_of(waters(True)), accuracy="high")


def test_either_package_may_be_imported_first():
    code = "import les_md.openmm_ml, sys; assert 'openmmml' not in sys.modules; from openmmml import MLPotential"
    subprocess.run([sys.executable, "-c", code + "; assert 'les' in MLPotential._implFactories"], check=True)


@pytest.mark.parametrize("molecules", [3, 0], ids=["mixed", "pure"])
def test_example(model_file, monkeypatch, capfd, molecules):
    box = "1.9" if molecules else "0.9"
    arguments = ["openmm_ml.py", str(model_file()), "--molecules", str(molecules), "--box", box, "--steps", "2"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--platform", "Reference"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    rows = capfd.readouterr().out.strip().splitlines()
    assert rows[0].startswith('#"Step","Potential Energy (kJ/mole)"')
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2"]
