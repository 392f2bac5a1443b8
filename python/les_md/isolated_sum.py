"""Long-range energy of many isolated systems at once for training, with derivatives in closed form.

The kernel depends on positions alone, and the energy is quadratic in the charges: both derivatives of it are products
of small matrices. As in `network.kernels`, the gradient of forces with respect to positions is left out, so this takes
the place of `ewald.isolated_energy` only inside `training_kernels()`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from les_md.ewald import self_energy


def isolated_energies(
    charges: Tensor,
    positions: Tensor,
    system_idx: Tensor,
    n_atoms: Tensor,
    smearing: float,
    coulomb_constant: float,
    remove_self_interaction: bool,
) -> Tensor:
    """`ewald.isolated_energy` of every system, (n_systems,) eV, float64.

    Args:
        charges: (n_atoms, n_channels), e, float64.
        positions: (n_atoms, 3), angstrom, float64.
        system_idx: (n_atoms,) system of each atom, not decreasing; `n_atoms` (n_systems,) their sizes.
    """
    n_systems, longest = len(n_atoms), int(n_atoms.max())
    first = torch.cumsum(n_atoms, 0) - n_atoms
    places = system_idx * longest + torch.arange(len(system_idx)) - first.index_select(0, system_idx)

    def padded(values: Tensor) -> Tensor:
        table = values.new_zeros(n_systems * longest, values.size(1)).index_copy(0, places, values)
        return table.view(n_systems, longest, values.size(1))

    # empty places have no charge
    kernel, slope = _kernel(padded(positions.detach()), smearing, coulomb_constant)
    energies: Tensor = _QuadraticForm.apply(padded(charges), padded(positions), kernel, slope)
    if not remove_self_interaction:
        energies = energies + torch.stack(
            [self_energy(q, smearing, coulomb_constant) for q in charges.split(n_atoms.tolist())]
        )
    return energies


def _kernel(positions: Tensor, smearing: float, coulomb_constant: float) -> tuple[Tensor, Tensor]:
    """K_ij = K_e erf(a r) / r, (n_systems, n, n), and dK_ij/dr_i, (n_systems, n, n, 3); zero for i = j."""
    separations = positions.unsqueeze(2) - positions.unsqueeze(1)
    squares = separations.square().sum(-1)
    # coinciding places: atoms with themselves, and empty places among each other
    same = squares == 0
    distances = torch.where(same, 1.0, squares).sqrt()
    a = 1.0 / (math.sqrt(2.0) * smearing)
    kernel = coulomb_constant * torch.erf(a * distances) / distances
    gaussian = coulomb_constant * 2.0 * a / math.sqrt(math.pi) * torch.exp(-((a * distances) ** 2))
    slope = (gaussian - kernel) / distances.square()
    return kernel.masked_fill(same, 0.0), slope.unsqueeze(-1) * separations


class _QuadraticForm(torch.autograd.Function):
    """E = 1/2 sum_ij q_i K_ij q_j, summed over channels, for each system."""

    @staticmethod
    def forward(ctx: Any, charges: Tensor, positions: Tensor, kernel: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(charges, kernel, slope)
        return 0.5 * (charges * torch.bmm(kernel, charges)).sum((1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        charges, kernel, slope = ctx.saved_tensors
        of_charges, of_positions = _QuadraticFormGradient.apply(charges, gradient, kernel, slope)
        return of_charges, of_positions, None, None


class _QuadraticFormGradient(torch.autograd.Function):
    """g phi_i and g sum_j (q_i . q_j) dK_ij/dr_i, where `gradient` g (n_systems,) is that of the energies."""

    @staticmethod
    def forward(ctx: Any, charges: Tensor, gradient: Tensor, kernel: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(charges, gradient, kernel, slope)
        scale = gradient.view(-1, 1, 1)
        products = torch.bmm(charges, charges.transpose(1, 2))
        return scale * torch.bmm(kernel, charges), scale * (products.unsqueeze(-1) * slope).sum(2)

    @staticmethod
    def backward(ctx: Any, charges_step: Tensor, positions_step: Tensor) -> tuple[Tensor, Tensor, None, None]:
        charges, gradient, kernel, slope = ctx.saved_tensors
        # E along the steps: sum_i s_i . phi_i + 1/2 sum_ij K'_ij q_i . q_j, with K' the change of the kernel
        change = ((positions_step.unsqueeze(2) - positions_step.unsqueeze(1)) * slope).sum(-1)
        potentials, potentials_step = torch.bmm(kernel, charges), torch.bmm(change, charges)
        of_charges = gradient.view(-1, 1, 1) * (torch.bmm(kernel, charges_step) + potentials_step)
        of_gradient = (charges_step * potentials + 0.5 * charges * potentials_step).sum((1, 2))
        return of_charges, of_gradient, None, None
