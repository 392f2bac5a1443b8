"""The long-range energy on a particle mesh as a torch function, differentiable twice in charges, positions and cell.

Training on the forces of large cells uses it in place of the direct sum of `ewald`. The steps are those of the mesh
solver of the hosts, written as torch operations. The gradient is exact: no net force is taken out, as that solver does.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from les_md.engine import load_core
from les_md.errors import LESError
from les_md.ewald import self_energy
from les_md.mesh_primitives import engine_call, mesh_to_modes, points_to_mesh


@dataclass(frozen=True)
class MeshPlan:
    """Mesh and window of one evaluation.

    Args:
        mesh: points along the cell vectors.
        window: "kaiser_bessel" or "b_spline".
        interpolation_nodes: mesh points per axis that one charge touches.
        shape: beta of the Kaiser-Bessel window (no effect on B-splines).
        k_cutoff: largest |k| on the mesh, 1/angstrom.
        converged: the kernel has no cutoff of its own; `k_cutoff` is where the mesh stops.
    """

    mesh: tuple[int, int, int]
    window: str
    interpolation_nodes: int
    shape: float
    k_cutoff: float
    converged: bool


@dataclass(frozen=True)
class Modes:
    """Wave vectors 0 < |k| <= k_cutoff with n2 >= 0, those on the mesh first; the rest are their negatives.

    Args:
        integers: (n_modes, 3), n of k = 2 pi n . inverse cell, float64.
        index: (n_on_mesh,) places in the flattened spectrum (M0, M1, M2 // 2 + 1).
        multiplicity: (n_on_mesh,) 2 where the negative is not listed, else 1.
        gain: (n_on_mesh,) multiplicity / W(k)^2, W the transform of the window.
        self_loss: (n_modes,) multiplicity times what the mesh lacks (or has too much) of the self energy of this mode.
        nearest: (n_on_mesh, 3) multiplicity times the nearest alias along each axis: how the self energy of a charge
            varies between mesh points.
    """

    integers: Tensor
    index: Tensor
    multiplicity: Tensor
    gain: Tensor
    self_loss: Tensor
    nearest: Tensor


def mesh_energy(
    charges: Tensor,
    positions: Tensor,
    cell: Tensor,
    plan: MeshPlan,
    smearing: float,
    coulomb_constant: float,
    remove_self_interaction: bool,
) -> Tensor:
    """What `ewald.periodic_energy` sums, up to the error of the mesh; three derivatives.

    (N_F/V) sum_k G(k) |rho(k)|^2 with rho the transform of the charges spread over the mesh and
    G = exp(-sigma^2 k^2/2) / k^2 / W(k)^2, less the error of the mesh self energy of each charge: its mean and what
    varies between mesh points.

    Args:
        charges: (n_atoms, n_channels), e.
        positions: (n_atoms, 3), angstrom, any image.
        cell: (3, 3), rows are lattice vectors, any orientation and handedness.
        plan: see `plan_mesh`.
        smearing: sigma, angstrom.
        coulomb_constant: K_e = N_F / (2 pi), eV angstrom / e^2.
        remove_self_interaction: take out the energy of each charge with itself.

    Returns:
        scalar, eV, float64. Raises LESError for wrong shapes, positions that are not finite and a singular cell.
    """
    _check_shapes(charges, positions, cell)
    charges, positions, cell = charges.to(torch.float64), positions.to(torch.float64), cell.to(torch.float64)
    modes = _modes_of(plan, _numbers(cell), str(cell.device))
    inverse = torch.linalg.inv(cell)
    u = torch.matmul(positions, inverse) * torch.tensor(plan.mesh, dtype=torch.float64, device=cell.device)
    mesh = points_to_mesh(u, charges.unsqueeze(2), _operator(plan))
    amplitudes = mesh_to_modes(mesh, modes.index, modes.multiplicity)
    k_sq = (2.0 * math.pi * torch.matmul(modes.integers, inverse.transpose(0, 1))).square().sum(1)
    kernel = torch.exp(-0.5 * smearing * smearing * k_sq) / k_sq
    n_on_mesh = len(modes.index)
    spread = (kernel[:n_on_mesh] * modes.gain * amplitudes.square().sum((0, 2))).sum()
    squares = charges.square().sum()
    reciprocal_constant = 2.0 * math.pi * coulomb_constant
    volume = torch.linalg.det(cell).abs()
    # between mesh points the self energy of a unit charge varies as sum_a ripple_a cos(2 pi u_a)
    ripple = 4.0 * torch.matmul(kernel[:n_on_mesh], modes.nearest)
    varying = (torch.matmul(torch.cos(2.0 * math.pi * u), ripple) * charges.square().sum(1)).sum()
    energy = reciprocal_constant / volume * (spread + (modes.self_loss * kernel).sum() * squares - varying)
    if plan.converged:
        # 1/(2 pi)^3 times the integral of the kernel beyond the cutoff, which moves with the modes of the cell
        cutoff = plan.k_cutoff * (volume.detach() / volume) ** (1.0 / 3.0)
        rest = math.sqrt(0.5 * math.pi) / smearing * torch.erfc(cutoff * smearing / math.sqrt(2.0))
        energy = energy + reciprocal_constant / (2.0 * math.pi**2) * rest * squares
    if remove_self_interaction:
        energy = energy - self_energy(charges, smearing, coulomb_constant)
    return energy


def plan_mesh(cell: Tensor, n_atoms: int, smearing: float, k_cutoff: float | None, accuracy: float) -> MeshPlan:
    """Mesh and window for `accuracy` (rms force error over the rms force of the same charges placed at random).

    It is found once for each cell and number of atoms.

    Args:
        k_cutoff: largest |k| of a model that has one, 1/angstrom; None: converged kernel.
    """
    return _plan_mesh(_numbers(cell), n_atoms, smearing, k_cutoff, accuracy)


@functools.lru_cache(maxsize=4096)
def _plan_mesh(
    cell: tuple[float, ...], n_atoms: int, smearing: float, k_cutoff: float | None, accuracy: float
) -> MeshPlan:
    found = engine_call(
        load_core().mesh_plan,
        np.array(cell).reshape(3, 3),
        n_atoms,
        smearing=smearing,
        k_cutoff=k_cutoff,
        accuracy=accuracy,
    )
    return MeshPlan(
        mesh=tuple(found["mesh"]),
        window=found["window"],
        interpolation_nodes=found["interpolation_nodes"],
        shape=found["shape"],
        k_cutoff=found["k_cutoff"],
        converged=k_cutoff is None,
    )


@functools.lru_cache(maxsize=64)
def _operator_of(mesh: tuple[int, int, int], window: str, interpolation_nodes: int, shape: float) -> Any:
    return engine_call(load_core().MeshOperator, mesh, window, interpolation_nodes, shape)


def _operator(plan: MeshPlan) -> Any:
    return _operator_of(plan.mesh, plan.window, plan.interpolation_nodes, plan.shape)


@functools.lru_cache(maxsize=4)
def _modes_of(plan: MeshPlan, cell_numbers: tuple[float, ...], device: str) -> Modes:
    """Modes of `plan` in the cell of these 9 numbers; the last ones are kept for frames that share a cell."""
    cell = torch.tensor(cell_numbers, dtype=torch.float64).view(3, 3)
    volume, lengths = torch.linalg.det(cell).abs(), torch.linalg.vector_norm(cell, dim=1)
    if not bool(volume > 1e-10 * lengths.prod()):  # false for a cell that is not finite, too
        raise LESError(f"`cell` must have three finite vectors that span a volume, got {cell.tolist()}")
    # |n_a| = |k . a_a| / 2 pi <= k_c |a_a| / 2 pi covers the whole sphere in any cell
    reach = [int(waves) for waves in torch.floor(plan.k_cutoff * lengths / (2.0 * math.pi) + 1e-6)]
    lowest = (-reach[0], -reach[1], 0)
    axes = [torch.arange(low, high + 1, dtype=torch.float64) for low, high in zip(lowest, reach, strict=True)]
    n0, n1, n2 = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    k_sq = torch.zeros((), dtype=torch.float64)
    for b0, b1, b2 in (2.0 * math.pi * torch.linalg.inv(cell)).tolist():
        k_sq = k_sq + (n0 * b0 + n1 * b1 + n2 * b2).square()
    inside = (k_sq <= plan.k_cutoff**2 * (1.0 + 1e-9)) & ((n0 != 0) | (n1 != 0) | (n2 != 0))
    m0, m1, m2 = plan.mesh
    # the highest mode of an even length is its own negative: it has no place on the mesh
    on_mesh = (2 * n0.abs() < m0) & (2 * n1.abs() < m1) & (2 * n2 < m2)
    if not plan.converged and bool((inside & ~on_mesh).any()):
        needed = tuple(2 * waves + 1 for waves in reach)
        raise LESError(f"`mesh` must have at least {needed} points for k_cutoff {plan.k_cutoff:g}, got {plan.mesh}")
    n = torch.cat([torch.nonzero(inside & on_mesh), torch.nonzero(inside & ~on_mesh)]) + torch.tensor(lowest)
    n_on_mesh = int((inside & on_mesh).sum())
    on = n[:n_on_mesh]
    operator = _operator(plan)
    window, missing = torch.ones(n_on_mesh, dtype=torch.float64), torch.ones(len(n), dtype=torch.float64)
    tables = zip(operator.window_transform(), operator.alias_excess(), operator.nearest_alias(), strict=True)
    multiplicity = torch.where(n[:, 2] > 0, 2.0, 1.0).to(torch.float64)
    nearest: list[Tensor] = []
    for axis, (transform, excess, alias) in enumerate(tables):
        order = on[:, axis].abs()
        window *= torch.tensor(transform, dtype=torch.float64)[order]
        # sum over aliases of W^2, relative to W(k)^2: what the mean mesh self energy has too much
        missing[:n_on_mesh] *= 1.0 + torch.tensor(excess, dtype=torch.float64)[order]
        nearest.append(multiplicity[:n_on_mesh] * torch.tensor(alias, dtype=torch.float64)[order])
    missing[:n_on_mesh] = 1.0 - missing[:n_on_mesh]
    index = (on[:, 0] % m0 * m1 + on[:, 1] % m1) * (m2 // 2 + 1) + on[:, 2]
    return Modes(
        integers=n.to(device, torch.float64),
        index=index.to(device),
        multiplicity=multiplicity[:n_on_mesh].to(device),
        gain=(multiplicity[:n_on_mesh] / window.square()).to(device),
        self_loss=(multiplicity * missing).to(device),
        nearest=torch.stack(nearest, dim=1).to(device),
    )


def _numbers(cell: Tensor) -> tuple[float, ...]:
    return tuple(cell.detach().to("cpu", torch.float64).flatten().tolist())


def _check_shapes(charges: Tensor, positions: Tensor, cell: Tensor) -> None:
    if positions.dim() != 2 or positions.shape[1] != 3:
        raise LESError(f"`positions` must have shape (n_atoms, 3), got {tuple(positions.shape)}")
    if charges.dim() != 2 or charges.shape[0] != positions.shape[0]:
        raise LESError(
            f"`charges` must have shape (n_atoms, n_channels) with {positions.shape[0]} atoms, got "
            f"{tuple(charges.shape)}"
        )
    if cell.shape != (3, 3):
        raise LESError(f"`cell` must have shape (3, 3), got {tuple(cell.shape)}")
