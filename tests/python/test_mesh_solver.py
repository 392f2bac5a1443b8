"""The mesh solver against direct sums, closed forms and its own finite differences."""

import math

import numpy as np
import pytest
import torch
from charged_systems import CELLS, ROTATION, TRICLINIC, random_charges, random_force, rms, rock_salt

from les_md import EwaldSolver, MeshSolver


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("k_cutoff", [None, math.pi])
@pytest.mark.parametrize("accuracy", [1e-2, 1e-4, 1e-6, 1e-8])
def test_error_is_below_the_accuracy(name, k_cutoff, accuracy):
    cell = CELLS[name]
    charges, positions = random_charges(cell, net=0.7)
    exact = EwaldSolver(k_cutoff=k_cutoff).compute(charges, positions, cell)
    solver = MeshSolver(k_cutoff=k_cutoff, accuracy=accuracy)
    mesh = solver.compute(charges, positions, cell)
    assert solver.plan["estimated_error"] <= 0.55 * accuracy
    assert rms(mesh.forces - exact.forces) < accuracy * random_force(charges, cell, k_cutoff)
    assert rms(mesh.potentials - exact.potentials) < accuracy * rms(exact.potentials)
    # of the virial of charges placed at random
    other = EwaldSolver(k_cutoff=k_cutoff).compute(charges, random_charges(cell, seed=9)[1], cell)
    scale = max(np.abs(other.virial).max(), np.abs(exact.virial).max())
    assert np.abs(mesh.virial - exact.virial).max() < 5 * accuracy * scale


@pytest.mark.filterwarnings("ignore:the estimated error with the mesh and window given")
@pytest.mark.parametrize("nodes", range(4, 13))
@pytest.mark.parametrize("spacing", [0.5, 0.8])
@pytest.mark.parametrize("window", ["kaiser_bessel", "b_spline"])
def test_estimate_of_given_windows(nodes, spacing, window):
    """The a-priori estimate has no fitted constant and is met within a third."""
    charges, positions = random_charges(CELLS["cubic"])
    exact = EwaldSolver(k_cutoff=math.pi).compute(charges, positions, CELLS["cubic"])
    solver = MeshSolver(k_cutoff=math.pi, accuracy=1e-2, interpolation_nodes=nodes, mesh_spacing=spacing, window=window)
    error = rms(solver.compute(charges, positions, CELLS["cubic"]).forces - exact.forces)
    relative = error / random_force(charges, CELLS["cubic"], math.pi)
    assert solver.plan["interpolation_nodes"] == nodes
    assert max(solver.plan["spacing"]) <= spacing
    assert 0.66 < relative / solver.plan["estimated_error"] < 1.5


def test_crystals():
    """In a perfect crystal forces vanish; accuracy means the same charges placed at random."""
    for displacement in (0.0, 0.1):
        charges, positions, cell = rock_salt(6, displacement=displacement)
        exact = EwaldSolver().compute(charges, positions, cell)
        for accuracy in (1e-3, 1e-5):
            mesh = MeshSolver(accuracy=accuracy).compute(charges, positions, cell)
            assert rms(mesh.forces - exact.forces) < accuracy * random_force(charges, cell, None)


def test_rock_salt_madelung_constant():
    """With little smearing the energy per ion pair is -1.747565 K_e / d (Madelung constant of NaCl)."""
    charges, positions, cell = rock_salt(2, d=2.8)
    solver = MeshSolver(smearing=0.35, accuracy=1e-8, coulomb_constant=1.0)
    assert solver.compute(charges, positions, cell).energy / 4.0 == pytest.approx(-1.747564594633 / 2.8, rel=1e-8)


# Independent of this project: charges +1/-1 e 3 angstrom apart in a cubic box of 10, self-interaction removed
@pytest.mark.parametrize(("k_cutoff", "energy"), [(math.pi, -5.1169272), (2 * math.pi, -5.0955219), (None, -5.0955219)])
def test_reference_values(k_cutoff, energy):
    solver = MeshSolver(k_cutoff=k_cutoff, accuracy=1e-8)
    result = solver.compute(np.array([1.0, -1.0]), np.array([[0.0, 0, 0], [3, 0, 0]]), np.eye(3) * 10.0)
    assert result.energy == pytest.approx(energy, abs=1e-6)


@pytest.mark.parametrize("accuracy", [1e-2, 1e-4])
@pytest.mark.parametrize("k_cutoff", [None, math.pi])
@pytest.mark.parametrize("keep_self", [False, True])
def test_derivatives_of_the_mesh_energy(accuracy, k_cutoff, keep_self):
    """Forces, potentials and virial are the derivatives of the mesh's own energy, whatever its accuracy."""
    cell = TRICLINIC * 0.6
    charges, positions = random_charges(cell, channels=2, net=1.0)
    plan = MeshSolver(k_cutoff=k_cutoff, accuracy=accuracy).plan_for(cell, len(charges))
    # one mesh for all cells below
    same = {name: plan[name] for name in ("mesh", "interpolation_nodes")} | {"freeze_k_set": k_cutoff is not None}
    solver = MeshSolver(k_cutoff=k_cutoff, accuracy=accuracy, remove_self_interaction=not keep_self, **same)
    result = solver.compute(charges, positions, cell)
    n, step = len(charges), 1e-4

    def slope(change):
        up, down = change(step), change(-step)
        return (solver.compute(*up).energy - solver.compute(*down).energy) / (2 * step)

    rng = np.random.default_rng(2)
    direction = rng.normal(size=(n, 3))
    forces = result.forces + result.net_force / n
    along = slope(lambda s: (charges, positions + s * direction, cell))
    assert along == pytest.approx(-(forces * direction).sum(), rel=2e-5, abs=1e-6)
    change = rng.normal(size=charges.shape)
    along = slope(lambda s: (charges + s * change, positions, cell))
    assert along == pytest.approx((result.potentials * change).sum(), rel=1e-8)
    for _ in range(3):
        strain = rng.normal(size=(3, 3))
        along = slope(lambda s, e=strain: (charges, positions @ (np.eye(3) + s * e), cell @ (np.eye(3) + s * e)))
        # a converged kernel is cut where it is small, and modes that cross the cut are in this difference
        assert along == pytest.approx(-(result.virial * strain).sum(), abs=5 * accuracy * np.abs(result.virial).max())
    assert np.allclose(result.virial, result.virial.T, atol=1e-12)
    assert result.energy == pytest.approx(0.5 * (charges * result.potentials).sum(), rel=1e-12)


def test_net_force_is_taken_out_and_small():
    charges, positions = random_charges(TRICLINIC)
    result = MeshSolver().compute(charges, positions, TRICLINIC)
    assert np.abs(result.forces.sum(0)).max() < 1e-12
    assert 0 < np.linalg.norm(result.net_force) / len(charges) < 1e-4 * rms(result.forces)


def test_float32_mesh():
    charges, positions = random_charges(TRICLINIC)
    exact = EwaldSolver().compute(charges, positions, TRICLINIC)
    mesh = MeshSolver(accuracy=1e-6, dtype="float32").compute(charges, positions, TRICLINIC)
    assert rms(mesh.forces - exact.forces) < 1e-6 * random_force(charges, TRICLINIC, None)
    assert mesh.energy == pytest.approx(exact.energy, rel=1e-6)


def test_invariances():
    """Atom order, periodic images, rotation; and shifts against the mesh to the accuracy asked for."""
    charges, positions = random_charges(TRICLINIC)
    solver = MeshSolver(accuracy=1e-6)
    result = solver.compute(charges, positions, TRICLINIC)
    order = np.random.default_rng(0).permutation(len(charges))
    permuted = solver.compute(charges[order], positions[order], TRICLINIC)
    assert np.allclose(permuted.forces, result.forces[order], atol=1e-12)
    images = np.random.default_rng(0).integers(-3, 4, positions.shape) @ TRICLINIC
    wrapped = solver.compute(charges, positions + images, TRICLINIC)
    assert np.allclose(wrapped.forces, result.forces, atol=1e-11)
    rotated = MeshSolver(accuracy=1e-6).compute(charges, positions @ ROTATION, TRICLINIC @ ROTATION)
    assert np.allclose(rotated.forces, result.forces @ ROTATION, atol=1e-11)
    assert np.allclose(rotated.virial, ROTATION.T @ result.virial @ ROTATION, atol=1e-11)
    shifted = solver.compute(charges, positions + np.array([0.123, 0.3, -0.7]), TRICLINIC)
    assert rms(shifted.forces - result.forces) < 1e-6 * rms(result.forces)
    doubled = MeshSolver(accuracy=1e-6).compute(
        np.concatenate([charges] * 2),
        np.concatenate([positions, positions + TRICLINIC[0]]),
        TRICLINIC * [[2], [1], [1]],
    )
    assert doubled.energy == pytest.approx(2 * result.energy, rel=1e-6)


def test_result_does_not_depend_on_threads():
    charges, positions = random_charges(np.eye(3) * 48.0)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(MeshSolver().compute(charges, positions, np.eye(3) * 48.0))
    torch.set_num_threads(1)
    assert len(charges) > 8192
    assert results[0].energy == results[1].energy
    assert np.array_equal(results[0].forces, results[1].forces)
    assert np.array_equal(results[0].virial, results[1].virial)


def test_channels_add_up_and_uncharged_atoms_have_potentials():
    charges, positions = random_charges(TRICLINIC, channels=3)
    charges[0] = 0.0
    solver = MeshSolver()
    together = solver.compute(charges, positions, TRICLINIC)
    apart = [solver.compute(charges[:, c], positions, TRICLINIC) for c in range(3)]
    assert together.energy == pytest.approx(sum(one.energy for one in apart), rel=1e-12)
    assert np.allclose(together.forces, sum(one.forces for one in apart), atol=1e-12)
    assert np.allclose(together.virial, sum(one.virial for one in apart), atol=1e-12)
    assert np.allclose(together.potentials, np.stack([one.potentials for one in apart], 1), atol=1e-12)
    assert np.abs(together.potentials[0]).min() > 0.0


def test_smooth_when_the_mesh_changes_with_the_volume():
    """Constant-pressure dynamics: no step in energy, and the virial is its slope, across several meshes."""
    charges, positions = random_charges(np.eye(3) * 12.0)
    solver, meshes = MeshSolver(accuracy=1e-4), set()
    scales = np.linspace(1.0, 1.25, 101)
    scan = []
    for scale in scales:
        scan.append(solver.compute(charges, positions * scale, np.eye(3) * 12.0 * scale))
        meshes.add(solver.plan["mesh"])
    exact = [EwaldSolver().compute(charges, positions * s, np.eye(3) * 12.0 * s) for s in scales]
    assert len(meshes) >= 3
    forces = random_force(charges, np.eye(3) * 12.0, None)
    for mesh, direct in zip(scan, exact, strict=True):
        assert rms(mesh.forces - direct.forces) < 1e-4 * forces
    energies = np.array([result.energy for result in scan])
    deviation = energies - np.array([result.energy for result in exact])
    assert np.abs(np.diff(deviation)).max() < 1e-4 * abs(energies.mean())
    slopes = np.array([-np.trace(result.virial) for result in scan]) / scales  # dE/ds = -tr W / s
    measured = (energies[2:] - energies[:-2]) / (scales[2:] - scales[:-2])
    assert np.abs(measured - slopes[1:-1]).max() < 2e-3 * np.abs(slopes).max()


@pytest.mark.parametrize("solver_class", [MeshSolver, EwaldSolver])
def test_tensors_with_gradients(solver_class):
    """Energy, forces, potentials and virial of the differentiable way are those of the compiled one."""
    charges, positions = random_charges(TRICLINIC, channels=2)
    solver = solver_class(**({"accuracy": 1e-6} if solver_class is MeshSolver else {}))
    plain = solver.compute(*(torch.tensor(a) for a in (charges, positions, TRICLINIC)))
    assert isinstance(plain.forces, torch.Tensor)
    assert not plain.forces.requires_grad
    r = torch.tensor(positions, requires_grad=True)
    result = solver.compute(torch.tensor(charges), r, torch.tensor(TRICLINIC))
    assert rms((result.forces - plain.forces).detach().numpy()) < 2e-6 * rms(plain.forces.numpy())
    assert (result.virial - plain.virial).abs().max() < 1e-5 * plain.virial.abs().max()
    assert torch.allclose(result.potentials, plain.potentials, atol=2e-6)
    assert result.energy.item() == pytest.approx(float(plain.energy), rel=1e-6)
    (second,) = torch.autograd.grad(result.forces.square().sum(), r)
    step = torch.randn(r.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    up, down = (
        solver.compute(torch.tensor(charges), (r + s * step).detach().requires_grad_(), torch.tensor(TRICLINIC))
        for s in (1e-5, -1e-5)
    )
    slope = (up.forces.square().sum() - down.forces.square().sum()).item() / 2e-5
    assert slope == pytest.approx((second * step).sum().item(), rel=1e-4)
