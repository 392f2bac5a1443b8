"""Monte Carlo barostats: the energies they decide by, against the virial of the model and the pressure of LAMMPS."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import openmm
import pytest
from openmm import unit
from openmm_systems import energy_of, make_context, waters

from les_md.openmm import LESForce

BAR = (1 * unit.kilojoule_per_mole / unit.nanometer**3 / unit.AVOGADRO_CONSTANT_NA).value_in_unit(unit.bar)
BAROSTATS: dict[str, Callable[[int], openmm.Force]] = {
    "isotropic": lambda frequency: openmm.MonteCarloBarostat(1.0, 300.0, frequency),
    "anisotropic": lambda frequency: openmm.MonteCarloAnisotropicBarostat(
        openmm.Vec3(1.0, 1.0, 1.0), 300.0, True, True, True, frequency
    ),
    "membrane": lambda frequency: openmm.MonteCarloMembraneBarostat(
        1.0,
        0.0,
        300.0,
        openmm.MonteCarloMembraneBarostat.XYIsotropic,
        openmm.MonteCarloMembraneBarostat.ZFree,
        frequency,
    ),
    "flexible": lambda frequency: openmm.MonteCarloFlexibleBarostat(1.0, 300.0, frequency),
}


def tensor_of(context: openmm.Context, force: LESForce) -> np.ndarray:
    """Pressure tensor (3, 3) of momenta and the model's virial, bar."""
    state = context.getState(velocities=True)
    velocities = np.array(state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond))
    system = context.getSystem()
    masses = np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())])
    virial = force.getVirial(context).value_in_unit(unit.kilojoule_per_mole)
    volume = state.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
    return (np.einsum("i,ia,ib->ab", masses, velocities, velocities) + virial) / volume * BAR


@pytest.mark.parametrize("kind", BAROSTATS)
def test_pressure_from_scaled_boxes_is_that_of_the_virial(model_file, platform, kind):
    """The barostat's own finite difference uses the energies that decide about its moves."""
    atoms = waters(periodic=True)
    if kind != "isotropic":
        atoms.set_cell(np.diag(np.diag(atoms.cell.array)))
    force = LESForce(model_file(), atoms.get_chemical_symbols(), accuracy=1e-7)
    barostat = BAROSTATS[kind](0)
    context = make_context(atoms, force, barostat, platform=platform)
    context.setVelocitiesToTemperature(300.0, 1)
    expected = tensor_of(context, force)
    got = barostat.computeCurrentPressure(context)
    if kind == "isotropic":
        assert got.value_in_unit(unit.bar) == pytest.approx(np.trace(expected) / 3, rel=1e-3)
    else:
        np.testing.assert_allclose(got.value_in_unit(unit.bar)[:3], np.diag(expected), rtol=1e-3)


def test_stress_of_a_triclinic_box_is_that_of_the_virial(model_file, platform):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols(), accuracy=1e-7)
    barostat = BAROSTATS["flexible"](0)
    context = make_context(atoms, force, barostat, platform=platform)
    tensor = -tensor_of(context, force)
    six = [tensor[a, b] for a, b in [(0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1)]]
    stress = barostat.computeStressTensor(context).value_in_unit(unit.bar)
    np.testing.assert_allclose(stress, six, rtol=0, atol=1e-3 * np.abs(six).max())


@pytest.mark.parametrize("kind", BAROSTATS)
def test_box_changes_and_energies_follow(model_file, platform, kind):
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    barostat = BAROSTATS[kind](1)
    barostat.setRandomNumberSeed(4)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0002)
    integrator.setRandomNumberSeed(4)
    context = make_context(atoms, LESForce(model_file(), symbols), barostat, platform=platform, integrator=integrator)
    context.setVelocitiesToTemperature(300.0, 3)
    integrator.step(30)
    state = context.getState(positions=True)
    box = np.asarray(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom))
    assert np.linalg.det(box) != pytest.approx(atoms.get_volume(), rel=1e-6)
    atoms.set_cell(box)
    atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    again = make_context(atoms, LESForce(model_file(), symbols), platform=platform)
    assert energy_of(context) == pytest.approx(energy_of(again), rel=1e-9)


def test_volume_distribution_of_an_ideal_gas(model_file, platform):
    """Without forces <V> = (N + 1) k T / p: the barostat gets neither more nor less than the energy of the model."""
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols(), solver="direct")
    force.setDefaultLambda(0.0)
    kt = (unit.MOLAR_GAS_CONSTANT_R * 300 * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)
    pressure = 25 * kt / 0.25 * BAR  # <V> = 0.25 nm^3
    barostat = openmm.MonteCarloBarostat(pressure, 300.0, 1)
    barostat.setRandomNumberSeed(7)
    integrator = openmm.VerletIntegrator(1e-9)
    context = make_context(atoms, force, barostat, platform=platform, integrator=integrator)
    volumes = []
    for _ in range(400):
        integrator.step(1)
        volumes.append(context.getState().getPeriodicBoxVolume().value_in_unit(unit.nanometer**3))
    assert np.mean(volumes[100:]) == pytest.approx(0.25, rel=0.15)


def test_lammps_has_the_same_pressure(model_file, tmp_path):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols(), solver="direct")
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 0)
    context = make_context(atoms, force, barostat)
    pressure = barostat.computeCurrentPressure(context).value_in_unit(unit.bar)

    ase.io.write(tmp_path / "water.data", atoms, format="lammps-data", specorder=["H", "O"], masses=True)
    (tmp_path / "in.pressure").write_text(
        "units metal\natom_style atomic\nread_data water.data\npair_style les solver direct\n"
        f"pair_coeff * * {model_file()} H O\n"
        "thermo_style custom step press\nthermo_modify norm no format float %.10g\nrun 0\n"
    )
    lmp = shutil.which("lmp", path=str(Path(sys.executable).parent))
    done = subprocess.run([lmp, "-in", "in.pressure", "-log", "none"], cwd=tmp_path, capture_output=True, text=True)
    rows = done.stdout.splitlines()
    expected = float(rows[next(i for i, row in enumerate(rows) if row.split() == ["Step", "Press"]) + 1].split()[1])
    # OpenMM's is a difference quotient of the energy
    assert pressure == pytest.approx(expected, rel=1e-4, abs=0.5)


def reduced_boxes() -> list[np.ndarray]:
    """Boxes at the ends of what OpenMM allows, and small ones: skewed by half a vector, a slab, a needle. Angstrom."""
    a, b, c = 6.4, 6.2, 6.3
    boxes = [
        np.array([[a, 0.0, 0.0], [s1 * a / 2, b, 0.0], [s2 * a / 2, s3 * b / 2, c]])
        for s1, s2, s3 in [(1, 1, 1), (-1, 1, -1), (1, -1, 1), (0, 0, 0)]
    ]
    return [*boxes, np.diag([4.1, 9.0, 7.0]), np.array([[3.1, 0.0, 0.0], [1.5, 14.0, 0.0], [-1.5, 7.0, 13.0]])]


def test_every_reduced_box(model_file, platform):
    """One Context through all boxes, each against a Context of its own, the smallest against twice the cell."""
    atoms = waters(periodic=True)
    symbols = atoms.get_chemical_symbols()
    context = make_context(atoms, LESForce(model_file(), symbols, solver="direct"), platform=platform)
    for box in reduced_boxes():
        atoms.set_cell(box, scale_atoms=True)
        context.setPeriodicBoxVectors(*(box * 0.1))
        context.setPositions(atoms.positions * 0.1)
        alone = make_context(atoms, LESForce(model_file(), symbols, solver="direct"), platform=platform)
        assert energy_of(context) == pytest.approx(energy_of(alone), rel=1e-12)
    double: ase.Atoms = atoms * (2, 1, 1)
    twice = LESForce(model_file(), double.get_chemical_symbols(), solver="direct")
    assert energy_of(make_context(double, twice, platform=platform)) == pytest.approx(2 * energy_of(alone), rel=1e-9)
