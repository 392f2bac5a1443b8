"""The compiled steps of the cluster expansion for training, with first and second derivatives in closed form.

Training on forces differentiates twice, and generic differentiation of many small tensor operations is slow. The engine
has the three steps (sums over neighbours, mixing, invariants) with their gradients and the derivatives of those; here
they become torch functions. What they leave out is the gradient of forces with respect to positions, which training
never needs: so they are used only inside `training_kernels()`, on the CPU. The network in plain tensor operations is
the reference, and what everybody else runs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from les_md.engine import load_core
from les_md.errors import LESError

_active = False


@contextmanager
def training_kernels(active: bool = True) -> Iterator[None]:
    """Networks evaluated inside this context take the compiled steps where they can.

    The backward pass of a loss has to be inside too. Gradients of forces with respect to positions are missing.
    """
    global _active
    before, _active = _active, active
    try:
        yield
    finally:
        _active = before


@functools.lru_cache(maxsize=1)
def _core() -> ModuleType | None:
    try:
        return load_core()
    except LESError:
        return None


def in_use(vectors: Tensor) -> bool:
    """Whether a network with edges `vectors` is to take the compiled steps."""
    return _active and vectors.device.type == "cpu" and _core() is not None


def _typed(name: str, dtype: torch.dtype) -> Any:
    return getattr(_core(), f"{name}_{str(dtype).removeprefix('torch.')}")


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def neighbour_sums(
    vectors: Tensor, embedding: Tensor, radial: Tensor, edge_index: Tensor, l_max: int, n_rows: int
) -> Tensor:
    """sum_j embedding_{j b} R_n(r_ij) Y_m(r_ij), (n_rows, n_embedding * n_radial, n_monomials).

    Args:
        vectors: (n_edges, 3), angstrom.
        embedding: (n_atoms, n_embedding).
        radial: (n_edges, 2, n_radial), radial functions and their slopes, as numbers.
        edge_index: (2, n_edges), centres not decreasing and below `n_rows`.
    """
    centres, neighbours = edge_index[0], edge_index[1]
    arrays = [_array(x) for x in (centres, neighbours, vectors, radial, embedding)]
    edges = _typed("Edges", vectors.dtype)(*arrays, l_max)
    result: Tensor = _NeighbourSums.apply(vectors, embedding, neighbours, edges, n_rows)
    return result


class _NeighbourSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, embedding: Tensor, neighbours: Tensor, edges: Any, n_rows: int) -> Tensor:
        ctx.save_for_backward(vectors, embedding, neighbours)
        ctx.edges = edges
        return torch.from_numpy(edges.sums(n_rows))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        vectors, embedding, neighbours = ctx.saved_tensors
        of_embedding = ctx.needs_input_grad[1]
        of_vectors, of_edges = _NeighbourSumsGradient.apply(
            gradient, vectors, embedding, neighbours, ctx.edges, of_embedding
        )
        if not of_embedding:
            return of_vectors, None, None, None, None
        return of_vectors, torch.zeros_like(embedding).index_add(0, neighbours, of_edges), None, None, None


class _NeighbourSumsGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        vectors: Tensor,
        embedding: Tensor,
        neighbours: Tensor,
        edges: Any,
        of_embedding: bool,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(gradient, vectors, embedding, neighbours)
        ctx.edges, ctx.of_embedding = edges, of_embedding
        of_vectors, of_edges = edges.gradient(_array(gradient), of_embedding)
        return torch.from_numpy(of_vectors), torch.from_numpy(of_edges) if of_embedding else None

    @staticmethod
    def backward(ctx: Any, step: Tensor | None, edge_step: Tensor | None = None) -> tuple[Any, ...]:
        gradient, vectors, embedding, neighbours = ctx.saved_tensors
        step = torch.zeros_like(vectors) if step is None else step
        further = None if edge_step is None or not ctx.of_embedding else _array(edge_step)
        of_gradient, of_edges = ctx.edges.second(_array(gradient), _array(step), further, ctx.of_embedding)
        of_embedding = None
        if ctx.of_embedding:
            of_embedding = torch.zeros_like(embedding).index_add(0, neighbours, torch.from_numpy(of_edges))
        return torch.from_numpy(of_gradient), None, of_embedding, None, None, None


def mix(sums: Tensor, weights: Tensor, types: Tensor, l_max: int) -> Tensor:
    """sum_s sums[i, s, m] weights[t_i, l(m), s, c]: (n_atoms, n_monomials, channels)."""
    result: Tensor = _Mix.apply(sums, weights, types, l_max)
    return result


# The three functions below are each other's derivatives, so they can be differentiated any number of times.


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, weights: Tensor, types: Tensor, l_max: int) -> Tensor:
        ctx.save_for_backward(sums, weights, types)
        ctx.l_max = l_max
        arrays = (_array(sums), _array(weights))
        return torch.from_numpy(_typed("mix", sums.dtype)(_array(types), l_max, *arrays))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sums, weights, types = ctx.saved_tensors
        of_sums = _MixTransposed.apply(gradient, weights, types, ctx.l_max) if ctx.needs_input_grad[0] else None
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = _MixWeights.apply(sums, gradient, types, ctx.l_max, len(weights))
        return of_sums, of_weights, None, None


class _MixTransposed(torch.autograd.Function):
    """sums[i, s, m] = sum_c basis[i, m, c] weights[t_i, l(m), s, c]"""

    @staticmethod
    def forward(ctx: Any, basis: Tensor, weights: Tensor, types: Tensor, l_max: int) -> Tensor:
        ctx.save_for_backward(basis, weights, types)
        ctx.l_max = l_max
        arrays = (_array(basis), _array(weights.transpose(2, 3)))
        return torch.from_numpy(_typed("mix_transposed", basis.dtype)(_array(types), l_max, *arrays))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        basis, weights, types = ctx.saved_tensors
        of_basis = _Mix.apply(gradient, weights, types, ctx.l_max) if ctx.needs_input_grad[0] else None
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = _MixWeights.apply(gradient, basis, types, ctx.l_max, len(weights))
        return of_basis, of_weights, None, None


class _MixWeights(torch.autograd.Function):
    """weights[t, l, s, c] = sum of sums[i, s, m] basis[i, m, c] over atoms of type t and monomials of degree l"""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, basis: Tensor, types: Tensor, l_max: int, n_types: int) -> Tensor:
        ctx.save_for_backward(sums, basis, types)
        ctx.l_max = l_max
        arrays = (_array(sums), _array(basis))
        return torch.from_numpy(_typed("mix_weights", sums.dtype)(_array(types), l_max, *arrays, n_types))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sums, basis, types = ctx.saved_tensors
        of_sums = _MixTransposed.apply(basis, gradient, types, ctx.l_max) if ctx.needs_input_grad[0] else None
        of_basis = _Mix.apply(sums, gradient, types, ctx.l_max) if ctx.needs_input_grad[1] else None
        return of_sums, of_basis, None, None, None


def polynomial(terms: Tensor, weights: Tensor, n_monomials: int, n_invariants: int) -> Any:
    """The engine's form of `angular.Invariants.table`, in the precision of `weights`."""
    return _typed("Invariants", weights.dtype)(_array(terms), _array(weights), n_monomials, n_invariants)


def invariants(basis: Tensor, table: Any) -> Tensor:
    """`basis` (n_atoms, n_monomials, channels) -> (n_atoms, n_invariants, channels), by a table of `polynomial`."""
    result: Tensor = _Invariants.apply(basis, table)
    return result


class _Invariants(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, basis: Tensor, table: Any) -> Tensor:
        ctx.save_for_backward(basis)
        ctx.table = table
        return torch.from_numpy(table.values(_array(basis)))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        (basis,) = ctx.saved_tensors
        return _InvariantsGradient.apply(basis, gradient, ctx.table), None


class _InvariantsGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, basis: Tensor, gradient: Tensor, table: Any) -> Tensor:
        ctx.save_for_backward(basis, gradient)
        ctx.table = table
        return torch.from_numpy(table.gradient(_array(basis), _array(gradient)))

    @staticmethod
    def backward(ctx: Any, step: Tensor) -> tuple[Tensor, Tensor, None]:
        basis, gradient = ctx.saved_tensors
        of_gradient, of_basis = ctx.table.second(_array(basis), _array(gradient), _array(step))
        return torch.from_numpy(of_basis), torch.from_numpy(of_gradient), None
