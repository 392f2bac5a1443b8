"""Charges as transfers between neighbours on top of constant charges of the elements.

Every transfer takes from one atom what it gives to the other, so the total charge of a system is that of its elements
without any global step, and the polarization of a periodic cell changes by transfer times edge vector.
"""

import torch
from torch import Tensor, nn

from les_md.errors import LESError
from les_md.network.head import Head
from les_md.network.radial import RadialBasis


class ElementCharges(nn.Module):
    """Constant charge of each element, with as much freedom as the total charges of the training frames leave.

    charges = fixed + freedom @ free, where `freedom` projects on the charges that change no total charge.
    """

    fixed: Tensor  # (n_types, n_channels)
    freedom: Tensor  # (n_types, n_types)

    def __init__(self, n_types: int, n_channels: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.zeros(n_types, n_channels))
        self.register_buffer("fixed", torch.zeros(n_types, n_channels))
        self.register_buffer("freedom", torch.eye(n_types))

    def forward(self) -> Tensor:
        """Charges (n_types, n_channels), e."""
        return self.fixed + torch.matmul(self.freedom, self.free)

    @torch.jit.unused
    def constrain(self, compositions: Tensor, total_charges: Tensor) -> None:
        """Gives frames of these compositions their total charges, all in the first channel.

        Args:
            compositions: (n_frames, n_types) atoms of each element.
            total_charges: (n_frames,), e.

        Raises:
            LESError: no charges of the elements give all frames their total charge.
        """
        compositions, total_charges = compositions.double(), total_charges.double()
        inverse = torch.linalg.pinv(compositions, rcond=1e-10)
        charges = inverse @ total_charges
        given = compositions @ charges
        worst = int((given - total_charges).abs().argmax())
        if float((given - total_charges)[worst].abs()) > 1e-6:
            raise LESError(
                f"`charge_flux` needs constant charges of the elements that give every frame its total charge, but "
                f"frame {worst} has {float(total_charges[worst]):g} e and would get {float(given[worst]):.4g} e; "
                "use `neutrality: true` instead, or frames of one charge state"
            )
        with torch.no_grad():
            self.fixed.zero_()
            self.fixed[:, 0] = charges.to(self.fixed.dtype)
            self.freedom.copy_(torch.eye(len(charges), dtype=torch.float64) - inverse @ compositions)

    @torch.jit.unused
    def keep(self, compositions: Tensor, total_charges: Tensor) -> None:
        """Keeps the charges and takes the freedom that would change the total charge of further frames.

        Arguments as for `constrain`.

        Raises:
            LESError: the charges give a frame another total charge than it has.
        """
        compositions = compositions.double()
        charges = self().detach()
        given = compositions @ charges.double().sum(1)
        worst = int((given - total_charges).abs().argmax())
        if float((given - total_charges)[worst].abs()) > 1e-4:
            raise LESError(
                f"the initial model has constant charges of the elements that give frame {worst} of the training "
                f"frames {float(given[worst]):.4g} e, but it has {float(total_charges[worst]):g} e; train a new model"
            )
        identity = torch.eye(len(charges), dtype=torch.float64)
        fixed = torch.cat([identity - self.freedom.double(), compositions])
        with torch.no_grad():
            self.fixed.copy_(charges)
            self.free.zero_()
            self.freedom.copy_(identity - torch.linalg.pinv(fixed, rcond=1e-6) @ fixed)


class ChargeTransfers(nn.Module):
    """Transfers a_ij along the edges, from the features of the centre, the neighbour's element and the distance.

    a_ij = sum_n C_n(features_i, type_j) R_n(r_ij) is charge that centre i takes from neighbour j; the edge from j to i
    adds -a_ji, so that the transfer of a pair is antisymmetric.
    """

    def __init__(
        self, n_types: int, n_features: int, hidden: list[int], n_channels: int, cutoff: float, n_radial: int
    ) -> None:
        super().__init__()
        self.n_types = n_types
        self.n_channels = n_channels
        self.n_radial = n_radial
        self.radial = RadialBasis(cutoff, n_radial)
        self.coefficients = Head(n_types, n_features, hidden, n_types * n_radial * n_channels, TRANSFER_SCALE)

    def forward(
        self,
        features: Tensor,
        row_types: Tensor,
        types: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        shift: Tensor | None = None,
    ) -> Tensor:
        """Transfers (n_edges, n_channels), e; zero on edges around ghosts, which their owners have.

        `features` (n_rows, n_features), `row_types` (n_rows,), `types` (n_all,), `edge_index` (2, n_edges) with the row
        of the centre and the neighbour, `edge_vectors` (n_edges, 3), `shift` as in `Head`.
        """
        coefficients = self.coefficients(features, row_types, shift).view(-1, self.n_radial * self.n_channels)
        ghosts = torch.zeros(
            (types.size(0) - features.size(0)) * self.n_types,
            self.n_radial * self.n_channels,
            dtype=features.dtype,
            device=features.device,
        )
        rows = edge_index[0] * self.n_types + types.index_select(0, edge_index[1])
        chosen = torch.cat([coefficients, ghosts]).index_select(0, rows).view(-1, self.n_radial, self.n_channels)
        radial = self.radial(torch.linalg.vector_norm(edge_vectors, dim=1))
        return (chosen * radial.unsqueeze(2)).sum(1)


def collect_transfers(
    transfers: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_all: int, n_rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What `transfers` (n_edges, n_channels) do; `edge_index` as in `ChargeTransfers`.

    Returns:
        charges that centres take (n_rows, n_channels), charges that neighbours give (n_all, n_channels), and the
        dipoles of the centres (n_rows, 3), sum_j a_ij (r_i - r_j) summed over channels, in e angstrom.
    """
    nothing = torch.zeros(n_all, transfers.size(1), dtype=transfers.dtype, device=transfers.device)
    given = nothing.index_add(0, edge_index[1], -transfers)
    # cutting off rows of ghost centres, whose transfers are zero
    taken = nothing.index_add(0, edge_index[0], transfers)[:n_rows]
    dipoles = torch.zeros(n_all, 3, dtype=transfers.dtype, device=transfers.device)
    dipoles = dipoles.index_add(0, edge_index[0], -transfers.sum(1, keepdim=True) * edge_vectors)
    return taken, given, dipoles[:n_rows]


#: Size of the transfers along one edge for outputs of order one. An atom has some tens of edges with several radial
#: functions each, which all move at once: ten times larger, optimizers throw the charges of the initial fit away, and
#: charges that are zero stay zero.
TRANSFER_SCALE = 0.01
