"""The ASE calculator: derivatives through ASE, and what it refuses."""

import warnings

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
    with pytest.raises(LESError, match=r"device cuda.* was asked for, but"):  # whatever is missing here
        LESCalculator(file, device="cuda:999")
    with pytest.raises(LESError, match="`deterministic` must be True or False, got 'no'"):
        LESCalculator(file, deterministic="no")


def test_graphs_are_for_gpus(file):
    LESCalculator(file, graphs="off")
    with pytest.raises(LESError, match="`graphs` on is for device cuda, where steps can be captured, got device cpu"):
        LESCalculator(file, graphs="on")
    with pytest.raises(LESError, match="`graphs` must be auto, on or off, got yes"):
        LESCalculator(file, graphs="yes")
    with pytest.raises(LESError, match="`graphs` must be 'auto', 'on' or 'off', got True"):
        LESCalculator(file, graphs=True)


def test_deterministic(file):
    """Two engines give the same bits, and the option, which is for GPUs, changes none."""
    forces = []
    for deterministic in (False, True, True):
        atoms = random_atoms()
        atoms.calc = LESCalculator(file, deterministic=deterministic, solver="mesh")
        forces.append(atoms.get_forces())
    np.testing.assert_array_equal(forces[0], forces[1])
    np.testing.assert_array_equal(forces[1], forces[2])


def test_total_charge(file):
    atoms = random_atoms()
    atoms.calc = LESCalculator(file, total_charge=2.0)
    assert atoms.get_charges().sum() == pytest.approx(2.0)


def test_mesh_gives_the_same_as_the_direct_sum(file):
    atoms = random_atoms(n_atoms=12, tilt=0.3)
    got = {}
    for solver in ("mesh", "direct"):
        atoms.calc = LESCalculator(file, solver=solver, accuracy=1e-6)
        got[solver] = {
            "energy": atoms.get_potential_energy(),
            "long range": atoms.calc.results["long_range_energy"],
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
            "charges": atoms.get_charges(),
        }
        assert ("mesh" in atoms.calc.engine.long_range_description) == (solver == "mesh")
    for quantity, expected in got["direct"].items():
        difference = np.abs(got["mesh"][quantity] - expected).max()
        assert difference <= (5e-6 if quantity == "stress" else 3e-6) * np.abs(expected).max(), quantity
    assert np.abs(got["mesh"]["forces"] - got["direct"]["forces"]).max() > 0


def test_mesh_under_finite_differences(file):
    """Forces and stress are derivatives of the energy of the mesh itself, far below its accuracy."""
    atoms = random_atoms(n_atoms=6, tilt=0.4)
    atoms.calc = LESCalculator(file, solver="mesh", accuracy=1e-6, mesh=(20, 20, 20))
    forces, stress = atoms.get_forces(), atoms.get_stress()
    np.testing.assert_allclose(calculate_numerical_forces(atoms, 1e-4), forces, atol=1e-5 * np.abs(forces).max())
    np.testing.assert_allclose(calculate_numerical_stress(atoms, 1e-5), stress, atol=1e-5 * np.abs(stress).max())


def test_long_range_sum_is_printed_once(file, capsys):
    atoms = random_atoms()
    atoms.calc = LESCalculator(file, solver="mesh", window="b_spline", interpolation_nodes=8, mesh_dtype="float32")
    for _ in range(2):
        atoms.rattle(0.01)
        atoms.get_potential_energy()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"LESCalculator: long-range energy: {atoms.calc.engine.long_range_description}\n"
    assert "float32" in printed.err
    assert "spline" in printed.err


@pytest.mark.parametrize("solver", ["mesh", "direct"])
def test_own_cutoff_in_a_changing_cell_warns_once(tmp_path, solver):
    atoms = random_atoms()
    export_model(
        random_model(atoms=atoms, long_range=LongRangeSettings(k_cutoff=np.pi)), tmp_path / "k.les.pt", [atoms]
    )
    for freeze in (False, True):
        atoms = random_atoms()
        atoms.calc = LESCalculator(tmp_path / "k.les.pt", solver=solver, freeze_k_set=freeze)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                atoms.get_potential_energy()
                atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
        assert [warning.category for warning in caught] == ([] if freeze else [UserWarning])
        assert all("freeze_k_set" in str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accuracy": 1.0}, "`accuracy` must be between 1e-8 and 1e-2, got 1"),
        ({"accuracy": 1e-9}, "`accuracy` must be between 1e-8 and 1e-2, got 1e-09"),
        ({"accuracy": 1e-7, "mesh_dtype": "float32"}, "float32 mesh reaches an `accuracy` of 1e-6 at best"),
        ({"accuracy": None}, "`accuracy` must be a number, got None"),
        ({"mesh": (4, 4)}, r"`mesh` must be three whole numbers or None, got \(4, 4\)"),
        ({"mesh": (20, 20, 20.5)}, r"`mesh` must be three whole numbers or None, got \(20, 20, 20.5\)"),
        ({"window": "gauss"}, "`window` must be kaiser_bessel or b_spline, got gauss"),
        ({"solver": "fast"}, "`solver` must be auto, mesh or direct, got fast"),
        ({"freeze_k_set": 1}, "`freeze_k_set` must be True or False, got 1"),
    ],
)
def test_unusable_long_range_options(file, options, message):
    with pytest.raises(LESError, match=message):
        LESCalculator(file, **options)
