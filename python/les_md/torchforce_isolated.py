"""Long-range energy of large isolated systems for the self-contained entry: the sum over pairs in blocks of rows.

The gradients are computed here and not by autograd, so that memory grows with the number of atoms and not its square.
"""

import math

import torch
from torch import Tensor

from les_md import torchforce_sizes as sizes
from les_md.ewald import self_energy


def isolated_energy_in_blocks(
    charges: Tensor,
    positions: Tensor,
    smearing: float,
    coulomb_constant: float,
    remove_self_interaction: bool,
    gradients: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `ewald.isolated_energy` sums, and its derivatives.

    Args:
        charges, positions, smearing, coulomb_constant, remove_self_interaction: as there; no gradients.
        gradients: whether they are wanted; empty tensors if not.

    Returns:
        energy; its gradients in charges (n_atoms, n_channels) and positions (n_atoms, 3).
    """
    charges = charges.to(torch.float64)
    n_atoms = charges.size(0)
    potentials = torch.zeros_like(charges)
    in_positions = torch.zeros_like(positions)
    scale = 1.0 / (math.sqrt(2.0) * smearing)
    block = max(1, sizes.PAIRS_AT_ONCE // max(1, n_atoms))
    for start in range(0, n_atoms, block):
        stop = min(n_atoms, start + block)
        separations = positions[start:stop].unsqueeze(1) - positions.unsqueeze(0)
        r = torch.sqrt(separations.square().sum(2))
        r.diagonal(start).fill_(1.0)
        kernel = torch.erf(scale * r) / r
        kernel.diagonal(start).fill_(0.0)
        potentials[start:stop] = torch.matmul(kernel, charges)
        if gradients:
            # d/dr erf(s r) / r, over r for the direction
            slope = (2.0 / math.sqrt(math.pi) * scale * torch.exp(-(scale * r).square()) - kernel) / r.square()
            slope.diagonal(start).fill_(0.0)
            products = slope * torch.matmul(charges[start:stop], charges.transpose(0, 1))
            in_positions[start:stop] = (products.unsqueeze(2) * separations).sum(1)
    energy = 0.5 * coulomb_constant * (charges * potentials).sum()
    in_charges = coulomb_constant * potentials
    if not remove_self_interaction:
        own = self_energy(torch.ones(1, 1, dtype=torch.float64, device=charges.device), smearing, coulomb_constant)
        energy = energy + own * charges.square().sum()
        in_charges = in_charges + 2.0 * own * charges
    return energy, in_charges, coulomb_constant * in_positions
