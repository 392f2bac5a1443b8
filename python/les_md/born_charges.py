"""Polarization of a model, and Born effective charges: how it changes when an atom moves.

The engine has both for the hosts; here they come from the Python model, for evaluation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.ewald import neutralize
from les_md.forces import edge_vectors_of, total_charge_of
from les_md.model import LESModel


def exact_polarization(model: LESModel, frame: AtomsBatch, output: dict[str, Tensor]) -> Tensor:
    """P = sqrt(eps_inf) (sum_i q0_i r_i + sum_ij a_ij (r_i - r_j)) of a model with charge transfers, (3,), e angstrom.

    Positions are taken as they are: one that is wrapped into a periodic cell changes P by a quantum.
    """
    constant = (model.element_charges() * model.charge_sign).sum(1)
    charges = constant.double().index_select(0, frame[fields.TYPES])
    moved = output[fields.TRANSFER_DIPOLES].double().sum(0)
    return (charges @ frame[fields.POSITIONS] + moved) * model.settings.atomic_charge_scale


def born_effective_charges(model: LESModel, frame: AtomsBatch) -> Tensor:
    """Z*_{i,a,b} = d(polarization_a)/d(r_ib) of one system, (n_atoms, 3, 3), e, with physical charges.

    With charge transfers: the derivative of the exact polarization. Isolated: that of sum_j q_j r_j. Periodic: the
    same along the fractional directions s_a with the phase of atom i taken out, Z_{i,a,b} = q_i ds_ia/dr_ib + sum_j
    dq_j/dr_ib sin(2 pi (s_ja - s_ia)) / (2 pi), turned to cartesian; for orthorhombic cells this is the expression of
    Zhong et al., arXiv:2504.05169 (2025).

    Raises:
        ValueError: `frame` holds more than one system.
    """
    if len(frame[fields.CELL]) != 1:
        raise ValueError(f"`frame` must hold one system, got {len(frame[fields.CELL])}")
    frame = dict(frame)
    positions = frame[fields.POSITIONS].detach().requires_grad_(True)
    frame[fields.POSITIONS] = positions
    output = model(frame[fields.TYPES], frame[fields.EDGE_INDEX], edge_vectors_of(frame), len(positions))

    def derivative(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, positions, retain_graph=True)[0]

    if model.charge_flux:
        dipole = exact_polarization(model, frame, output)
        return torch.stack([derivative(dipole[axis]) for axis in range(3)], dim=1)
    latent = output[fields.LATENT_CHARGES].to(torch.float64)
    long_range = model.settings.long_range
    if long_range is not None and long_range.neutrality:
        latent = neutralize(latent, total_charge_of(long_range, frame[fields.TOTAL_CHARGE][0]).to(latent.device))
    charges = latent.sum(1) * model.settings.atomic_charge_scale
    if not bool(frame[fields.PERIODIC][0]):
        dipole = charges @ positions
        return torch.stack([derivative(dipole[axis]) for axis in range(3)], dim=1)
    cell = frame[fields.CELL][0]
    angles = 2.0 * math.pi * positions @ torch.linalg.inv(cell)
    along_fractional = []
    for axis in range(3):
        angle = angles[:, axis]
        sine = derivative((charges * torch.sin(angle)).sum())
        cosine = derivative((charges * torch.cos(angle)).sum())
        phase = angle.detach().unsqueeze(1)
        along_fractional.append((torch.cos(phase) * sine - torch.sin(phase) * cosine) / (2.0 * math.pi))
    return torch.einsum("iab,ac->icb", torch.stack(along_fractional, dim=1), cell)
