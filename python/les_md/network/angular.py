"""Angular monomials of the edges and the invariants built from their sums.

The coupling coefficients are whole numbers worked out once at construction, so that the evaluation is a fixed sparse
polynomial: a native kernel can run it from the same tables.
"""

import functools
import itertools
import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from les_md.network import kernels

Monomial = tuple[int, int, int]


def monomials(l_max: int) -> list[Monomial]:
    """All (lx, ly, lz) with lx + ly + lz <= l_max, by degree."""
    return [
        (lx, ly, degree - lx - ly)
        for degree in range(l_max + 1)
        for lx in range(degree, -1, -1)
        for ly in range(degree - lx, -1, -1)
    ]


class AngularBasis(nn.Module):
    """x^lx y^ly z^lz of the unit edge vectors.

    Source: Cheng, npj Comput. Mater. 10, 157 (2024), Cartesian angular basis.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        basis = monomials(l_max)
        index = {monomial: position for position, monomial in enumerate(basis)}
        # every monomial of degree l > 0 is one of degree l - 1 times one coordinate
        self.levels = nn.ModuleList()
        for degree in range(1, l_max + 1):
            level = [m for m in basis if sum(m) == degree]
            axes = [next(axis for axis in range(3) if m[axis] > 0) for m in level]
            parents = [
                index[(m[0] - (axis == 0), m[1] - (axis == 1), m[2] - (axis == 2))]
                for m, axis in zip(level, axes, strict=True)
            ]
            first = index[(degree - 1, 0, 0)]
            self.levels.append(MonomialLevel([parent - first for parent in parents], axes))

    def forward(self, directions: Tensor) -> Tensor:
        """`directions` (..., 3), unit vectors -> (..., n_monomials)."""
        values = torch.ones_like(directions[..., :1])
        parts = [values]
        for level in self.levels:
            values = level(values, directions)
            parts.append(values)
        return torch.cat(parts, dim=-1)


class MonomialLevel(nn.Module):
    """Monomials of one degree from those of the degree below, one multiplication each."""

    parents: Tensor
    axes: Tensor

    def __init__(self, parents: list[int], axes: list[int]) -> None:
        super().__init__()
        self.register_buffer("parents", torch.tensor(parents))
        self.register_buffer("axes", torch.tensor(axes))

    def forward(self, lower: Tensor, directions: Tensor) -> Tensor:
        return lower.index_select(-1, self.parents) * directions.index_select(-1, self.axes)


def contraction_patterns(n_factors: int, l_max: int) -> list[tuple[int, ...]]:
    """Ways to contract `n_factors` tensors of degree <= l_max completely, up to exchange of the factors.

    A pattern gives, for every pair of factors (a < b), how many indices they share. Patterns that fall apart into
    smaller ones are left out, for they are products of other invariants.
    """
    pairs = list(itertools.combinations(range(n_factors), 2))
    found: set[tuple[int, ...]] = set()
    patterns: list[tuple[int, ...]] = []
    for shared in itertools.product(range(l_max + 1), repeat=len(pairs)):
        degrees = [
            sum(n for n, pair in zip(shared, pairs, strict=True) if factor in pair) for factor in range(n_factors)
        ]
        if min(degrees) < 1 or max(degrees) > l_max or not _connected(n_factors, pairs, shared):
            continue
        canonical = max(
            tuple(shared[pairs.index((min(p[a], p[b]), max(p[a], p[b])))] for a, b in pairs)
            for p in itertools.permutations(range(n_factors))
        )
        if canonical not in found:
            found.add(canonical)
            patterns.append(canonical)
    return sorted(patterns, key=lambda pattern: (sum(pattern), pattern))


def _connected(n_factors: int, pairs: list[tuple[int, int]], shared: tuple[int, ...]) -> bool:
    reached = {0}
    for _ in range(n_factors):
        for (a, b), n in zip(pairs, shared, strict=True):
            if n > 0 and (a in reached or b in reached):
                reached |= {a, b}
    return len(reached) == n_factors


def contraction_terms(pattern: tuple[int, ...], n_factors: int) -> dict[tuple[Monomial, ...], int]:
    """One complete contraction as a polynomial: sorted monomials of the factors -> whole-number coefficient."""
    pairs = list(itertools.combinations(range(n_factors), 2))
    terms: dict[tuple[Monomial, ...], int] = defaultdict(int)
    splits = [[(x, y, n - x - y) for x in range(n + 1) for y in range(n - x + 1)] for n in pattern]
    for choice in itertools.product(*splits):
        coefficient = 1
        exponents = [[0, 0, 0] for _ in range(n_factors)]
        for (a, b), counts, n in zip(pairs, choice, pattern, strict=True):
            # n shared indices, `counts` of them x, y, z: n! / (x! y! z!) ways
            coefficient *= math.factorial(n) // (
                math.factorial(counts[0]) * math.factorial(counts[1]) * math.factorial(counts[2])
            )
            for axis in range(3):
                exponents[a][axis] += counts[axis]
                exponents[b][axis] += counts[axis]
        key = tuple(sorted((e[0], e[1], e[2]) for e in exponents))
        terms[key] += coefficient
    return dict(terms)


class Contractions(nn.Module):
    """All invariants with one number of factors, as a sparse polynomial in the atomic basis."""

    factors: Tensor  # (n_factors, n_products), monomials of the factors of each product
    coefficients: Tensor  # (n_invariants, n_products)

    def __init__(self, l_max: int, n_factors: int) -> None:
        super().__init__()
        index = {monomial: position for position, monomial in enumerate(monomials(l_max))}
        invariants = [contraction_terms(pattern, n_factors) for pattern in contraction_patterns(n_factors, l_max)]
        products = sorted({key for terms in invariants for key in terms})
        column = {key: position for position, key in enumerate(products)}
        # float64 until the model is converted: rounded coefficients are not invariant
        coefficients = torch.zeros(len(invariants), len(products), dtype=torch.float64)
        for row, terms in enumerate(invariants):
            # scaled so that all invariants have a comparable size
            norm = math.sqrt(sum(value * value for value in terms.values()))
            for key, value in terms.items():
                coefficients[row, column[key]] = value / norm
        factors = torch.tensor([[index[m] for m in key] for key in products], dtype=torch.int64)
        self.n_invariants = len(invariants)
        self.register_buffer("factors", factors.reshape(len(products), n_factors).T.contiguous())
        self.register_buffer("coefficients", coefficients)

    def forward(self, atomic_basis: Tensor) -> Tensor:
        """`atomic_basis` (n_atoms, n_monomials, channels) -> (n_atoms, n_invariants, channels)."""
        products = atomic_basis.index_select(1, self.factors[0])
        for factor in range(1, self.factors.size(0)):
            products = products * atomic_basis.index_select(1, self.factors[factor])
        return torch.matmul(self.coefficients, products)


class Invariants(nn.Module):
    """Rotation invariants of the atomic basis: full contractions of up to `body_order` - 1 factors of one channel.

    Source: Cheng, npj Comput. Mater. 10, 157 (2024), symmetrised basis B; all connected contractions are kept.
    """

    def __init__(self, l_max: int, body_order: int) -> None:
        super().__init__()
        self.contractions = nn.ModuleList(
            Contractions(l_max, n_factors)
            for n_factors in range(2, body_order)
            if contraction_patterns(n_factors, l_max)
        )
        self.n_invariants = 1 + sum(len(contraction_patterns(n, l_max)) for n in range(2, body_order))
        self.l_max = l_max
        self.body_order = body_order

    def forward(self, atomic_basis: Tensor) -> Tensor:
        """`atomic_basis` (n_atoms, n_monomials, channels) -> (n_atoms, n_invariants, channels)."""
        parts = [atomic_basis[:, :1]]
        for contraction in self.contractions:
            parts.append(contraction(atomic_basis))
        return torch.cat(parts, dim=1)


@functools.lru_cache(maxsize=32)
def invariant_table(l_max: int, body_order: int, dtype: torch.dtype) -> Any:
    """`Invariants` as one list of terms, for `kernels.invariants`."""
    module = Invariants(l_max, body_order)
    terms, weights, invariant = [[0, 1, 0, 0, 0, 0]], [1.0], 1
    for contraction in module.contractions:
        assert isinstance(contraction, Contractions)
        n_factors = contraction.factors.size(0)
        for row, column in contraction.coefficients.nonzero().tolist():
            factors = contraction.factors[:, column].tolist()
            terms.append([invariant + row, n_factors, *factors, *[0] * (4 - n_factors)])
            weights.append(float(contraction.coefficients[row, column]))
        invariant += contraction.n_invariants
    return kernels.polynomial(
        torch.tensor(terms, dtype=torch.int32), torch.tensor(weights, dtype=dtype), len(monomials(l_max)), invariant
    )
