"""The ASE calculator: derivatives through ASE, and what it refuses."""

import numpy as np
import pytest
from ase import units
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet
from structures import random_atoms, random_model

from les_md.ase import LESCalculator
from les_md.errors import LESError
from les_md.export import export_model
from les_md.settings import LongRangeSettings


@pytest.fixture
def file(tmp_path):
    atoms = random_atoms()
    model = random_model(atoms=atoms, long_range=LongRangeSettings(neutrality=True))
    export_model(model, tmp_path / "m.les.pt", [atoms])
    return tmp_path / "m.les.pt"


@pytest.mark.parametrize("periodic", [True, False])
def test_finite_differences(file, periodic):
    atoms = random_atoms(n_atoms=6, periodic=periodic, tilt=0.4)
    atoms.calc = LESCalculator(file)
    forces = atoms.get_forces()
    np.testing.assert_allclose(calculate_numerical_forces(atoms, 1e-4), forces, atol=1e-5 * np.abs(forces).max())
    if periodic:
        stress = atoms.get_stress()
        np.testing.assert_allclose(calculate_numerical_stress(atoms, 1e-5), stress, atol=1e-5 * np.abs(stress).max())


def test_dynamics_conserves_energy(file):
    atoms = random_atoms()
    atoms.calc = LESCalculator(file)
    before = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=0.02 * units.fs).run(50)
    assert atoms.get_kinetic_energy() > 0.1
    assert atoms.get_total_energy() == pytest.approx(before, abs=1e-3 * atoms.get_kinetic_energy())


def test_refusals(file, tmp_path):
    atoms = random_atoms(periodic=False)
    atoms.calc = LESCalculator(file)
    with pytest.raises(LESError, match="stress needs a system that is periodic"):
        atoms.get_stress()
    atoms = random_atoms()
    atoms.calc = LESCalculator(file)
    with pytest.raises(LESError, match="dipole needs an isolated system"):
        atoms.get_dipole_moment()
    atoms.pbc = (True, True, False)
    with pytest.raises(LESError, match="periodic in all three directions or in none"):
        atoms.get_potential_energy()
    atoms.pbc = True
    atoms.symbols[0] = "Xe"
    with pytest.raises(LESError, match="element Xe is not in model file"):
        atoms.get_potential_energy()
    with pytest.raises(LESError, match="cannot be read; check the path"):
        LESCalculator(tmp_path / "none.les.pt")
    with pytest.raises(LESError, match="device cuda was asked for, but this build of torch has no CUDA"):
        LESCalculator(file, device="cuda")


def test_total_charge(file):
    atoms = random_atoms()
    atoms.calc = LESCalculator(file, total_charge=2.0)
    assert atoms.get_charges().sum() == pytest.approx(2.0)
