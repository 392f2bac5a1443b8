"""The self-contained entry of the exported file: positions in nm to an energy in kJ/mol.

OpenMM-Torch's TorchForce calls `forward(positions, boxvectors)` and differentiates it. Everything here is plain
TorchScript, with its own neighbour search and long-range sums, without our libraries in the process. Small systems are
one autograd graph over the direct sums of `ewald`. Large ones are evaluated in blocks of atoms, with the mesh, and
their gradients are computed inside `forward`, so that memory and time grow with the number of atoms.

Tensors are cut from the graph with `.data`: TorchForce freezes the module, and freezing removes every `detach`.
"""

import torch
from torch import Tensor, nn
from torch.jit import Final

from les_md import constants, fields
from les_md import torchforce_sizes as sizes
from les_md.constants import converged_k_cutoff
from les_md.ewald import isolated_energy, neutralize, periodic_energy
from les_md.model import LESModel
from les_md.torchforce_isolated import isolated_energy_in_blocks
from les_md.torchforce_mesh import mesh_energy, mesh_spacing, window_coefficients, window_shape
from les_md.torchforce_neighbours import neighbour_search


class ExportedModel(nn.Module):
    """What `les-export` compiles: `local` for hosts with neighbour lists, `forward` for TorchForce.

    Args:
        model: trained model.
        bound_types: (n_atoms,) int64 types of the atom list `forward` is bound to; None leaves it unbound.
    """

    bound_types: Tensor
    total_charge: Tensor
    has_state: Final[bool]

    def __init__(self, model: LESModel, bound_types: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.bound = bound_types is not None
        self.has_state = bool(model.settings.state_inputs)
        self.cutoff = model.settings.cutoff
        self.small_system = sizes.SMALL_SYSTEM
        # a network with messages needs the features of all atoms at once
        self.atoms_at_once = sizes.ATOMS_AT_ONCE if model.settings.n_layers == 1 else 1 << 30
        long_range = model.settings.long_range
        self.has_long_range = long_range is not None
        self.smearing = long_range.smearing if long_range else 1.0
        self.k_cutoff = (long_range.k_cutoff if long_range else None) or converged_k_cutoff(self.smearing)
        self.coulomb_constant = long_range.coulomb_constant if long_range else 0.0
        self.remove_self_interaction = long_range.remove_self_interaction if long_range else True
        self.neutrality = long_range.neutrality if long_range else False
        self.mesh_spacing = mesh_spacing(self.smearing, self.k_cutoff)
        self.window_shape = window_shape(self.smearing, self.k_cutoff)
        self.window = window_coefficients(self.window_shape)
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

    @torch.jit.export
    def set_state(self, total_charge: float, spin: float) -> None:
        """Sets total charge (e) and spin multiplicity, for models that take them as inputs."""
        if self.has_state:
            self.model.state.copy_(torch.tensor([total_charge, spin], dtype=torch.float64))
        else:
            raise RuntimeError("this model takes neither total charge nor spin as input")

    def long_range_energy(self, charges: Tensor, positions: Tensor, cell: Tensor, periodic: bool) -> Tensor:
        """Long-range energy of `charges` (n_atoms, n_channels) by the direct sum, eV, for autograd."""
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

    def long_range_gradients(
        self, charges: Tensor, positions: Tensor, cell: Tensor, periodic: bool, gradients: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Long-range energy by the mesh or in blocks, and its gradients in charges, positions and cell."""
        if self.neutrality:
            charges = neutralize(charges, self.total_charge)
        in_cell = torch.zeros_like(cell)
        if periodic:
            energy, in_charges, in_positions, in_cell = mesh_energy(
                charges,
                positions,
                cell,
                self.smearing,
                self.k_cutoff,
                self.coulomb_constant,
                self.remove_self_interaction,
                self.mesh_spacing,
                self.window_shape,
                self.window,
                gradients,
            )
        else:
            energy, in_charges, in_positions = isolated_energy_in_blocks(
                charges, positions, self.smearing, self.coulomb_constant, self.remove_self_interaction, gradients
            )
        if gradients and self.neutrality:
            in_charges = in_charges - in_charges.mean(0)
        return energy, in_charges, in_positions, in_cell

    def small_energy(self, types: Tensor, positions: Tensor, cell: Tensor, periodic: bool) -> Tensor:
        """Energy in eV as one autograd graph; `positions` and `cell` in angstrom."""
        edge_index, cell_shifts = neighbour_search(positions.data, cell.data, periodic, self.cutoff)
        edge_vectors = edge_vectors_of(positions, cell, edge_index, cell_shifts)
        output = self.model(types, edge_index, edge_vectors, types.size(0))
        energy = output[fields.NODE_ENERGIES].to(torch.float64).sum() + output[fields.OFFSET_ENERGIES].sum()
        if self.has_long_range:
            energy = energy + self.long_range_energy(output[fields.LATENT_CHARGES], positions, cell, periodic)
        return energy

    def block(
        self, types: Tensor, edge_index: Tensor, edge_vectors: Tensor, start: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Sum of the energies of atoms `start` to `stop` and the charges (n_atoms, n_channels) that come from them;
        edges are those of these centres."""
        if stop - start == types.size(0):
            output = self.model(types, edge_index, edge_vectors, stop)
            charges = output[fields.LATENT_CHARGES]
        else:
            # the centres first, then all atoms as their neighbours
            n_centre = stop - start
            edge_index = torch.stack([edge_index[0] - start, edge_index[1] + n_centre])
            block_types = torch.cat([types[start:stop], types])
            output = self.model(block_types, edge_index, edge_vectors, n_centre)
            owned = torch.arange(start, stop, device=types.device)
            charges = output[fields.LATENT_CHARGES]
            charges = charges[n_centre:].index_add(0, owned, charges[:n_centre])
        energy = output[fields.NODE_ENERGIES].to(torch.float64).sum() + output[fields.OFFSET_ENERGIES].sum()
        return energy, charges

    def large_energy(
        self, types: Tensor, positions: Tensor, cell: Tensor, periodic: bool, gradients: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energy in eV and its gradients in positions and cell (angstrom), without an autograd graph behind them."""
        n_atoms = types.size(0)
        edge_index, cell_shifts = neighbour_search(positions, cell, periodic, self.cutoff)
        edge_vectors = edge_vectors_of(positions, cell, edge_index, cell_shifts)
        starts = torch.arange(0, n_atoms, self.atoms_at_once, device=types.device)
        first_edges: list[int] = torch.searchsorted(edge_index[0].contiguous(), starts).tolist()
        first_edges.append(edge_index.size(1))
        n_blocks = len(first_edges) - 1

        # one block keeps its graph; of several only energies and charges are kept, and their graphs are made again
        energy = torch.zeros([], dtype=torch.float64, device=positions.device)
        charges = torch.zeros(0, device=positions.device)
        leaf = edge_vectors
        for b in range(n_blocks):
            leaf = edge_vectors[first_edges[b] : first_edges[b + 1]].requires_grad_(gradients and n_blocks == 1)
            edges = edge_index[:, first_edges[b] : first_edges[b + 1]]
            start = b * self.atoms_at_once
            of_block, charges_of_block = self.block(types, edges, leaf, start, min(n_atoms, start + self.atoms_at_once))
            energy = energy + of_block
            charges = charges_of_block if b == 0 else charges + charges_of_block
        in_charges = torch.zeros_like(charges)
        in_positions = torch.zeros_like(positions)
        in_cell = torch.zeros_like(cell)
        if self.has_long_range:
            long_range, in_charges, in_positions, in_cell = self.long_range_gradients(
                charges.data, positions, cell, periodic, gradients
            )
            energy = energy + long_range
        if not gradients:
            return energy.data, in_positions, in_cell

        in_charges = in_charges.to(charges.dtype)
        for b in range(n_blocks):
            edges = edge_index[:, first_edges[b] : first_edges[b + 1]]
            if n_blocks == 1:
                target = energy + (charges * in_charges).sum()
            else:
                leaf = edge_vectors[first_edges[b] : first_edges[b + 1]].requires_grad_(True)
                start = b * self.atoms_at_once
                of_block, charges_of_block = self.block(
                    types, edges, leaf, start, min(n_atoms, start + self.atoms_at_once)
                )
                target = of_block + (charges_of_block * in_charges).sum()
            in_vectors = torch.autograd.grad([target], [leaf])[0]
            assert in_vectors is not None
            in_positions = in_positions.index_add(0, edges[1], in_vectors).index_add(0, edges[0], -in_vectors)
            shifts = cell_shifts[first_edges[b] : first_edges[b + 1]]
            in_cell = in_cell + torch.matmul(shifts.transpose(0, 1), in_vectors)
        return energy.data, in_positions, in_cell

    def forward(self, positions: Tensor, boxvectors: Tensor | None = None) -> Tensor:
        """Energy of the bound atoms in kJ/mol, a float64 scalar.

        It can be differentiated once, small systems more often.

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
        if not bool(torch.isfinite(r.data).all()):
            raise RuntimeError("`positions` must be finite; reduce the time step or check the structure")
        periodic = boxvectors is not None
        cell = torch.eye(3, dtype=torch.float64, device=r.device)
        if boxvectors is not None:
            cell = boxvectors.to(torch.float64) * constants.ANGSTROM_PER_NANOMETRE
        if types.size(0) <= self.small_system:
            energy = self.small_energy(types, r, cell, periodic)
        else:
            gradients = torch.is_grad_enabled() and (r.requires_grad or cell.requires_grad)
            value, in_r, in_cell = self.large_energy(types, r.data, cell.data, periodic, gradients)
            energy = value
            if gradients:
                # the value, and a slope for autograd
                energy = value + (in_r * (r - r.data)).sum() + (in_cell * (cell - cell.data)).sum()
        return energy * constants.KILOJOULE_PER_MOLE_PER_EV


class ExportedRows(ExportedModel):
    """`ExportedModel` with an entry for devices beside `local`, which makes no host wait."""

    @torch.jit.export
    def rows(
        self, types: Tensor, neighbours: Tensor, vectors: Tensor, atoms: Tensor, runs: list[int]
    ) -> dict[str, Tensor]:
        """See `LESModel.rows`."""
        return self.model.rows(types, neighbours, vectors, atoms, runs)


class ExportedLayers(ExportedRows):
    """`ExportedRows` of a network with messages: `layer` beside `local`, for hosts that exchange them."""

    @torch.jit.export
    def layer(self, index: int, tensors: dict[str, Tensor], n_centre: int) -> dict[str, Tensor]:
        """See `LESModel.layer`; centres must not decrease."""
        return self.model.layer(index, tensors, n_centre)


def edge_vectors_of(positions: Tensor, cell: Tensor, edge_index: Tensor, cell_shifts: Tensor) -> Tensor:
    """(n_edges, 3), r_j - r_i + cell_shifts @ cell."""
    vectors = positions.index_select(0, edge_index[1]) - positions.index_select(0, edge_index[0])
    vectors = vectors + torch.matmul(cell_shifts, cell)
    if bool((vectors.data.square().sum(1) < 1e-12).any()):
        raise RuntimeError("atoms must not coincide, got two at the same place; check the structure")
    return vectors
