"""The LES model: backbone, energy head, charge head and element offsets.

This is the object that training changes, that a checkpoint stores and that export compiles. It knows edges and types
only; positions, cells and the long-range energy are in `forces` and `ewald`.
"""

import torch
from torch import Tensor, nn
from torch.jit import Final

from les_md import fields
from les_md.errors import LESError
from les_md.network import (
    Backbone,
    ChargeTransfers,
    ClusterExpansion,
    ElementCharges,
    Head,
    StateEmbedding,
    collect_transfers,
)
from les_md.settings import ModelSettings

#: Charges move this much less than the numbers of a head of order one: a charge that follows the positions closely acts
#: on forces through potentials of several volts.
CHARGE_SCALE = 0.1

#: Radial functions of the charge transfers.
TRANSFER_RADIAL = 6

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class NoCharges(nn.Module):
    """Charge head of a short-range-only model: no channels, no parameters."""

    def forward(self, features: Tensor, types: Tensor, shift: Tensor | None = None) -> Tensor:
        return torch.zeros(types.size(0), 0, dtype=features.dtype, device=features.device)


class LESModel(nn.Module):
    """Per-atom energies and latent charges from the edges of a neighbour list.

    Source: Cheng, npj Comput. Mater. 11, 80 (2025): both heads act on the same local invariant features.

    Args:
        settings: elements, sizes and long-range parameters.
        backbone: network in place of the atomic cluster expansion; must follow `network.Backbone`.
    """

    element_energies: Tensor  # (n_types,), eV, float64
    charge_sign: Tensor  # (n_channels,), +1 or -1
    charge_flux: Final[bool]  # charges are transfers along edges; a constant, so that the other way is not compiled
    has_state: Final[bool]  # the network is told the total charge or the spin of the system
    has_charges: Final[bool]
    state: Tensor  # (2,), total charge (e) and spin multiplicity of the one system that a host evaluates

    def __init__(self, settings: ModelSettings, backbone: Backbone | None = None) -> None:
        super().__init__()
        if not settings.symbols:
            raise LESError("`symbols` must name at least one element, got none; set `model.symbols`")
        self.settings = settings
        self.charge_flux = settings.long_range is not None and settings.long_range.charge_flux
        # a network that moves charge along edges puts contributions on ghosts
        self.ghost_charges = self.charge_flux
        self.n_channels = settings.n_channels
        self.has_charges = settings.n_channels > 0
        self.n_layers = settings.n_layers
        self.has_state = bool(settings.state_inputs)
        n_types = len(settings.symbols)
        self.backbone = backbone or ClusterExpansion(
            n_types=n_types,
            cutoff=settings.cutoff,
            n_radial=settings.n_radial,
            l_max=settings.l_max,
            body_order=settings.body_order,
            channels=settings.channels,
            n_embedding=settings.n_embedding,
            n_layers=settings.n_layers,
            n_messages=settings.n_messages,
        )
        n_features, blocks = self.backbone.n_features, self.backbone.feature_blocks
        self.energy_head = Head(n_types, n_features, settings.hidden, 1, blocks=blocks)
        if self.charge_flux:
            self.charge_head: nn.Module = NoCharges()
            self.element_charges = ElementCharges(n_types, self.n_channels)
            self.charge_transfers = ChargeTransfers(
                n_types, n_features, settings.hidden, self.n_channels, settings.cutoff, TRANSFER_RADIAL
            )
        elif self.n_channels > 0:
            charge_head = Head(n_types, n_features, settings.hidden, self.n_channels, CHARGE_SCALE, blocks)
            # E_lr is even in the charges: starting at zero would leave them there
            with torch.no_grad():
                charge_head.constant.normal_(0.0, 0.3 / CHARGE_SCALE)
            self.charge_head = charge_head
        else:
            self.charge_head = NoCharges()
        if self.has_state:
            embedded = (n_types, settings.hidden[0], settings.charge_embedding, settings.spin_embedding)
            self.energy_state = StateEmbedding(*embedded)
            if self.n_channels > 0:
                self.charge_state = StateEmbedding(*embedded)
        self.to(DTYPES[settings.dtype])
        self.register_buffer("element_energies", torch.zeros(n_types, dtype=torch.float64))
        if self.has_state:
            self.register_buffer("state", torch.tensor([0.0, 1.0], dtype=torch.float64))
        self.register_buffer("charge_sign", torch.ones(self.n_channels, dtype=DTYPES[settings.dtype]))

    def forward(
        self,
        types: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        n_centre: int,
        state: Tensor | None = None,
        system_idx: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Evaluates the network; the `local` entry of the exported file.

        Args:
            types: (n_all,) int64; owned atoms first, ghosts after them.
            edge_index: (2, n_edges) int64, centres in row 0 (not decreasing), neighbours in row 1.
            edge_vectors: (n_edges, 3) r_j - r_i in angstrom, any float dtype; converted to the network's precision.
            n_centre: number of owned atoms.
            state: (n_systems, 2) total charge (e) and spin multiplicity, for models that take them; None: `self.state`.
            system_idx: (n_all,), which system an atom belongs to, with `state`.

        Returns:
            `node_energies` (n_centre,) eV without offsets; `offset_energies` (n_centre,) eV, float64;
            `latent_charges` (n_all, n_channels) e, with contributions on ghosts if `ghost_charges`; with charge
            transfers also `transfer_dipoles` (n_centre, 3) e angstrom.
        """
        edge_vectors = edge_vectors.to(self.energy_head.mean.dtype)
        features = self.backbone(types, edge_index, edge_vectors, n_centre)
        atoms = torch.arange(n_centre, device=types.device)
        return self.outputs(features, types, atoms, edge_index, edge_vectors, state, system_idx)

    def rows(
        self, types: Tensor, neighbours: Tensor, vectors: Tensor, atoms: Tensor, runs: list[int]
    ) -> dict[str, Tensor]:
        """`forward` from a table of edges, see `Backbone.rows`; `node_energies`, `offset_energies` and
        `transfer_dipoles` are those of the rows, `latent_charges` (n_all, n_channels) what comes from them."""
        vectors = vectors.to(self.energy_head.mean.dtype)
        features = self.backbone.rows(types, neighbours, vectors, atoms, runs)
        edge_index = neighbours
        if self.charge_flux:
            centres = torch.arange(atoms.size(0), device=types.device).unsqueeze(1).expand_as(neighbours)
            edge_index = torch.stack([centres.flatten(), neighbours.flatten()])
        return self.outputs(features, types, atoms, edge_index, vectors.view(-1, 3))

    def layer(self, index: int, tensors: dict[str, Tensor], n_centre: int) -> dict[str, Tensor]:
        """One layer of `forward`; see `Backbone.layer`. The last layer returns what `forward` returns."""
        if index == 0:
            tensors = tensors.copy()
            tensors[fields.EDGE_VECTORS] = tensors[fields.EDGE_VECTORS].to(self.energy_head.mean.dtype)
        tensors = self.backbone.layer(index, tensors, n_centre)
        if index + 1 < self.n_layers:
            return tensors
        return self.outputs(
            tensors[fields.FEATURES],
            tensors[fields.TYPES],
            torch.arange(n_centre, device=tensors[fields.TYPES].device),
            tensors[fields.EDGE_INDEX],
            tensors[fields.EDGE_VECTORS],
        )

    def outputs(
        self,
        features: Tensor,
        types: Tensor,
        atoms: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        state: Tensor | None = None,
        system_idx: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """What `forward` returns, from the features (n_rows, n_features) of `atoms` (n_rows,); centres in `edge_index`
        are rows. Edges are looked at with charge transfers only."""
        row_types = types.index_select(0, atoms)
        of_energies, of_charges = self.shifts(row_types, state, system_idx)
        output = {
            fields.NODE_ENERGIES: self.energy_head(features, row_types, of_energies).squeeze(1),
            fields.OFFSET_ENERGIES: self.element_energies.index_select(0, row_types),
        }
        n_all = types.size(0)
        charges = torch.zeros(n_all, self.n_channels, dtype=features.dtype, device=features.device)
        if self.charge_flux:
            transfers = self.charge_transfers(features, row_types, types, edge_index, edge_vectors, of_charges)
            transfers = transfers * self.charge_sign
            taken, given, dipoles = collect_transfers(transfers, edge_index, edge_vectors, n_all, atoms.size(0))
            constant = (self.element_charges() * self.charge_sign).index_select(0, row_types)
            output[fields.LATENT_CHARGES] = charges.index_copy(0, atoms, constant + taken) + given
            output[fields.TRANSFER_DIPOLES] = dipoles
        else:
            owned = self.charge_head(features, row_types, of_charges) * self.charge_sign
            output[fields.LATENT_CHARGES] = charges.index_copy(0, atoms, owned)
        return output

    def shifts(
        self, types: Tensor, state: Tensor | None, system_idx: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What the state of the systems adds to the hidden layers of the energy head and of the charge head."""
        of_energies: Tensor | None = None
        of_charges: Tensor | None = None
        if self.has_state:
            states = self.state.unsqueeze(0) if state is None else state
            systems = torch.zeros_like(types) if system_idx is None else system_idx[: types.size(0)]
            of_energies = self.energy_state(states, systems, types)
            if self.has_charges:
                of_charges = self.charge_state(states, systems, types)
        return of_energies, of_charges

    @torch.jit.unused
    def set_offsets(self, element_energies: Tensor) -> None:
        """Sets the energies of the elements, (n_types,) in eV."""
        self.element_energies.copy_(torch.as_tensor(element_energies, dtype=torch.float64))

    @torch.jit.unused
    def constant_charges(self) -> list[float]:
        """Constant charge of every element with charge transfers, summed over channels, e; else empty."""
        if not self.charge_flux:
            return []
        charges: list[float] = (self.element_charges() * self.charge_sign).double().sum(1).tolist()
        return charges

    @torch.jit.unused
    def initialize_scales(
        self, batch: dict[str, Tensor], energy_scale: float = 1.0, whitening_floor: float | None = None
    ) -> None:
        """Takes feature scales from the atoms of `batch`, and the size of the energy head's output.

        Args:
            batch: see `les_md.batch`; a few frames that show all elements.
            energy_scale: eV; a typical force in eV/angstrom serves well.
            whitening_floor: relative variance below which directions of the features count for less and less.
        """
        from les_md.forces import edge_vectors_of

        heads = [module for module in self.modules() if isinstance(module, Head)]

        def standardize(head: Head, inputs: tuple[Tensor, ...]) -> None:
            head.standardize(inputs[0], inputs[1], whitening_floor)

        hooks = [head.register_forward_pre_hook(standardize) for head in heads]
        self.energy_head.output_scale.fill_(energy_scale)
        with torch.no_grad():
            self(batch[fields.TYPES], batch[fields.EDGE_INDEX], edge_vectors_of(batch), len(batch[fields.TYPES]))
        for hook in hooks:
            hook.remove()
