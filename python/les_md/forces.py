"""From a model and a batch to energy, forces and virial: all signs and derivatives are decided here.

F = -dE/dr and virial = -dE/d(strain), with the total energy of design: sum of atomic energies plus the long-range sum
of the predicted charges. One backward pass gives all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.constants import converged_k_cutoff
from les_md.ewald import isolated_energy, neutralize, periodic_energy
from les_md.isolated_sum import isolated_energies
from les_md.mesh_operator import mesh_energy, plan_mesh
from les_md.model import LESModel
from les_md.network import kernels
from les_md.polarization import born_charges_of, polarizations
from les_md.settings import LongRangeSettings

#: Atoms times channels times wave vectors of one octant, from which `auto` takes the mesh. There, with 192 atoms of
#: water and the converged kernel, energy, forces, virial and the gradient of a loss on them took 10 ms with the direct
#: sum and 3 ms on the mesh, on one core. Smaller systems are bound by the number of calls, and the direct sum is exact.
MESH_WORK = 400_000


@dataclass(frozen=True)
class PeriodicSum:
    """How the long-range energy of periodic systems is evaluated.

    Args:
        solver: "direct", "mesh", or "auto": the mesh where the direct sum would take longer.
        accuracy: of the mesh, rms force error over the rms force of the same charges placed at random.
    """

    solver: Literal["auto", "mesh", "direct"] = "direct"
    accuracy: float = 1e-5

    def takes_mesh(self, settings: LongRangeSettings, cell: Tensor, n_atoms: int, on_cpu: bool) -> bool:
        """Whether a system of `n_atoms` in `cell` (3, 3) goes to the mesh, whose loops run on the CPU."""
        if self.solver != "auto":
            return self.solver == "mesh"
        if not on_cpu:
            return False
        k_cutoff = settings.k_cutoff or converged_k_cutoff(settings.smearing)
        waves = torch.linalg.vector_norm(cell.detach(), dim=1) * k_cutoff / (2.0 * math.pi)
        return n_atoms * settings.n_channels * float((waves.floor() + 1.0).prod()) >= MESH_WORK


DIRECT_SUM = PeriodicSum()


def edge_vectors_of(batch: AtomsBatch) -> Tensor:
    """r_j - r_i + cell_shifts @ cell, (n_edges, 3), float64, angstrom."""
    centres, neighbours = batch[fields.EDGE_INDEX][0], batch[fields.EDGE_INDEX][1]
    positions, cell = batch[fields.POSITIONS], batch[fields.CELL]
    if len(cell) == 1:
        shift = batch[fields.CELL_SHIFTS] @ cell[0]
    else:
        cells = cell.index_select(0, batch[fields.SYSTEM_IDX].index_select(0, centres))
        shift = torch.einsum("ea,eab->eb", batch[fields.CELL_SHIFTS], cells)
    return positions.index_select(0, neighbours) - positions.index_select(0, centres) + shift


def network_output(model: LESModel, batch: AtomsBatch) -> dict[str, Tensor]:
    """What the network says of all systems of `batch`, each with its total charge and spin if they are inputs."""
    types = batch[fields.TYPES]
    edges = (types, batch[fields.EDGE_INDEX], edge_vectors_of(batch), len(types))
    if not model.settings.state_inputs:
        output: dict[str, Tensor] = model(*edges)
        return output
    charges = torch.nan_to_num(batch[fields.TOTAL_CHARGE], nan=0.0)
    spins = torch.nan_to_num(batch[fields.SPIN], nan=1.0)
    output = model(*edges, torch.stack([charges, spins], dim=1), batch[fields.SYSTEM_IDX])
    return output


def total_charge_of(settings: LongRangeSettings, total_charge: Tensor) -> Tensor:
    """Charge per channel (n_channels,): the frame's own, in the first channel; NaN takes that of the settings."""
    if bool(torch.isnan(total_charge)):
        return torch.tensor(settings.total_charge or [0.0] * settings.n_channels, dtype=torch.float64)
    target = torch.zeros(settings.n_channels, dtype=torch.float64)
    target[0] = float(total_charge)
    return target


def total_charges_kept(settings: LongRangeSettings | None, batch: AtomsBatch, charges: Tensor) -> Tensor:
    """Latent charges (n_atoms, n_channels) in float64, after the neutrality option."""
    charges = charges.to(torch.float64)
    if settings is None or not settings.neutrality:
        return charges
    totals = [total_charge_of(settings, total).to(charges.device) for total in batch[fields.TOTAL_CHARGE]]
    split = charges.split(batch[fields.N_ATOMS].tolist())
    return torch.cat([neutralize(q, total) for q, total in zip(split, totals, strict=True)])


def long_range_energies(
    settings: LongRangeSettings, batch: AtomsBatch, charges: Tensor, periodic_sum: PeriodicSum = DIRECT_SUM
) -> tuple[Tensor, Tensor]:
    """Long-range energy of every system (n_systems,), eV, and the charges after the neutrality option."""
    k_cutoff = settings.k_cutoff or converged_k_cutoff(settings.smearing)
    n_atoms = batch[fields.N_ATOMS].tolist()
    kernel = (settings.coulomb_constant, settings.remove_self_interaction)
    charges = total_charges_kept(settings, batch, charges)
    if kernels.in_use(charges) and not bool(batch[fields.PERIODIC].any()):
        systems = (batch[fields.SYSTEM_IDX], batch[fields.N_ATOMS])
        return isolated_energies(charges, batch[fields.POSITIONS], *systems, settings.smearing, *kernel), charges
    energies = []
    for system, (positions, q) in enumerate(
        zip(batch[fields.POSITIONS].split(n_atoms), charges.split(n_atoms), strict=True)
    ):
        if bool(batch[fields.PERIODIC][system]):
            cell = batch[fields.CELL][system]
            if periodic_sum.takes_mesh(settings, cell, len(q), cell.device.type == "cpu"):
                plan = plan_mesh(cell, len(q), settings.smearing, settings.k_cutoff, periodic_sum.accuracy)
                energies.append(mesh_energy(q, positions, cell, plan, settings.smearing, *kernel))
            else:
                energies.append(periodic_energy(q, positions, cell, settings.smearing, k_cutoff, *kernel))
        else:
            energies.append(isolated_energy(q, positions, settings.smearing, *kernel))
    return torch.stack(energies), charges


def evaluate(
    model: LESModel,
    batch: AtomsBatch,
    create_graph: bool = False,
    virial: bool = True,
    periodic_sum: PeriodicSum = DIRECT_SUM,
    polarization: bool = False,
    born_charges: bool = False,
) -> dict[str, Tensor]:
    """Energy, forces, virial and charges of every system in `batch`.

    Args:
        create_graph: keep the graph of the forces, for training on them.
        virial: also differentiate with respect to strain (periodic and isolated systems alike).
        periodic_sum: exact unless another one is given; training may take the mesh.
        polarization, born_charges: also evaluate these, for models with charges; see `les_md.polarization`.

    Returns:
        `energy`, `short_range_energy`, `long_range_energy` (n_systems,) eV, float64; `forces` (n_atoms, 3)
        eV/angstrom; `virial` (n_systems, 3, 3) eV, zero unless asked for; `latent_charges` (n_atoms, n_channels) e,
        after the neutrality option; if asked for `polarization` (n_systems, 3) e angstrom and `born_charges`
        (n_atoms, 3, 3) e, both of physical charges.
    """
    batch = dict(batch)
    positions = batch[fields.POSITIONS].detach().requires_grad_(True)
    cell = batch[fields.CELL]
    system_idx = batch[fields.SYSTEM_IDX]
    n_systems = len(cell)
    variables = [positions]
    if virial:
        strain = torch.zeros(n_systems, 3, 3, dtype=torch.float64, device=cell.device, requires_grad=True)
        variables.append(strain)
        # r' = r (1 + e), with the symmetric part of e, so that the virial comes out symmetric
        deformation = 0.5 * (strain + strain.transpose(1, 2))
        batch[fields.CELL] = cell + cell @ deformation
        strained = torch.einsum("na,nab->nb", positions, deformation.index_select(0, system_idx))
        batch[fields.POSITIONS] = positions + strained
    else:
        batch[fields.POSITIONS] = positions

    output = network_output(model, batch)
    node_energies = output[fields.NODE_ENERGIES].to(torch.float64) + output[fields.OFFSET_ENERGIES]
    zeros = torch.zeros(n_systems, dtype=torch.float64, device=cell.device)
    short_range = zeros.index_add(0, system_idx, node_energies)
    charges = output[fields.LATENT_CHARGES].to(torch.float64)
    long_range = zeros
    if model.settings.long_range is not None:
        long_range, charges = long_range_energies(model.settings.long_range, batch, charges, periodic_sum)
    energy = short_range + long_range
    gradients = torch.autograd.grad(
        energy.sum(), variables, create_graph=create_graph, retain_graph=create_graph or born_charges
    )
    results = {
        fields.ENERGY: energy,
        fields.SHORT_RANGE_ENERGY: short_range,
        fields.LONG_RANGE_ENERGY: long_range,
        fields.FORCES: -gradients[0],
        fields.VIRIAL: -gradients[1] if virial else torch.zeros_like(cell),
        fields.LATENT_CHARGES: charges,
    }
    if polarization:
        results[fields.POLARIZATION] = polarizations(model, batch, output, charges)
    if born_charges:
        results[fields.BORN_CHARGES] = born_charges_of(model, batch, output, charges, positions, create_graph)
    return results
