"""Options of the mesh solver: what is refused, what is said once, and wave vectors frozen while the cell changes."""

import math
import re

import numpy as np
import pytest
from charged_systems import TRICLINIC, random_charges, rms

from les_md import EwaldSolver, MeshSolver
from les_md.errors import LESError


@pytest.mark.parametrize("solver_class", [MeshSolver, EwaldSolver])
def test_model_cutoff_warns_once_unless_frozen(solver_class, recwarn):
    charges, positions = random_charges(TRICLINIC)
    solver = solver_class(k_cutoff=math.pi)
    solver.compute(charges, positions, TRICLINIC)
    with pytest.warns(UserWarning, match="sums wave vectors up to its own k_cutoff, so its energy jumps"):
        solver.compute(charges, positions, TRICLINIC * 1.01)
    solver.compute(charges, positions, TRICLINIC * 1.02)
    assert len(recwarn) == 0
    frozen = solver_class(k_cutoff=math.pi, freeze_k_set=True)
    energies = [frozen.compute(charges, positions * s, TRICLINIC * s).energy for s in np.linspace(1.0, 1.1, 101)]
    # smooth: second differences of a smooth function over steps of 1e-3
    assert np.abs(np.diff(energies, 2)).max() < 1e-4 * abs(energies[0])
    moving = []
    for scale in np.linspace(1.0, 1.1, 101):
        fresh = solver_class(k_cutoff=math.pi)
        moving.append(fresh.compute(charges, positions * scale, TRICLINIC * scale).energy)
    assert np.abs(np.diff(moving, 2)).max() > 1e-4 * abs(energies[0])


def test_frozen_mesh_is_the_frozen_direct_sum():
    charges, positions = random_charges(TRICLINIC)
    mesh, direct = (c(k_cutoff=math.pi, freeze_k_set=True) for c in (MeshSolver, EwaldSolver))
    for scale in (1.0, 1.07):
        results = [solver.compute(charges, positions * scale, TRICLINIC * scale) for solver in (mesh, direct)]
        assert rms(results[0].forces - results[1].forces) < 1e-4 * rms(results[1].forces)
        assert results[0].energy == pytest.approx(results[1].energy, rel=1e-5)


def test_description():
    charges, positions = random_charges(TRICLINIC)
    solver = MeshSolver(accuracy=1e-3, interpolation_nodes=7)
    assert solver.description == "nothing evaluated yet"
    solver.compute(charges, positions, TRICLINIC)
    pattern = (
        r"mesh \d+ x \d+ x \d+ \(spacing [\d. x]+ angstrom\), Kaiser-Bessel window of 7 nodes, float64, wave vectors "
        r"up to [\d.]+ 1/angstrom \(converged\), estimated relative force error [\d.e-]+, asked for 0.001"
    )
    assert re.fullmatch(pattern, solver.description)


def test_coarse_mesh_of_the_user_warns():
    charges, positions = random_charges(TRICLINIC)
    with pytest.warns(
        UserWarning, match=r"estimated error with the mesh and window given, .* is too near the accuracy"
    ):
        MeshSolver(mesh_spacing=1.2).compute(charges, positions, TRICLINIC)


REFUSED = {
    "`accuracy` must be between 1e-8 and 1e-2, got 0.1": {"accuracy": 0.1},
    "`accuracy` must be between 1e-8 and 1e-2, got 1e-09": {"accuracy": 1e-9},
    "a float32 mesh reaches an `accuracy` of 1e-6 at best, got 1e-07": {"accuracy": 1e-7, "dtype": "float32"},
    "must be float32 or float64, got float16": {"dtype": "float16"},
    "`window` must be kaiser_bessel or b_spline, got hat": {"window": "hat"},
    "`interpolation_nodes` must be 4 to 16, got 3": {"interpolation_nodes": 3},
    "`mesh_spacing` must be positive, got 0 angstrom": {"mesh_spacing": 0.0},
    "`mesh` and `mesh_spacing` exclude each other": {"mesh_spacing": 1.0, "mesh": (10, 10, 10)},
    "`mesh` must have at least 4 points along each cell vector, got 3": {"mesh": (3, 10, 10)},
    "`freeze_k_set` is for models with their own k_cutoff": {"freeze_k_set": True},
    "`smearing` must be positive and finite, got -1": {"smearing": -1.0},
    "`k_cutoff` must be positive and finite, got nan": {"k_cutoff": math.nan},
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_options(text):
    with pytest.raises(LESError, match=re.escape(text)):
        MeshSolver(**REFUSED[text])


def test_refused_input():
    charges, positions = random_charges(TRICLINIC)
    solver = MeshSolver()
    bad = positions.copy()
    bad[3, 1] = math.nan
    with pytest.raises(LESError, match="`positions` must be finite, got NaN or infinity"):
        solver.compute(charges, bad, TRICLINIC)
    with pytest.raises(LESError, match="`charges` must be finite, got NaN or infinity"):
        solver.compute(charges * math.inf, positions, TRICLINIC)
    with pytest.raises(LESError, match="`cell` must have a volume, got 0 cubic angstrom"):
        solver.compute(charges, positions, TRICLINIC * [[1], [1], [0]])
    with pytest.raises(LESError, match=r"`charges` must have shape \(\d+,\) or"):
        solver.compute(charges[1:], positions, TRICLINIC)
    with pytest.raises(LESError, match=r"the mesh of [\d x]+ points needs [\d.e+]+ GB, and [\d.e+]+ GB of memory"):
        solver.compute(charges, positions, TRICLINIC * 1e3)
    with pytest.raises(LESError, match="`mesh` must have at least as many points along each cell vector as"):
        MeshSolver(mesh=(6, 20, 20), interpolation_nodes=8).compute(charges, positions, np.eye(3) * 2.0)
    with pytest.raises(
        LESError, match=r"`mesh` must have at least 15 points along cell vector 0 for wave vectors up to"
    ):
        MeshSolver(k_cutoff=math.pi, mesh=(12, 40, 40), interpolation_nodes=8).compute(charges, positions, TRICLINIC)


def test_another_system_gets_another_choice():
    """One solver for unrelated systems, as in an evaluation over many frames: each is as accurate as with its own."""
    charges, positions = random_charges(TRICLINIC)
    tiny = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]), np.eye(3) * 4.0
    solver = MeshSolver(accuracy=1e-6)
    solver.compute(np.array([1.0, -1.0]), *tiny)
    reused = solver.compute(charges, positions, TRICLINIC)
    assert np.array_equal(reused.forces, MeshSolver(accuracy=1e-6).compute(charges, positions, TRICLINIC).forces)
    back = solver.compute(np.array([1.0, -1.0]), *tiny)
    exact = EwaldSolver().compute(np.array([1.0, -1.0]), *tiny)
    assert back.energy == pytest.approx(exact.energy, rel=1e-6)
