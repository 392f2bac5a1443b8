"""LESForce in a Context: energy, forces, virial and charges against the Python model and finite differences."""

from __future__ import annotations

import ase
import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm import unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, energy_of, evaluate, make_context, make_model, waters

from les_md import forces
from les_md.batch import frame_from_atoms
from les_md.openmm import LESForce


def python_model(atoms: ase.Atoms, **options: object) -> dict[str, np.ndarray]:
    """Results of the Python model, eV and angstrom."""
    model = make_model(**options)  # type: ignore[arg-type]
    batch = frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff)
    return {name: np.asarray(tensor.detach()) for name, tensor in forces.evaluate(model, batch).items()}


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(got) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-4)])
def test_agrees_with_the_python_model(model_file, platform, periodic, dtype, tolerance):
    atoms = waters(periodic)
    model = model_file(dtype=dtype, n_channels=2)
    force = LESForce(model, atoms.get_chemical_symbols(), periodic=periodic, solver="direct")
    context = make_context(atoms, force, platform=platform)
    got, expected = evaluate(context), python_model(atoms, dtype=dtype, n_channels=2)
    offsets = -8 * (2 * 13.6 + 432.5)
    assert got.energy - offsets == pytest.approx(expected["energy"][0] - offsets, rel=tolerance)
    assert relative_error(got.forces, expected["forces"]) < tolerance
    assert relative_error(force.getLatentCharges(context), expected["latent_charges"]) < tolerance
    virial = force.getVirial(context).value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV
    assert relative_error(virial, expected["virial"][0]) < tolerance
    short_range = force.getShortRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole)
    long_range = force.getLongRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole)
    assert (short_range + long_range) / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(got.energy, rel=1e-12)
    assert long_range / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(expected["long_range_energy"][0], rel=tolerance)


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
def test_forces_are_finite_differences_of_the_energy(model_file, platform, periodic):
    atoms = waters(periodic)
    context = make_context(
        atoms, LESForce(model_file(), atoms.get_chemical_symbols(), periodic=periodic), platform=platform
    )
    expected = evaluate(context).forces
    step = 1e-3
    for atom, axis in [(0, 0), (1, 1), (2, 2), (13, 0), (23, 2)]:
        energies = []
        for sign in (1, -1):
            positions = atoms.positions.copy()
            positions[atom, axis] += sign * step
            context.setPositions(positions * 0.1)
            energies.append(energy_of(context))
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(expected[atom, axis], rel=1e-4, abs=1e-5)


def test_virial_is_the_finite_difference_in_the_box(model_file, platform):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    context = make_context(atoms, force, platform=platform)
    virial = force.getVirial(context).value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV
    np.testing.assert_allclose(virial, virial.T, rtol=1e-10)
    size = 1e-4
    # lower triangular strains keep the box in OpenMM's reduced form, and the energy does not change with rotations
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1)]:
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[a, b] += sign * size
            context.setPeriodicBoxVectors(*(atoms.cell.array @ deformation * 0.1))
            context.setPositions(atoms.positions @ deformation * 0.1)
            energies.append(energy_of(context))
        assert -(energies[0] - energies[1]) / (2 * size) == pytest.approx(virial[a, b], rel=1e-4, abs=1e-5)


def test_charges_belong_to_the_present_positions_and_box(model_file):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    force = LESForce(model_file(), symbols)
    context = make_context(atoms, force)
    first = force.getLatentCharges(context)
    assert first.shape == (24, 1)
    moved = atoms.copy()
    moved.rattle(0.2, seed=1)
    context.setPositions(moved.positions * 0.1)
    charges = force.getLatentCharges(context)
    assert np.abs(charges - first).max() > 1e-3
    np.testing.assert_allclose(charges, python_model(moved)["latent_charges"], rtol=1e-9, atol=1e-12)
    moved.set_cell(moved.cell.array * 1.05)
    context.setPeriodicBoxVectors(*(moved.cell.array * 0.1))
    np.testing.assert_allclose(
        force.getLatentCharges(context), python_model(moved)["latent_charges"], rtol=1e-9, atol=1e-12
    )
    context.setPositions(atoms.positions * 0.1)
    context.setPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    np.testing.assert_allclose(force.getLatentCharges(context), first, rtol=1e-9, atol=1e-12)


def test_periodic_images_do_not_matter(model_file, platform):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    expected = evaluate(make_context(atoms, LESForce(model_file(), symbols), platform=platform))
    generator = np.random.default_rng(0)
    atoms.positions += generator.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    got = evaluate(make_context(atoms, LESForce(model_file(), symbols), platform=platform))
    assert got.energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(got.forces, expected.forces, atol=1e-9)


def test_other_forces_and_groups_add_up(model_file, platform):
    atoms = waters(periodic=True)
    les = LESForce(model_file(), atoms.get_chemical_symbols(), solver="direct")
    les.setForceGroup(2)
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 3, 0.2, 1000.0)
    context = make_context(atoms, les, bond, platform=platform)
    energies = [
        context.getState(energy=True, groups=groups).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        for groups in (0b001, 0b100, 0b101)
    ]
    assert energies[0] > 1.0
    assert energies[0] + energies[1] == pytest.approx(energies[2], rel=1e-12)
    assert energies[1] / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(python_model(atoms)["energy"][0], rel=1e-9)


def topology_of(atoms: ase.Atoms) -> openmm.app.Topology:
    topology = openmm.app.Topology()
    chain = topology.addChain()
    for symbol in atoms.get_chemical_symbols():
        topology.addAtom(symbol, openmm.app.Element.getBySymbol(symbol), topology.addResidue("ATM", chain))
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors(atoms.cell.array * 0.1 * unit.nanometer)
    return topology


@pytest.mark.parametrize("periodic", [True, False], ids=["box", "no box"])
def test_topology_gives_symbols_and_periodicity(model_file, periodic):
    atoms = waters(periodic)
    force = LESForce(model_file(), topology_of(atoms), solver="direct")
    assert force.usesPeriodicBoundaryConditions() is periodic
    assert force.getParticleSymbols() == atoms.get_chemical_symbols()
    context = make_context(atoms, force)
    assert context.getSystem().usesPeriodicBoundaryConditions() is periodic
    assert energy_of(context) == pytest.approx(python_model(atoms)["energy"][0], rel=1e-9)


def test_symbols_are_periodic_unless_told(model_file):
    assert LESForce(model_file(), ["O", "H", "H"]).usesPeriodicBoundaryConditions()
    assert not LESForce(model_file(), ["O", "H", "H"], periodic=False).usesPeriodicBoundaryConditions()
    assert not LESForce(model_file(), topology_of(waters(True)), periodic=False).usesPeriodicBoundaryConditions()


def test_settings_take_effect_when_the_context_is_made_again(model_file):
    atoms = waters(periodic=False)
    force = LESForce(model_file(neutrality=True), atoms.get_chemical_symbols(), periodic=False)
    context = make_context(atoms, force)
    assert force.getLatentCharges(context).sum() == pytest.approx(0.0, abs=1e-12)
    force.setTotalCharge(2.0)
    assert force.getTotalCharge() == 2.0
    assert force.getLatentCharges(context).sum() == pytest.approx(0.0, abs=1e-12)
    context.reinitialize(preserveState=True)
    assert force.getLatentCharges(context).sum() == pytest.approx(2.0, rel=1e-12)


def test_threads_do_not_change_the_result(model_file):
    before = torch.get_num_threads()
    atoms = waters(periodic=True)
    try:
        energies = []
        for threads in (1, 2):
            force = LESForce(model_file(), atoms.get_chemical_symbols(), threads=threads)
            assert force.getThreads() == threads
            energies.append(energy_of(make_context(atoms, force)))
    finally:
        torch.set_num_threads(before)
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_short_range_only_model_has_no_charges(model_file):
    atoms = waters(periodic=True)
    force = LESForce(model_file(n_channels=0), atoms.get_chemical_symbols())
    context = make_context(atoms, force)
    assert force.getLatentCharges(context).shape == (24, 0)
    assert force.getLongRangeEnergy(context).value_in_unit(unit.kilojoule_per_mole) == 0.0
    assert energy_of(context) == pytest.approx(python_model(atoms, n_channels=0)["energy"][0], rel=1e-9)


def test_record_of_the_model_can_be_read(model_file):
    force = LESForce(model_file(), ["O", "H", "H"])
    assert force.getMetadata()["cutoff"] == 4.0
    assert force.getModelName() == str(model_file())
    assert force.getName() == "LESForce"
    assert force.getNumParticles() == 3
    assert force.getDevice() == "cpu"
