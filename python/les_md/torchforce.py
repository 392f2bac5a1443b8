"""The self-contained entry of the exported file: positions in nm to an energy in kJ/mol.

OpenMM-Torch's TorchForce calls `forward(positions, boxvectors)` and differentiates it. Everything here is plain
TorchScript: its own neighbour search and the long-range sums of `ewald`, without our libraries in the process.
"""

import torch
from torch import Tensor, nn

from les_md import constants, fields
from les_md.constants import converged_k_cutoff
from les_md.ewald import isolated_energy, neutralize, periodic_energy
from les_md.model import LESModel


def neighbour_search(positions: Tensor, cell: Tensor, periodic: bool, cutoff: float) -> tuple[Tensor, Tensor]:
    """Full neighbour list by comparison of all pairs, in blocks of rows.

    Args:
        positions: (n_atoms, 3), angstrom, float64, no gradient.
        cell: (3, 3), rows are lattice vectors; used if `periodic`.

    Returns:
        edge_index (2, n_edges), sorted by centre, and cell_shifts (n_edges, 3) as float64.
    """
    n_atoms = positions.size(0)
    images = torch.zeros(1, 3, dtype=positions.dtype, device=positions.device)
    fractional = positions
    metric = torch.eye(3, dtype=positions.dtype, device=positions.device)
    if periodic:
        inverse = torch.linalg.inv(cell)
        fractional = torch.matmul(positions, inverse)
        metric = cell
        # after wrapping into [-1/2, 1/2] an image s can be near only if |s| <= cutoff / height + 1/2
        reach = torch.ceil(cutoff * torch.linalg.vector_norm(inverse, dim=0) - 0.5).clamp(min=0.0)
        images = torch.cartesian_prod(
            torch.arange(-int(reach[0]), int(reach[0]) + 1, device=positions.device),
            torch.arange(-int(reach[1]), int(reach[1]) + 1, device=positions.device),
            torch.arange(-int(reach[2]), int(reach[2]) + 1, device=positions.device),
        ).to(positions.dtype)
    centres: list[Tensor] = []
    neighbours: list[Tensor] = []
    shifts: list[Tensor] = []
    n_images = images.size(0)
    block = max(1, 1000000 // max(1, n_atoms * n_images))
    for start in range(0, n_atoms, block):
        stop = min(n_atoms, start + block)
        separation = fractional.unsqueeze(0) - fractional[start:stop].unsqueeze(1)
        nearest = -torch.round(separation) if periodic else torch.zeros_like(separation)
        vectors = torch.matmul((separation + nearest).unsqueeze(2) + images, metric)
        near = vectors.square().sum(-1) < cutoff * cutoff
        found = torch.nonzero(near)
        shift = nearest[found[:, 0], found[:, 1]] + images[found[:, 2]]
        centre = found[:, 0] + start
        other = (centre != found[:, 1]) | (shift.abs().sum(1) > 0)
        centres.append(centre[other])
        neighbours.append(found[:, 1][other])
        shifts.append(shift[other])
    if len(centres) == 0:
        return torch.zeros(2, 0, dtype=torch.int64, device=positions.device), images[:0]
    return torch.stack([torch.cat(centres), torch.cat(neighbours)]), torch.cat(shifts)


class ExportedModel(nn.Module):
    """What `les-export` compiles: `local` for hosts with neighbour lists, `forward` for TorchForce.

    Args:
        model: trained model.
        bound_types: (n_atoms,) int64 types of the atom list `forward` is bound to; None leaves it unbound.
    """

    bound_types: Tensor
    total_charge: Tensor

    def __init__(self, model: LESModel, bound_types: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.bound = bound_types is not None
        self.cutoff = model.settings.cutoff
        long_range = model.settings.long_range
        self.has_long_range = long_range is not None
        self.smearing = long_range.smearing if long_range else 1.0
        self.k_cutoff = (long_range.k_cutoff if long_range else None) or converged_k_cutoff(self.smearing)
        self.coulomb_constant = long_range.coulomb_constant if long_range else 0.0
        self.remove_self_interaction = long_range.remove_self_interaction if long_range else True
        self.neutrality = long_range.neutrality if long_range else False
        total = (long_range.total_charge if long_range else None) or [0.0] * model.n_channels
        self.register_buffer("total_charge", torch.tensor(total, dtype=torch.float64))
        self.register_buffer(
            "bound_types", bound_types if bound_types is not None else torch.zeros(0, dtype=torch.int64)
        )

    @torch.jit.export
    def local(self, types: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_centre: int) -> dict[str, Tensor]:
        """See `LESModel.forward`; centres may come in any order."""
        centres = edge_index[0]
        if centres.size(0) > 1 and bool((centres[1:] < centres[:-1]).any()):
            order = torch.argsort(centres, stable=True)
            edge_index = edge_index[:, order]
            edge_vectors = edge_vectors[order]
        return self.model(types, edge_index, edge_vectors, n_centre)

    def long_range_energy(self, charges: Tensor, positions: Tensor, cell: Tensor, periodic: bool) -> Tensor:
        """Long-range energy of `charges` (n_atoms, n_channels), eV."""
        if self.neutrality:
            charges = neutralize(charges, self.total_charge)
        if periodic:
            return periodic_energy(
                charges,
                positions,
                cell,
                self.smearing,
                self.k_cutoff,
                self.coulomb_constant,
                self.remove_self_interaction,
            )
        return isolated_energy(charges, positions, self.smearing, self.coulomb_constant, self.remove_self_interaction)

    def forward(self, positions: Tensor, boxvectors: Tensor | None = None) -> Tensor:
        """Energy of the bound atoms in kJ/mol, a float64 scalar.

        Args:
            positions: (n_atoms, 3), nm, float32 or float64.
            boxvectors: (3, 3), nm, rows are lattice vectors; None for an isolated system.
        """
        if not self.bound:
            raise RuntimeError("this model file is not bound to an atom list; run les-export with --atoms FILE")
        types = self.bound_types
        if positions.size(0) != types.size(0):
            raise RuntimeError(
                f"this model file is bound to {types.size(0)} atoms, got {positions.size(0)}; "
                "run les-export with --atoms FILE"
            )
        r = positions.to(torch.float64) * constants.ANGSTROM_PER_NANOMETRE
        periodic = boxvectors is not None
        cell = torch.eye(3, dtype=torch.float64, device=r.device)
        if boxvectors is not None:
            cell = boxvectors.to(torch.float64) * constants.ANGSTROM_PER_NANOMETRE
        edge_index, cell_shifts = neighbour_search(r.detach(), cell.detach(), periodic, self.cutoff)
        edge_vectors = r.index_select(0, edge_index[1]) - r.index_select(0, edge_index[0])
        if periodic:
            edge_vectors = edge_vectors + torch.matmul(cell_shifts, cell)
        if bool((edge_vectors.detach().square().sum(1) < 1e-12).any()):
            raise RuntimeError("atoms must not coincide, got two at the same place; check the structure")
        output = self.model(types, edge_index, edge_vectors, types.size(0))
        energy = output[fields.NODE_ENERGIES].to(torch.float64).sum() + output[fields.OFFSET_ENERGIES].sum()
        if self.has_long_range:
            charges = output[fields.LATENT_CHARGES]
            energy = energy + self.long_range_energy(charges, r, cell, periodic)
        return energy * constants.KILOJOULE_PER_MOLE_PER_EV
