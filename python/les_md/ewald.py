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


def phases(fractional: Tensor, axis: int, first: int, last: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi n s for n = first ... last along one axis, each (n_atoms, last - first + 1).

    Real numbers throughout: TorchScript's own backward pass of a product leaves out the conjugate of complex factors.
    """
    n = torch.arange(first, last + 1, dtype=fractional.dtype, device=fractional.device)
    angles = 2.0 * math.pi * fractional[:, axis].unsqueeze(1) * n
    return torch.cos(angles), torch.sin(angles)


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
    # S(k) = sum_i q_i e^{i k.r_i} for n0 >= 0: the other half is its conjugate. One matrix product over atoms.
    cos0, sin0 = phases(fractional, 0, 0, m0)
    cos1, sin1 = phases(fractional, 1, -m1, m1)
    cos2, sin2 = phases(fractional, 2, -m2, m2)
    first_real = (charges.unsqueeze(2) * cos0.unsqueeze(1)).flatten(1)
    first_imag = (charges.unsqueeze(2) * sin0.unsqueeze(1)).flatten(1)
    cos1, sin1, cos2, sin2 = cos1.unsqueeze(2), sin1.unsqueeze(2), cos2.unsqueeze(1), sin2.unsqueeze(1)
    rest_real = (cos1 * cos2 - sin1 * sin2).flatten(1)
    rest_imag = (cos1 * sin2 + sin1 * cos2).flatten(1)
    first = torch.cat([first_real, first_imag]).transpose(0, 1)
    real = torch.matmul(first, torch.cat([rest_real, -rest_imag]))
    imag = torch.matmul(first, torch.cat([rest_imag, rest_real]))
    squared = (real.square() + imag.square()).view(charges.size(1), m0 + 1, -1).sum(0)

    n = torch.cartesian_prod(
        torch.arange(0, m0 + 1, device=cell.device), torch.arange(-m1, m1 + 1, device=cell.device), torch.arange(-m2, m2 + 1, device=cell.device)
    ).to(cell.dtype)
    kvectors = 2.0 * math.pi * torch.matmul(n, inverse.transpose(0, 1))
    k_sq = kvectors.square().sum(1)
    inside = (k_sq.detach() <= k_cutoff * k_cutoff * (1.0 + 1e-9)) & (n.abs().sum(1) > 0)
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
