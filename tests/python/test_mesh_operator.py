"""The mesh energy of torch: against the direct sum to second derivatives, its own derivatives, and in training."""

import itertools
import math

import numpy as np
import pytest
import torch
from structures import random_atoms, random_model

from les_md import fields
from les_md.batch import frame_from_atoms
from les_md.constants import COULOMB_CONSTANT, converged_k_cutoff
from les_md.engine import load_core
from les_md.errors import LESError
from les_md.ewald import periodic_energy
from les_md.forces import DIRECT_SUM, MESH_WORK, PeriodicSum, evaluate
from les_md.mesh_operator import MeshPlan, mesh_energy, plan_mesh
from les_md.mesh_primitives import mesh_to_modes, mesh_to_points, points_to_mesh
from les_md.settings import LongRangeSettings

CELLS = {
    "orthorhombic": [[9.0, 0, 0], [0, 8.2, 0], [0, 0, 10.1]],
    "triclinic, left-handed": [[9.0, 0.5, 0], [2.0, -10.0, 1.0], [-1.0, 1.5, 8.0]],
}
SMALL_CELL = [[5.3, 0.2, -0.1], [0.4, 5.1, 0.3], [-0.2, 0.1, 5.6]]


def random_system(cell, n_atoms=40, n_channels=1, seed=0):
    """Charges that do not add up to zero, positions in several images, and the cell, all with gradients."""
    generator = torch.Generator().manual_seed(seed)
    cell = torch.tensor(cell, dtype=torch.float64)
    charges = torch.randn(n_atoms, n_channels, dtype=torch.float64, generator=generator) + 0.2
    positions = (3.0 * torch.rand(n_atoms, 3, dtype=torch.float64, generator=generator) - 1.0) @ cell
    return [tensor.requires_grad_() for tensor in (charges, positions, cell)]


def energies_of(plan, k_cutoff=None, smearing=1.0, remove=True):
    """Mesh and direct energy as functions of charges, positions, cell."""
    kernel = (smearing, COULOMB_CONSTANT, remove)
    direct_cutoff = k_cutoff or converged_k_cutoff(smearing)
    return (
        lambda q, r, cell: mesh_energy(q, r, cell, plan, *kernel),
        lambda q, r, cell: periodic_energy(q, r, cell, smearing, direct_cutoff, *kernel[1:]),
    )


def derivatives(energy, system, seed=1):
    """Energy, its gradients, and its Hessian times a random vector, each in charges, positions, cell."""
    generator = torch.Generator().manual_seed(seed)
    value = energy(*system)
    gradients = torch.autograd.grad(value, system, create_graph=True)
    # directions of equal effect: the gradients differ in size
    product = sum(
        (gradient * torch.randn(gradient.shape, dtype=torch.float64, generator=generator)).sum()
        / gradient.detach().square().mean().sqrt()
        for gradient in gradients
    )
    return value, gradients, torch.autograd.grad(product, system)


def relative_errors(found, expected):
    return [float((a - b).detach().norm() / b.detach().norm()) for a, b in zip(found, expected, strict=True)]


@pytest.mark.parametrize("remove", [True, False], ids=["self removed", "self kept"])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("k_cutoff", [None, 3.0])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_agrees_with_the_direct_sum(cell, k_cutoff, n_channels, remove):
    system = random_system(cell, n_channels=n_channels)
    accuracy = 1e-5
    plan = plan_mesh(system[2], len(system[0]), 1.0, k_cutoff, accuracy)
    mesh, direct = (derivatives(energy, system) for energy in energies_of(plan, k_cutoff, remove=remove))
    assert mesh[0].item() == pytest.approx(direct[0].item(), rel=accuracy)
    in_charges, in_positions, in_cell = relative_errors(mesh[1], direct[1])
    assert in_charges < accuracy
    assert in_positions < accuracy
    assert in_cell < 5 * accuracy
    # one more derivative brings one more factor k, which favours the modes with the largest error
    assert max(relative_errors(mesh[2], direct[2])) < 30 * accuracy


@pytest.mark.parametrize("accuracy", [1e-3, 1e-7])
def test_keeps_the_accuracy_asked_for(accuracy):
    system = random_system(CELLS["triclinic, left-handed"], n_atoms=100)
    plan = plan_mesh(system[2], len(system[0]), 0.8, None, accuracy)
    mesh, direct = (torch.autograd.grad(energy(*system), system) for energy in energies_of(plan, smearing=0.8))
    assert max(relative_errors(mesh[:2], direct[:2])) < accuracy


def test_b_spline_window():
    system = random_system(CELLS["orthorhombic"])
    plan = MeshPlan((24, 24, 28), "b_spline", 10, 0.0, 5.5, True)
    mesh, direct = (derivatives(energy, system) for energy in energies_of(plan))
    assert max(relative_errors(mesh[1], direct[1])) < 1e-4


@pytest.mark.parametrize(
    ("window", "nodes"), [("kaiser_bessel", 8), ("b_spline", 6)], ids=["Kaiser-Bessel", "B-spline"]
)
def test_derivatives_of_its_own(window, nodes):
    """Coarse meshes, odd lengths and channels: the derivatives are exact whatever the error of the mesh is."""
    system = random_system(SMALL_CELL, n_atoms=3, n_channels=2)
    # k_cutoff away from a shell, so that the set of k-vectors stays; what a converged kernel has beyond it is a
    # constant whose slope stands for the vectors that would cross
    energy, _ = energies_of(MeshPlan((8, 10, 9), window, nodes, 2.3 * nodes, 3.21, False))
    assert torch.autograd.gradcheck(energy, system, rtol=1e-7, atol=1e-7)
    assert torch.autograd.gradgradcheck(energy, system, rtol=1e-6, atol=1e-6)

    def gradients(*system):
        return torch.autograd.grad(energy(*system), system, create_graph=True)

    assert torch.autograd.gradgradcheck(gradients, system, rtol=1e-5, atol=1e-5)


def test_fourth_derivative_is_refused():
    system = random_system(SMALL_CELL, n_atoms=3)
    value = mesh_energy(*system, MeshPlan((8, 8, 8), "kaiser_bessel", 6, 14.0, 3.0, True), 1.0, 1.0, True)
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, system[1], create_graph=True)
        value = gradient.square().sum()
    with pytest.raises(LESError, match=r"derivatives up to order 3, got order 4; take les_md\.ewald\.periodic_energy"):
        torch.autograd.grad(value, system[1])


def test_only_what_needs_a_gradient_gets_one():
    charges, positions, cell = random_system(SMALL_CELL, n_atoms=3)
    plan = MeshPlan((8, 8, 8), "kaiser_bessel", 6, 14.0, 3.0, True)
    energy, _ = energies_of(plan)
    all_three = torch.autograd.grad(energy(charges, positions, cell), (charges, positions, cell))
    for index in range(3):
        system = [tensor.detach() for tensor in (charges, positions, cell)]
        system[index].requires_grad_()
        (gradient,) = torch.autograd.grad(energy(*system), system[index])
        torch.testing.assert_close(gradient, all_three[index])


def test_self_energy_is_that_of_the_direct_sum():
    """One charge at many places between mesh points, where uncorrected errors are above 1e-4 eV."""
    cell = torch.tensor(SMALL_CELL, dtype=torch.float64)
    mesh, direct = energies_of(MeshPlan((8, 8, 8), "b_spline", 6, 0.0, 3.0, False), k_cutoff=3.0)
    charge = torch.ones(1, 1, dtype=torch.float64)
    places = torch.arange(6, dtype=torch.float64) / 6.0 + 0.03
    errors = torch.stack(
        [
            mesh(charge, place.unsqueeze(0) / 8.0 @ cell, cell) - direct(charge, place.unsqueeze(0), cell)
            for place in torch.cartesian_prod(places, places, places)
        ]
    )
    assert float(errors.square().mean().sqrt()) < 5e-6
    assert float(errors.mean().abs()) < 1e-8


@pytest.mark.parametrize("order", range(4))
def test_points_to_mesh_is_the_transpose_of_mesh_to_points(order):
    generator = torch.Generator().manual_seed(order)
    shape = (18, 34, 11)  # several tiles, one axis shorter than two windows
    operator = load_core().MeshOperator(shape, "kaiser_bessel", 8, 18.0)
    n_derivatives = (1, 4, 10, 20)[order]
    u = 100.0 * torch.rand(500, 3, dtype=torch.float64, generator=generator) - 50.0
    coefficients = torch.randn(500, 2, n_derivatives, dtype=torch.float64, generator=generator)
    mesh = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    spread = points_to_mesh(u, coefficients, operator, order)
    gathered = mesh_to_points(u, mesh, operator, order)
    assert float((spread * mesh).sum()) == pytest.approx(float((gathered * coefficients).sum()), rel=1e-11)
    # the same in another order of the points, and wherever a point's image is
    shuffled = torch.randperm(500, generator=generator)
    torch.testing.assert_close(points_to_mesh(u[shuffled], coefficients[shuffled], operator, order), spread)
    images = torch.tensor([18.0, -34.0, 22.0], dtype=torch.float64)
    torch.testing.assert_close(mesh_to_points(u + images, mesh, operator, order), gathered, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nodes", [4, 5, 8, 11, 16])
def test_spread_charge_is_conserved(nodes):
    """B-splines add up to one wherever the point is, and their derivatives to zero."""
    operator = load_core().MeshOperator((6, 40, 17), "b_spline", nodes, 0.0)
    u = 40.0 * torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(nodes))
    ones = torch.ones(1, 6, 40, 17, dtype=torch.float64)
    expected = torch.zeros(50, 1, 20, dtype=torch.float64)
    expected[:, :, 0] = 1.0
    torch.testing.assert_close(mesh_to_points(u, ones, operator, 3), expected, rtol=0, atol=1e-8)


def test_sums_do_not_depend_on_the_number_of_threads():
    operator = load_core().MeshOperator((32, 40, 24), "kaiser_bessel", 7, 16.0)
    generator = torch.Generator().manual_seed(0)
    u = 40.0 * torch.rand(3000, 3, dtype=torch.float64, generator=generator)
    charges = torch.randn(3000, 1, 1, dtype=torch.float64, generator=generator)
    before = torch.get_num_threads()
    meshes = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            meshes.append(points_to_mesh(u, charges, operator))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*meshes)


def test_transform_of_a_mesh():
    generator = torch.Generator().manual_seed(0)
    mesh = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    n = [mode for mode in itertools.product((-1, 0, 1), (-2, -1, 0, 1, 2), (0, 1, 2)) if mode != (0, 0, 0)]
    index = torch.tensor([(a % 4 * 5 + b % 5) * 4 + c for a, b, c in n])
    multiplicity = torch.tensor([2.0 if c else 1.0 for _, _, c in n], dtype=torch.float64)
    found = mesh_to_modes(mesh, index, multiplicity)
    m = np.stack(np.meshgrid(*(np.arange(length) / length for length in (4, 5, 6)), indexing="ij"))
    waves = np.exp(-2j * math.pi * np.einsum("na,axyz->nxyz", np.array(n), m))
    expected = np.einsum("cxyz,nxyz->cn", mesh.detach().numpy(), waves)
    np.testing.assert_allclose(torch.view_as_complex(found.detach()).numpy(), expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda mesh: mesh_to_modes(mesh, index, multiplicity), mesh)
    assert torch.autograd.gradgradcheck(lambda mesh: mesh_to_modes(mesh, index, multiplicity).square(), mesh)


PLAN = MeshPlan((8, 8, 8), "kaiser_bessel", 6, 14.0, 3.0, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"charges": torch.zeros(3)}, r"`charges` must have shape \(n_atoms, n_channels\) with 3 atoms, got \(3,\)"),
        ({"positions": torch.zeros(3, 2)}, r"`positions` must have shape \(n_atoms, 3\), got \(3, 2\)"),
        ({"positions": torch.full((3, 3), math.nan)}, "`positions` must be finite and near the cell, got -?nan"),
        ({"positions": torch.full((3, 3), math.inf)}, "`positions` must be finite and near the cell, got"),
        ({"cell": torch.zeros(3, 3)}, "`cell` must have three finite vectors that span a volume"),
        ({"cell": torch.full((3, 3), math.nan)}, "`cell` must have three finite vectors that span a volume"),
        ({"cell": torch.eye(2)}, r"`cell` must have shape \(3, 3\), got \(2, 2\)"),
        (
            {"plan": MeshPlan((8, 2, 8), "kaiser_bessel", 6, 14.0, 3.0, False)},
            r"`mesh` must have at least \(5, 5, 5\) points for k_cutoff 3, got \(8, 2, 8\)",
        ),
        ({"plan": MeshPlan((8, 0, 8), "kaiser_bessel", 6, 14.0, 3.0, True)}, "`mesh` must have at least 1 point"),
        ({"plan": MeshPlan((8, 8, 8), "gauss", 6, 14.0, 3.0, True)}, "`window` must be kaiser_bessel or b_spline"),
        ({"plan": MeshPlan((8, 8, 8), "b_spline", 3, 0.0, 3.0, True)}, "`interpolation_nodes` must be 4 to 16, got 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_input_is_refused(change, message):
    arguments = {"charges": torch.ones(3, 1), "positions": torch.zeros(3, 3), "cell": 5.0 * torch.eye(3), "plan": PLAN}
    with pytest.raises(LESError, match=message):
        mesh_energy(**(arguments | change), smearing=1.0, coulomb_constant=1.0, remove_self_interaction=True)


def test_wrong_shapes_of_the_primitives_are_refused():
    operator = load_core().MeshOperator((8, 8, 8), "kaiser_bessel", 6, 14.0)
    u = torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(LESError, match=r"`coefficients` must have shape \(n_points, n_channels, 4\) for order 1"):
        points_to_mesh(u, torch.zeros(3, 1, 1), operator, 1)
    with pytest.raises(LESError, match=r"`mesh` must have shape \(n_channels, 8, 8, 8\)"):
        mesh_to_points(u, torch.zeros(1, 8, 8, 9), operator)
    with pytest.raises(LESError, match=r"`u` must have shape \(n_points, 3\)"):
        mesh_to_points(u[:, :2], torch.zeros(1, 8, 8, 8), operator)
    with pytest.raises(LESError, match="derivatives up to order 3, got order 4"):
        mesh_to_points(u, torch.zeros(1, 8, 8, 8), operator, 4)


@pytest.mark.parametrize("k_cutoff", [None, math.pi])
def test_training_step(k_cutoff):
    """Loss on energies, forces and virials: gradients of the parameters with the mesh and with the direct sum."""
    settings = LongRangeSettings(n_channels=2, neutrality=True, k_cutoff=k_cutoff)
    model = random_model(long_range=settings)
    frame = frame_from_atoms(random_atoms(24, 8.0, tilt=1.0), model.settings.symbols, model.settings.cutoff)
    gradients = []
    for periodic_sum in (DIRECT_SUM, PeriodicSum("mesh", 1e-5)):
        output = evaluate(model, frame, create_graph=True, periodic_sum=periodic_sum)
        energy, forces, virial = (output[name] for name in (fields.ENERGY, fields.FORCES, fields.VIRIAL))
        loss = energy.square().sum() + forces.square().sum() + virial.square().sum()
        found = torch.autograd.grad(loss, list(model.charge_head.parameters()), allow_unused=True)
        gradients.append(torch.cat([gradient.flatten() for gradient in found if gradient is not None]))
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < 1e-4
    assert not torch.equal(*gradients)  # the mesh was used


def test_auto_takes_the_mesh_for_large_systems():
    settings = LongRangeSettings(k_cutoff=math.pi)
    cell = 20.0 * torch.eye(3, dtype=torch.float64)  # waves up to 10 along each axis
    least = math.ceil(MESH_WORK / 11**3)
    auto = PeriodicSum("auto")
    assert auto.takes_mesh(settings, cell, least, on_cpu=True)
    assert not auto.takes_mesh(settings, cell, least - 1, on_cpu=True)
    assert not auto.takes_mesh(settings, cell, least, on_cpu=False)
    assert PeriodicSum("mesh").takes_mesh(settings, cell, 1, on_cpu=False)
    assert not DIRECT_SUM.takes_mesh(settings, cell, 10**6, on_cpu=True)
