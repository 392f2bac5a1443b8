"""Cartesian atomic cluster expansion: edge basis, sums over neighbours, mixed channels, invariants, messages.

Source: Cheng, npj Comput. Mater. 10, 157 (2024). The evaluation is sums of products with fixed index tables and small
matrix products, so that a native kernel can follow it step by step, with an analytic backward pass.
"""

import math

import torch
from torch import Tensor, nn

from les_md import fields
from les_md.network import kernels
from les_md.network.angular import AngularBasis, Invariants, invariant_table, monomials
from les_md.network.backbone import Backbone, dense_neighbours
from les_md.network.head import Head
from les_md.network.radial import RadialBasis


class ChannelMixing(nn.Module):
    """A_{i m c} = sum_s W^{z_i, l(m)}_{s c} A_{i s m}: one linear map for each element of the centre and degree of m.

    `n_sources` counts neighbour embedding times radial functions, so each channel has a radial function learned for
    every pair of elements. Maps of one degree keep rotations intact.
    """

    weights: Tensor
    degrees: Tensor

    def __init__(self, n_types: int, l_max: int, n_sources: int, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(n_types, l_max + 1, n_sources, channels) / math.sqrt(n_sources))
        self.register_buffer("degrees", torch.tensor([sum(m) for m in monomials(l_max)]))

    def forward(self, sums: Tensor, runs: list[int]) -> Tensor:
        """`sums` (n_rows, n_monomials, n_sources) -> (n_rows, n_monomials, channels).

        Rows come in runs of one element each: `runs[k]` of element k, counted on from the first after the last.
        """
        weights = self.weights.index_select(1, self.degrees)
        parts: list[Tensor] = []
        for run, part in enumerate(sums.permute(1, 0, 2).split(runs, dim=1)):
            if part.size(1) > 0 or sums.size(0) == 0:
                parts.append(torch.bmm(part, weights[run % weights.size(0)]))
        return torch.cat(parts, dim=1).permute(1, 0, 2)


class Layer(nn.Module):
    """One layer: neighbours weighted by their embedding -> atomic basis -> invariants."""

    def __init__(
        self, n_types: int, n_embedding: int, n_radial: int, channels: int, l_max: int, body_order: int
    ) -> None:
        super().__init__()
        self.mixing = ChannelMixing(n_types, l_max, n_embedding * n_radial, channels)
        self.invariants = Invariants(l_max, body_order)
        self.n_features = self.invariants.n_invariants * channels

    def forward(self, embedding: Tensor, radial: Tensor, angular: Tensor, runs: list[int]) -> Tensor:
        """Features (n_rows, n_features).

        `embedding` (n_rows, slots, n_embedding) of the neighbours, `radial` (n_rows, slots, n_radial), `angular`
        (n_rows, slots, n_monomials); empty slots have radial functions of zero. `runs` as in `ChannelMixing`.
        """
        # A_{i, (b n), m} = sum_j embedding_{j b} R_n(r_ij) Y_m(r_ij)
        sources = (embedding.unsqueeze(-1) * radial.unsqueeze(-2)).flatten(-2)
        sums = torch.bmm(angular.transpose(1, 2), sources)
        return self.invariants(self.mixing(sums, runs)).flatten(1)

    @torch.jit.unused
    def compiled(self, types: Tensor, embedding: Tensor, radial: Tensor, edge_index: Tensor, vectors: Tensor) -> Tensor:
        """`forward` by the steps of `kernels`: `embedding` (n_rows, n_embedding), `radial` (n_edges, 2, n_radial)."""
        l_max, body_order = self.invariants.l_max, self.invariants.body_order
        sums = kernels.neighbour_sums(vectors, embedding, radial, edge_index, l_max, types.size(0))
        basis = kernels.mix(sums, self.mixing.weights, types, l_max)
        return kernels.invariants(basis, invariant_table(l_max, body_order, basis.dtype)).flatten(1)


class ClusterExpansion(Backbone):
    """Atomic cluster expansion with `n_layers` layers; one layer is strictly local.

    In later layers the neighbour embedding is replaced by a learned function of the neighbour's features (messages),
    and the new basis is added to features of the earlier layers.
    """

    neighbour_embedding: Tensor

    def __init__(
        self,
        n_types: int,
        cutoff: float,
        n_radial: int,
        l_max: int,
        body_order: int,
        channels: int,
        n_embedding: int,
        n_layers: int,
        n_messages: int = 8,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.n_layers = n_layers
        self.n_types = n_types
        self.radial = RadialBasis(cutoff, n_radial)
        self.angular = AngularBasis(l_max)
        if n_types <= n_embedding:
            # the mixing has a weight for each element already
            n_embedding = n_types
            self.register_buffer("neighbour_embedding", torch.eye(n_types))
        else:
            self.neighbour_embedding = nn.Parameter(torch.randn(n_types, n_embedding))
        self.first_layer = Layer(n_types, n_embedding, n_radial, channels, l_max, body_order)
        self.feature_blocks = [self.first_layer.n_features]
        self.messages = nn.ModuleList()
        self.later_layers = nn.ModuleList()
        for _ in range(1, n_layers):
            n_features = sum(self.feature_blocks)
            self.messages.append(Head(n_types, n_features, [32], n_messages, blocks=list(self.feature_blocks)))
            layer = Layer(n_types, n_messages, n_radial, channels, l_max, body_order)
            self.later_layers.append(layer)
            self.feature_blocks.append(layer.n_features)
        self.n_features = sum(self.feature_blocks)
        self.has_layer_entry = n_layers > 1
        self.has_rows_entry = True

    def forward(self, types: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_centre: int) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 - TorchScript must not compile what is inside
            if kernels.in_use(edge_vectors):
                return self.compiled(types, edge_index, edge_vectors, n_centre)
        atoms, row_of, runs_of = rows_of_layers(types, edge_index, n_centre, self.n_layers, self.n_types)
        centre_rows = row_of.index_select(0, edge_index[0])
        neighbours, vectors = self.table(edge_index, edge_vectors, centre_rows, atoms.size(0), types.size(0))
        features = self.features_of(types, neighbours, vectors, atoms, row_of, runs_of)
        return to_order_of_atoms(features, atoms[:n_centre])

    def rows(self, types: Tensor, neighbours: Tensor, vectors: Tensor, atoms: Tensor, runs: list[int]) -> Tensor:
        """See `Backbone.rows`."""
        row_of = atoms
        if self.n_layers > 1:
            if atoms.size(0) != types.size(0):
                raise RuntimeError("a network of several layers takes rows of all atoms; evaluate them at once")
            row_of = torch.empty_like(atoms).index_copy(0, atoms, torch.arange(atoms.size(0), device=atoms.device))
        return self.features_of(types, neighbours, vectors, atoms, row_of, [runs] * self.n_layers)

    def features_of(
        self,
        types: Tensor,
        neighbours: Tensor,
        vectors: Tensor,
        atoms: Tensor,
        row_of: Tensor,
        runs_of: list[list[int]],
    ) -> Tensor:
        """Features of the rows of the last layer, (n_rows, n_features), from a table of edges.

        Args:
            types: (n_all,).
            neighbours: (n_rows, slots), atoms; vectors: (n_rows, slots, 3), of the length of the cutoff in empty slots.
            atoms: (n_rows,) of the rows, first those that later layers need too.
            row_of: (n_all,), the row of each atom; not looked at with one layer.
            runs_of: rows of each layer by element, see `ChannelMixing`.
        """
        radial, angular = self.edge_functions(vectors)
        row_types, senders = types.index_select(0, atoms), neighbours.flatten()
        slots = neighbours.size(1)
        embedding = self.neighbour_embedding.index_select(0, types.index_select(0, senders))
        features = self.first_layer(embedding.view(-1, slots, embedding.size(1)), radial, angular, runs_of[0])
        if self.n_layers > 1:
            senders = row_of.index_select(0, senders)
        for index, (message, layer) in enumerate(zip(self.messages, self.later_layers)):
            messages = message(features, row_types[: features.size(0)])
            runs = runs_of[index + 1]
            n = sum(runs)
            embedding = messages.index_select(0, senders[: n * slots]).view(n, slots, messages.size(1))
            features = torch.cat([features[:n], layer(embedding, radial[:n], angular[:n], runs)], dim=1)
        return features

    def edge_functions(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Radial functions (..., n_radial) and angular functions (..., n_monomials) of `vectors` (..., 3)."""
        lengths = torch.linalg.vector_norm(vectors, dim=-1)
        return self.radial(lengths), self.angular(vectors / lengths.unsqueeze(-1))

    def table(
        self, edge_index: Tensor, edge_vectors: Tensor, centre_rows: Tensor, n_rows: int, n_all: int
    ) -> tuple[Tensor, Tensor]:
        """The edges as a table of `n_rows` centres, which are in row `centre_rows` (n_edges,); others are dropped.

        Returns:
            neighbours (n_rows, slots), vectors (n_rows, slots, 3).
        """
        if not bool((centre_rows < n_rows).all()):
            # centres that no wanted feature depends on
            used = (centre_rows < n_rows).nonzero().squeeze(1)
            edge_index, edge_vectors = edge_index.index_select(1, used), edge_vectors.index_select(0, used)
            centre_rows = centre_rows.index_select(0, used)
        places, slots = dense_neighbours(edge_index, n_all)
        places = centre_rows * slots + places % slots
        # empty slots hold a vector of length `cutoff`, where all radial functions and their slopes vanish
        filler = torch.zeros(n_rows * slots, 3, dtype=edge_vectors.dtype, device=edge_vectors.device)
        filler[:, 0] = self.cutoff
        vectors = filler.index_copy(0, places, edge_vectors).view(n_rows, slots, 3)
        neighbours = torch.zeros(n_rows * slots, dtype=edge_index.dtype, device=edge_index.device)
        neighbours = neighbours.index_copy(0, places, edge_index[1]).view(n_rows, slots)
        return neighbours, vectors

    def layer(self, index: int, tensors: dict[str, Tensor], n_centre: int) -> dict[str, Tensor]:
        """See `Backbone.layer`; the table of the edges, which all layers share, travels with the features."""
        types = tensors[fields.TYPES]
        if index == 0:
            edge_index = tensors[fields.EDGE_INDEX]
            atoms, row_of, runs_of = rows_of_layers(types, edge_index, n_centre, 1, self.n_types)
            neighbours, vectors = self.table(
                edge_index,
                tensors[fields.EDGE_VECTORS],
                row_of.index_select(0, edge_index[0]),
                n_centre,
                types.size(0),
            )
            radial, angular = self.edge_functions(vectors)
            runs = runs_of[0]
            embedding = self.neighbour_embedding.index_select(0, types)
        else:
            neighbours, radial, angular = tensors["neighbours"], tensors["radial"], tensors["angular"]
            atoms = tensors["atoms"]
            runs = rows_by_element(types.index_select(0, atoms), self.n_types)
            embedding = tensors[fields.MESSAGES]
        embedding = embedding.index_select(0, neighbours.flatten())
        embedding = embedding.view(n_centre, neighbours.size(1), embedding.size(1))
        if index == 0:
            features = to_order_of_atoms(self.first_layer(embedding, radial, angular, runs), atoms)
        else:
            features = tensors[fields.FEATURES]
        for later, layer in enumerate(self.later_layers):
            if index == later + 1:
                update = to_order_of_atoms(layer(embedding, radial, angular, runs), atoms)
                features = torch.cat([features, update], dim=1)
        output = tensors.copy()
        output["neighbours"], output["radial"], output["angular"], output["atoms"] = neighbours, radial, angular, atoms
        output[fields.FEATURES] = features
        for earlier, message in enumerate(self.messages):
            if index == earlier:
                output[fields.MESSAGES] = message(features, types[:n_centre])
        return output

    @torch.jit.unused
    def compiled(self, types: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_centre: int) -> Tensor:
        """`forward` by the steps of `kernels`."""
        radial = self.radial.with_slopes(torch.linalg.vector_norm(edge_vectors.detach(), dim=-1))
        embedding = self.neighbour_embedding.index_select(0, types)
        features = self.first_layer.compiled(types, embedding, radial, edge_index, edge_vectors)
        for message, layer in zip(self.messages, self.later_layers, strict=True):
            embedding = message(features, types)
            assert isinstance(layer, Layer)
            update = layer.compiled(types, embedding, radial, edge_index, edge_vectors)
            features = torch.cat([features, update], dim=1)
        return features[:n_centre]


def rows_of_layers(
    types: Tensor, edge_index: Tensor, n_centre: int, n_layers: int, n_types: int
) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Which atoms each layer needs: the last one the first `n_centre`, each earlier one their neighbours as well.

    Args:
        types: (n_all,).
        edge_index: (2, n_edges) int64, centres and neighbours.

    Returns:
        atoms (n_rows,) in the order of their rows, the first `n_centre` first, then their neighbours and so on, each
        part sorted by element; the row of each atom (n_all,), `n_rows` or more if it needs none; and how many rows of
        each element come one after the other in each layer, for one part after the other.
    """
    atoms = torch.arange(types.size(0), device=types.device)
    steps = torch.where(atoms < n_centre, 0, n_layers)  # edges between an atom and the first `n_centre`
    if n_centre < types.size(0):
        for step in range(1, n_layers):
            reached = torch.zeros_like(types, dtype=torch.bool)
            near = steps.index_select(0, edge_index[0]) < step
            reached[edge_index[1].masked_select(near)] = True
            steps = torch.where(reached & (steps > step), step, steps)
    part_and_element = steps * n_types + types
    order = torch.argsort(part_and_element, stable=True)
    row_of = torch.empty_like(order).index_copy(0, order, atoms)
    runs = rows_by_element(part_and_element, n_layers * n_types)
    runs_of = [runs[: n_types * (n_layers - layer)] for layer in range(n_layers)]
    return order[: sum(runs_of[0])], row_of, runs_of


def rows_by_element(types: Tensor, n_types: int) -> list[int]:
    """How many of `types` are 0, 1 ... n_types - 1."""
    counts: list[int] = torch.bincount(types, minlength=n_types).tolist()
    return counts[:n_types]


def to_order_of_atoms(rows: Tensor, atoms: Tensor) -> Tensor:
    """`rows` (n_rows, ...) of `atoms` (n_rows,), which are the first ones, in the order of the atoms."""
    return torch.zeros_like(rows).index_copy(0, atoms, rows)
