"""Polarization of the systems of a batch and how it changes when an atom moves, from the charges of a model.

Training fits both and evaluation shows them, so they keep a graph where one is wanted. The engine has its own for the
hosts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.model import LESModel


def polarizations(model: LESModel, batch: AtomsBatch, output: dict[str, Tensor], charges: Tensor) -> Tensor:
    """P of every system, (n_systems, 3), e angstrom, of physical charges: sqrt(eps_inf) times latent ones.

    Isolated systems: sum_i q_i r_i about the origin of the coordinates. With charge transfers sum_i q0_i r_i +
    sum_ij a_ij (r_i - r_j), for periodic systems too; positions are taken as they are, and one that is wrapped into a
    periodic cell changes P by a quantum. Without transfers P of a periodic system has no meaning.

    Args:
        output: what the network returned.
        charges: (n_atoms, n_channels), e, latent, after the neutrality option.
    """
    positions = batch[fields.POSITIONS]
    if model.charge_flux:
        constant = (model.element_charges() * model.charge_sign).sum(1).double()
        of_atoms = constant.index_select(0, batch[fields.TYPES]).unsqueeze(1) * positions
        of_atoms = of_atoms + output[fields.TRANSFER_DIPOLES].double()
    else:
        of_atoms = charges.sum(1, keepdim=True) * positions
    n_systems = len(batch[fields.N_ATOMS])
    zeros = torch.zeros(n_systems, 3, dtype=torch.float64, device=positions.device)
    return zeros.index_add(0, batch[fields.SYSTEM_IDX], of_atoms) * model.settings.atomic_charge_scale


def born_charges_of(
    model: LESModel, batch: AtomsBatch, output: dict[str, Tensor], charges: Tensor, leaf: Tensor, create_graph: bool
) -> Tensor:
    """Z*_{i,a,b} = d(polarization_a)/d(r_ib), (n_atoms, 3, 3), e, of physical charges.

    With charge transfers, and isolated: the derivative of `polarizations`. Periodic without transfers: the same along
    the fractional directions s_a with the phase of atom i taken out, Z_{i,a,b} = q_i ds_ia/dr_ib + sum_j dq_j/dr_ib
    sin(2 pi (s_ja - s_ia)) / (2 pi), turned to cartesian; for orthorhombic cells this is the expression of Zhong et
    al., arXiv:2504.05169 (2025).

    Args:
        output, charges: as for `polarizations`, with their graph.
        leaf: (n_atoms, 3), the positions that everything was computed from.
        create_graph: keep a graph of the result, for training on it.
    """

    def slope(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, leaf, create_graph=create_graph, retain_graph=True)[0]

    periodic = batch[fields.PERIODIC]
    by_phases = torch.zeros_like(periodic) if model.charge_flux else periodic
    parts = []
    if not bool(by_phases.all()):
        polarization = polarizations(model, batch, output, charges)[~by_phases]
        parts.append(torch.stack([slope(polarization[:, axis].sum()) for axis in range(3)], dim=1))
    if bool(by_phases.any()):
        system_idx, cells = batch[fields.SYSTEM_IDX], batch[fields.CELL]
        inverses = torch.linalg.inv(cells.detach()).index_select(0, system_idx)
        physical = charges.sum(1) * model.settings.atomic_charge_scale
        physical = torch.where(by_phases.index_select(0, system_idx), physical, 0.0)
        angles = 2.0 * math.pi * torch.einsum("na,nab->nb", batch[fields.POSITIONS], inverses)
        along_fractional = []
        for axis in range(3):
            angle = angles[:, axis]
            sine, cosine = slope((physical * torch.sin(angle)).sum()), slope((physical * torch.cos(angle)).sum())
            phase = angle.detach().unsqueeze(1)
            along_fractional.append((torch.cos(phase) * sine - torch.sin(phase) * cosine) / (2.0 * math.pi))
        cells_of_atoms = cells.detach().index_select(0, system_idx)
        parts.append(torch.einsum("iab,iac->icb", torch.stack(along_fractional, dim=1), cells_of_atoms))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]
