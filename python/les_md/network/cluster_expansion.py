"""Cartesian atomic cluster expansion: edge basis, sums over neighbours, mixed channels, invariants, messages.

Source: Cheng, npj Comput. Mater. 10, 157 (2024). The evaluation is sums of products with fixed index tables and small
matrix products, so that a native kernel can follow it step by step, with an analytic backward pass.
"""

import math

import torch
from torch import Tensor, nn

from les_md.network.angular import AngularBasis, Invariants, monomials
from les_md.network.backbone import Backbone, dense_neighbours
from les_md.network.head import Head
from les_md.network.radial import RadialBasis


class ChannelMixing(nn.Module):
    """A_{i m c} = sum_s W^{l(m)}_{s c} A_{i s m}: the same linear map for all monomials of one degree.

    `n_sources` counts radial functions times neighbour embedding. Maps of one degree keep rotations intact.
    """

    weights: Tensor
    degrees: Tensor

    def __init__(self, l_max: int, n_sources: int, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(l_max + 1, n_sources, channels) / math.sqrt(n_sources))
        self.register_buffer("degrees", torch.tensor([sum(m) for m in monomials(l_max)]))

    def forward(self, sums: Tensor) -> Tensor:
        """`sums` (n_atoms, n_sources, n_monomials) -> (n_atoms, n_monomials, channels)."""
        weights = self.weights.index_select(0, self.degrees)
        return torch.bmm(sums.permute(2, 0, 1), weights).permute(1, 0, 2)


class Layer(nn.Module):
    """One layer: neighbours weighted by their embedding -> atomic basis -> invariants."""

    centre_scale: Tensor

    def __init__(
        self, n_types: int, n_embedding: int, n_radial: int, channels: int, l_max: int, body_order: int
    ) -> None:
        super().__init__()
        self.mixing = ChannelMixing(l_max, n_embedding * n_radial, channels)
        self.centre_scale = nn.Parameter(1.0 + 0.1 * torch.randn(n_types, channels))
        self.invariants = Invariants(l_max, body_order)
        self.n_features = self.invariants.n_invariants * channels

    def forward(self, types: Tensor, embedding: Tensor, radial: Tensor, angular: Tensor) -> tuple[Tensor, Tensor]:
        """Atomic basis (n_rows, n_monomials, channels) and features (n_rows, n_features).

        `embedding` (n_rows, slots, n_embedding) of the neighbours, `radial` (n_rows, slots, n_radial), `angular`
        (n_rows, slots, n_monomials); empty slots have radial functions of zero.
        """
        # A_{i, (b n), m} = sum_j embedding_{j b} R_n(r_ij) Y_m(r_ij)
        sources = (embedding.unsqueeze(-1) * radial.unsqueeze(-2)).flatten(-2)
        sums = torch.bmm(sources.transpose(1, 2), angular)
        basis = self.mixing(sums) * self.centre_scale.index_select(0, types).unsqueeze(1)
        return basis, self.invariants(basis).flatten(1)


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
    ) -> None:
        super().__init__()
        n_embedding = min(n_types, n_embedding)
        self.cutoff = cutoff
        self.n_layers = n_layers
        self.radial = RadialBasis(cutoff, n_radial)
        self.angular = AngularBasis(l_max)
        embedding = torch.eye(n_types, n_embedding) if n_types <= n_embedding else torch.randn(n_types, n_embedding)
        self.neighbour_embedding = nn.Parameter(embedding)
        self.first_layer = Layer(n_types, n_embedding, n_radial, channels, l_max, body_order)
        n_features = self.first_layer.n_features
        self.messages = nn.ModuleList()
        self.later_layers = nn.ModuleList()
        for _ in range(1, n_layers):
            layer = Layer(n_types, n_embedding, n_radial, channels, l_max, body_order)
            self.messages.append(Head(n_types, n_features, [16], n_embedding))
            self.later_layers.append(layer)
            n_features += layer.n_features
        self.n_features = n_features

    def forward(self, types: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_centre: int) -> Tensor:
        rows, row_of, n_rows_of = rows_of_layers(edge_index, types.size(0), n_centre, self.n_layers)
        n_rows = n_rows_of[0]
        centre_rows = row_of.index_select(0, edge_index[0])
        if not bool((centre_rows < n_rows).all()):
            # centres that no wanted feature depends on
            used = (centre_rows < n_rows).nonzero().squeeze(1)
            edge_index, edge_vectors = edge_index.index_select(1, used), edge_vectors.index_select(0, used)
            centre_rows = centre_rows.index_select(0, used)
        places, slots = dense_neighbours(edge_index, types.size(0))
        places = centre_rows * slots + places % slots
        # empty slots hold a vector of length `cutoff`, where all radial functions and their slopes vanish
        filler = torch.zeros(n_rows * slots, 3, dtype=edge_vectors.dtype, device=edge_vectors.device)
        filler[:, 0] = self.cutoff
        vectors = filler.index_copy(0, places, edge_vectors).view(n_rows, slots, 3)
        neighbours = torch.zeros(n_rows * slots, dtype=edge_index.dtype, device=edge_index.device)
        neighbours = neighbours.index_copy(0, places, edge_index[1])

        lengths = torch.linalg.vector_norm(vectors, dim=-1)
        angular = self.angular(vectors / lengths.unsqueeze(-1))
        radial = self.radial(lengths)
        row_types = types.index_select(0, rows)
        embedding = self.neighbour_embedding.index_select(
            0, types.index_select(0, neighbours) if n_rows > 0 else neighbours
        )
        features = self.first_layer(row_types, embedding.view(n_rows, slots, embedding.size(1)), radial, angular)[1]
        for index, (message, layer) in enumerate(zip(self.messages, self.later_layers)):
            messages = message(features, row_types[: features.size(0)])
            n = n_rows_of[index + 1]
            senders = neighbours[: n * slots]
            embedding = messages.index_select(0, row_of.index_select(0, senders) if n > 0 else senders)
            update = layer(row_types[:n], embedding.view(n, slots, embedding.size(1)), radial[:n], angular[:n])[1]
            features = torch.cat([features[:n], update], dim=1)
        return features


def rows_of_layers(edge_index: Tensor, n_all: int, n_centre: int, n_layers: int) -> tuple[Tensor, Tensor, list[int]]:
    """Which atoms each layer needs: the last one the first `n_centre`, each earlier one their neighbours as well.

    Args:
        edge_index: (2, n_edges) int64, centres and neighbours.
        n_all: atoms, ghosts included.

    Returns:
        atoms (n_rows,) in the order of their rows, the first `n_centre` first and as they are; the row of each atom
        (n_all,), `n_rows` or more if it needs none; and how many of the first rows each layer needs.
    """
    atoms = torch.arange(n_all, device=edge_index.device)
    if n_layers == 1 or n_centre == n_all:
        return atoms[:n_centre], atoms, [n_centre] * n_layers
    steps = torch.where(atoms < n_centre, 0, n_layers)  # edges between an atom and the first `n_centre`
    n_rows_of = [n_centre]
    for step in range(1, n_layers):
        reached = torch.zeros(n_all, dtype=torch.bool, device=edge_index.device)
        near = steps.index_select(0, edge_index[0]) < step
        reached[edge_index[1].masked_select(near)] = True
        steps = torch.where(reached & (steps > step), step, steps)
        n_rows_of.insert(0, int((steps <= step).sum()))
    order = torch.argsort(steps, stable=True)
    row_of = torch.empty_like(order).index_copy(0, order, atoms)
    return order[: n_rows_of[0]], row_of, n_rows_of
