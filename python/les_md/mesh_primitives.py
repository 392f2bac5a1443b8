"""Spreading and interpolation on a periodic mesh, and its Fourier transform, as torch functions with all derivatives.

Spreading and interpolation with derivatives are each other's transpose, and the gradient of one is the other one order
higher, so each backward pass is a forward pass here and torch's chain rule gives what `mesh_operator` needs. The loops
are in the engine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from les_md.engine import load_core
from les_md.errors import LESError

#: Total order of derivatives the engine has: an energy can be differentiated so many times.
HIGHEST_ORDER = 3


def points_to_mesh(u: Tensor, coefficients: Tensor, operator: Any, order: int = 0) -> Tensor:
    """Sum over points and derivatives alpha up to `order` of coefficients[i, c, alpha] d^alpha w(m - u_i).

    Args:
        u: (n_points, 3), positions in mesh spacings, any image; derivatives are those with respect to them.
        coefficients: (n_points, n_channels, 1, 4, 10 or 20); 1; x, y, z; xx, xy, xz, yy, yz, zz; ...
        operator: `MeshOperator` of the engine: mesh and window.

    Returns:
        (n_channels, M0, M1, M2), float64.
    """
    return _PointsToMesh.apply(u, coefficients, operator, order)


def mesh_to_points(u: Tensor, mesh: Tensor, operator: Any, order: int = 0) -> Tensor:
    """Derivatives up to `order` of sum_m w(m - u_i) mesh[c, m], (n_points, n_channels, 1, 4, 10 or 20)."""
    return _MeshToPoints.apply(u, mesh, operator, order)


def mesh_to_modes(mesh: Tensor, index: Tensor, multiplicity: Tensor) -> Tensor:
    """Real and imaginary part of sum_m mesh[c, m] exp(-2 pi i n m / M) at chosen modes n.

    torch's own derivative of rfftn transforms a full complex mesh; this one needs real meshes only.

    Args:
        mesh: (n_channels, M0, M1, M2).
        index: (n_modes,) places in the flattened spectrum (M0, M1, M2 // 2 + 1), 2 n2 < M2.
        multiplicity: (n_modes,) 2 where n2 > 0, else 1.

    Returns:
        (n_channels, n_modes, 2).
    """
    return _MeshToModes.apply(mesh, index, multiplicity)


def engine_call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls `function` of the engine; its errors become LESError."""
    try:
        return function(*arguments, **options)
    except load_core().EngineError as error:
        raise LESError(str(error)) from None


def _derivatives(order: int) -> list[tuple[int, int, int]]:
    """Orders along the three axes of all derivatives up to `order`, as the engine stores them."""
    return [
        (a, b, total - a - b)
        for total in range(order + 1)
        for a in range(total, -1, -1)
        for b in range(total - a, -1, -1)
    ]


@functools.lru_cache(maxsize=16)
def _one_order_higher(order: int, device: str) -> Tensor:
    """(3, n): where the derivatives up to `order`, once more differentiated along each axis, are among order + 1."""
    place = {orders: index for index, orders in enumerate(_derivatives(order + 1))}
    higher = [[place[a + 1, b, c], place[a, b + 1, c], place[a, b, c + 1]] for a, b, c in _derivatives(order)]
    return torch.tensor(higher, device=device).T


def _slopes(weights: Tensor, values: Tensor, order: int) -> Tensor:
    """(n_points, 3): sum of weights (n_points, n_channels, n) times the gradient of derivatives up to `order`."""
    higher = _one_order_higher(order, str(values.device))
    return torch.stack([(weights * values.index_select(2, axis)).sum((1, 2)) for axis in higher], dim=1)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _check_order(order: int) -> None:
    if order > HIGHEST_ORDER:
        raise LESError(
            f"the mesh energy has derivatives up to order {HIGHEST_ORDER}, got order {order}; take "
            "les_md.ewald.periodic_energy for higher ones"
        )


class _PointsToMesh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, coefficients: Tensor, operator: Any, order: int) -> Tensor:
        _check_order(order)
        ctx.save_for_backward(u, coefficients)
        ctx.operator, ctx.order = operator, order
        mesh = engine_call(operator.points_to_mesh, _numpy(u), _numpy(coefficients), order)
        return torch.from_numpy(mesh).to(u.device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        u, coefficients = ctx.saved_tensors
        needs_u, needs_coefficients = ctx.needs_input_grad[:2]
        at_points = mesh_to_points(u, gradient, ctx.operator, ctx.order + int(needs_u))
        for_u = _slopes(coefficients, at_points, ctx.order) if needs_u else None
        return for_u, at_points[:, :, : coefficients.shape[2]] if needs_coefficients else None, None, None


class _MeshToPoints(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, mesh: Tensor, operator: Any, order: int) -> Tensor:
        _check_order(order)
        ctx.save_for_backward(u, mesh)
        ctx.operator, ctx.order = operator, order
        derivatives = engine_call(operator.mesh_to_points, _numpy(u), _numpy(mesh), order)
        return torch.from_numpy(derivatives).to(u.device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        u, mesh = ctx.saved_tensors
        needs_u, needs_mesh = ctx.needs_input_grad[:2]
        for_mesh = points_to_mesh(u, gradient, ctx.operator, ctx.order) if needs_mesh else None
        for_u = None
        if needs_u:
            for_u = _slopes(gradient, mesh_to_points(u, mesh, ctx.operator, ctx.order + 1), ctx.order)
        return for_u, for_mesh, None, None


class _MeshToModes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mesh: Tensor, index: Tensor, multiplicity: Tensor) -> Tensor:
        ctx.save_for_backward(index, multiplicity)
        ctx.shape = mesh.shape
        return torch.view_as_real(torch.fft.rfftn(mesh, dim=(1, 2, 3)).flatten(1)[:, index])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _ModesToMesh.apply(gradient, *ctx.saved_tensors, ctx.shape), None, None


class _ModesToMesh(torch.autograd.Function):
    """The transpose of `_MeshToModes`: sum over modes of the real part of amplitude times exp(2 pi i n m / M)."""

    @staticmethod
    def forward(ctx: Any, amplitudes: Tensor, index: Tensor, multiplicity: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(index, multiplicity)
        n_channels, m0, m1, m2 = shape
        spectrum = torch.zeros(n_channels, m0 * m1 * (m2 // 2 + 1), dtype=torch.complex128, device=amplitudes.device)
        # irfftn adds the negatives of modes with n2 > 0
        spectrum[:, index] = torch.view_as_complex(amplitudes.contiguous()) / multiplicity
        spectrum = spectrum.view(n_channels, m0, m1, m2 // 2 + 1)
        return torch.fft.irfftn(spectrum, s=(m0, m1, m2), dim=(1, 2, 3), norm="forward")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _MeshToModes.apply(gradient, *ctx.saved_tensors), None, None, None
