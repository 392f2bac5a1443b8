"""Direct long-range sums in plain tensor operations: periodic and isolated, differentiable to second order.

Training and the self-contained TorchForce entry use these; the engine has its own in C++. All functions compile with
TorchScript. Sums run in float64 whatever the precision of the network.
"""

import math

import torch
from torch import Tensor


def self_energy(charges: Tensor, smearing: float, coulomb_constant: float) -> Tensor:
    """N_F sum q^2 / (sigma (2 pi)^{3/2}): the energy of each smeared charge with itself, eV; `charges` in e."""
    reciprocal_constant = 2.0 * math.pi * coulomb_constant
    return reciprocal_constant * (charges * charges).sum() / (smearing * (2.0 * math.pi) ** 1.5)


def phases(fractional: Tensor, axis: int, last: int) -> Tensor:
    """cos and sin of 2 pi n s for n = 0 ... last along one axis, (n_atoms, 2, last + 1).

    Real numbers throughout: TorchScript's own backward pass of a product leaves out the conjugate of complex factors.
    """
    n = torch.arange(0, last + 1, dtype=fractional.dtype, device=fractional.device)
    angles = 2.0 * math.pi * fractional[:, axis].unsqueeze(1) * n
    return torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)


def squared_structure_factors(charges: Tensor, fractional: Tensor, m0: int, m1: int, m2: int) -> Tensor:
    """|S(k)|^2 summed over channels for n0 >= 0, the half of k-space whose conjugate is the other half.

    Returns:
        (4, m0 + 1, m1 + 1, m2 + 1) for the signs (++, +-, -+, --) of n1 and n2.
    """
    # sums over atoms of all products of a cosine or sine along each axis: one matrix product
    first = (charges.unsqueeze(2).unsqueeze(3) * phases(fractional, 0, m0).unsqueeze(1)).flatten(1)
    second = phases(fractional, 1, m1).unsqueeze(2).unsqueeze(4)
    third = phases(fractional, 2, m2).unsqueeze(1).unsqueeze(3)
    sums = torch.matmul(first.transpose(0, 1), (second * third).flatten(1))
    sums = sums.view(charges.size(1), 2, m0 + 1, 2, 2, m1 + 1, m2 + 1)
    ccc, ccs, csc, css = sums[:, 0, :, 0, 0], sums[:, 0, :, 0, 1], sums[:, 0, :, 1, 0], sums[:, 0, :, 1, 1]
    scc, scs, ssc, sss = sums[:, 1, :, 0, 0], sums[:, 1, :, 0, 1], sums[:, 1, :, 1, 0], sums[:, 1, :, 1, 1]
    squares: list[Tensor] = []
    for sign1 in (1.0, -1.0):
        for sign2 in (1.0, -1.0):
            # cos and sin of theta0 + sign1 theta1 + sign2 theta2
            real = ccc - sign1 * ssc - sign2 * scs - sign1 * sign2 * css
            imaginary = scc + sign1 * csc + sign2 * ccs - sign1 * sign2 * sss
            squares.append((real.square() + imaginary.square()).sum(0))
    return torch.stack(squares)


def periodic_energy(
    charges: Tensor,
    positions: Tensor,
    cell: Tensor,
    smearing: float,
    k_cutoff: float,
    coulomb_constant: float,
    remove_self_interaction: bool,
) -> Tensor:
    """(N_F/V) sum_{0<|k|<=k_c} exp(-sigma^2 k^2/2)/k^2 |S(k)|^2, less the self energy if asked; summed over channels.

    Source: Cheng, npj Comput. Mater. 11, 80 (2025). k = 0 is left out; there is no background term.

    Args:
        charges: (n_atoms, n_channels), e.
        positions: (n_atoms, 3), angstrom.
        cell: (3, 3), rows are lattice vectors, any orientation and handedness.
        smearing: sigma, angstrom.
        k_cutoff: largest |k|, 1/angstrom.
        coulomb_constant: K_e = N_F / (2 pi), eV angstrom / e^2.

    Returns:
        scalar, eV, float64.
    """
    charges = charges.to(torch.float64)
    inverse = torch.linalg.inv(cell)
    fractional = torch.matmul(positions, inverse)
    # |n_a| = |k . a_a| / 2 pi <= k_c |a_a| / 2 pi covers the whole sphere in any cell
    reach = torch.floor(k_cutoff * torch.linalg.vector_norm(cell.detach(), dim=1) / (2.0 * math.pi) + 1e-6)
    m0, m1, m2 = int(reach[0]), int(reach[1]), int(reach[2])
    squared = squared_structure_factors(charges, fractional, m0, m1, m2)
    signs = torch.tensor([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]], dtype=cell.dtype, device=cell.device)
    grid = torch.cartesian_prod(
        torch.arange(0, m0 + 1, device=cell.device),
        torch.arange(0, m1 + 1, device=cell.device),
        torch.arange(0, m2 + 1, device=cell.device),
    ).to(cell.dtype)
    n = (signs.unsqueeze(1) * grid).view(-1, 3)
    kvectors = 2.0 * math.pi * torch.matmul(n, inverse.transpose(0, 1))
    k_sq = kvectors.square().sum(1)
    inside = (k_sq.detach() <= k_cutoff * k_cutoff * (1.0 + 1e-9)) & (grid.sum(1) > 0).repeat(4)
    # a coordinate of zero has one sign only
    repeated = ((signs.unsqueeze(1) < 0) & (grid == 0)).any(2).flatten()
    inside = inside & ~repeated
    k_sq = torch.where(inside, k_sq, torch.ones_like(k_sq))
    kernel = torch.exp(-0.5 * smearing * smearing * k_sq) / k_sq
    weight = torch.where(n[:, 0] > 0, 2.0, 1.0) * inside.to(cell.dtype)
    reciprocal_constant = 2.0 * math.pi * coulomb_constant
    energy = reciprocal_constant / torch.linalg.det(cell).abs() * (weight * kernel * squared.flatten()).sum()
    if remove_self_interaction:
        energy = energy - self_energy(charges, smearing, coulomb_constant)
    return energy


def isolated_energy(
    charges: Tensor, positions: Tensor, smearing: float, coulomb_constant: float, remove_self_interaction: bool
) -> Tensor:
    """(K_e/2) sum_{i != j} q_i q_j erf(r_ij / (sqrt(2) sigma)) / r_ij, plus the self energy if kept.

    Arguments and result as in `periodic_energy`.
    """
    charges = charges.to(torch.float64)
    n_atoms = positions.size(0)
    # the diagonal is moved away from zero and masked, so that its derivatives stay finite
    diagonal = torch.eye(n_atoms, dtype=positions.dtype, device=positions.device)
    separations = positions.unsqueeze(0) - positions.unsqueeze(1)
    distances = torch.sqrt(separations.square().sum(-1) + diagonal)
    kernel = torch.erf(distances / (math.sqrt(2.0) * smearing)) / distances * (1.0 - diagonal)
    energy = 0.5 * coulomb_constant * (charges * torch.matmul(kernel, charges)).sum()
    if not remove_self_interaction:
        energy = energy + self_energy(charges, smearing, coulomb_constant)
    return energy


def neutralize(charges: Tensor, total_charge: Tensor) -> Tensor:
    """q_i - (sum_j q_j - Q) / N per channel; `charges` (n_atoms, n_channels), `total_charge` (n_channels,), e."""
    excess = charges.sum(0) - total_charge.to(charges.dtype)
    return charges - excess / max(charges.size(0), 1)
