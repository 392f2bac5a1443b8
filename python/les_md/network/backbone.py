"""The interface between a network and the rest: edges in, invariant features out.

Another network takes the place of the atomic cluster expansion by deriving from `Backbone` and keeping to what
TorchScript can compile; heads, export and engine stay as they are.
"""

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """Maps edges to invariant features per atom.

    Attributes:
        n_features: length of the feature vector.
        feature_blocks: lengths of its parts. Those of the first part depend on the edges of their atom alone; left
            empty, nothing is known about the features.
        has_layer_entry: whether `layer` is there, for networks with messages.
        has_rows_entry: whether `rows` is there.
    """

    n_features: int
    feature_blocks: list[int] = []  # noqa: RUF012 - an attribute of the instance where it matters
    has_layer_entry: bool = False
    has_rows_entry: bool = False

    def forward(self, types: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_centre: int) -> Tensor:
        """Features of the first `n_centre` atoms.

        Args:
            types: (n_all,) int64, index into the model's symbols.
            edge_index: (2, n_edges) int64, centres (not decreasing) and neighbours.
            edge_vectors: (n_edges, 3) r_j - r_i in angstrom, in the precision of the network.
            n_centre: atoms whose features are wanted; the others are ghosts.

        Returns:
            (n_centre, n_features).
        """
        raise NotImplementedError

    @torch.jit.unused
    def layer(self, index: int, tensors: dict[str, Tensor], n_centre: int) -> dict[str, Tensor]:
        """One layer for the first `n_centre` atoms, so that a host can exchange messages between the layers.

        Args:
            index: of the layer, from 0.
            tensors: `types`, `edge_index`, `edge_vectors` as in `forward`, edges around ghosts not needed; for later
                layers what the one before returned, with the `messages` of all atoms.
            n_centre: atoms whose features are wanted.

        Returns:
            `tensors` and what later layers need: `features` (n_centre, n_features up to now), and from all layers but
            the last `messages` (n_centre, n_messages).
        """
        raise NotImplementedError

    @torch.jit.unused
    def rows(self, types: Tensor, neighbours: Tensor, vectors: Tensor, atoms: Tensor, runs: list[int]) -> Tensor:
        """`forward` for a device: no operation in it needs a number that only the device has.

        Args:
            types: (n_all,) int64.
            neighbours: (n_rows, slots) int32 or int64, any atom in empty slots.
            vectors: (n_rows, slots, 3) in angstrom, in the precision of the network; of the length of the cutoff in
                empty slots.
            atoms: (n_rows,) int64, the atom of each row, sorted by element; all of them for several layers.
            runs: rows of each element.

        Returns:
            (n_rows, n_features).
        """
        raise NotImplementedError


def dense_neighbours(edge_index: Tensor, n_rows: int) -> tuple[Tensor, int]:
    """Places of the edges in a table with one row per centre and equally many slots in each.

    Sums over neighbours then are batched matrix products without atomics, the same in every run.

    Args:
        edge_index: (2, n_edges) int64, centres not decreasing and below `n_rows`.

    Returns:
        flat places (n_edges,) = centre * slots + slot, and the number of slots (a multiple of 4, so that shapes stay
        the same over many steps).
    """
    centres = edge_index[0]
    counts = torch.bincount(centres, minlength=n_rows)
    first = torch.cumsum(counts, 0) - counts
    slot = torch.arange(centres.size(0), device=centres.device) - first.index_select(0, centres)
    longest = int(counts.max()) if n_rows > 0 else 0
    slots = max(4 * ((longest + 3) // 4), 4)
    return centres * slots + slot, slots
