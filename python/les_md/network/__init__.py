"""The network: edges of a neighbour list to invariant features, energies and latent charges."""

from les_md.network.backbone import Backbone
from les_md.network.cluster_expansion import ClusterExpansion
from les_md.network.head import Head
from les_md.network.state import StateEmbedding
from les_md.network.transfers import ChargeTransfers, ElementCharges, collect_transfers

__all__ = [
    "Backbone",
    "ChargeTransfers",
    "ClusterExpansion",
    "ElementCharges",
    "Head",
    "StateEmbedding",
    "collect_transfers",
]
