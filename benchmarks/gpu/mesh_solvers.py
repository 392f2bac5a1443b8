"""Names of the solvers that mesh_worker.py times; nothing optional is imported before it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A solver: its `label` in tables, the `package` it needs and the `module` that shows whether it is there."""

    label: str
    package: str
    module: str
    make: Callable[[], type]
    own: bool = False
    graph: bool = False  # captured as a CUDA graph, so on a GPU alone


def own_mesh() -> type:
    """On the CPU; on a GPU mesh_times.cpp is in its place."""
    from own_solvers import LesMesh

    return LesMesh


def torch_pme() -> type:
    """As in benchmarks/mesh."""
    from peers import TorchPME

    return TorchPME


def nvalchemi() -> type:
    """Its particle mesh Ewald sum."""
    from nvalchemi_pme import NvalchemiPME

    return NvalchemiPME


SOLVERS = {
    "les": Entry("les_md", "les-md", "les_md", own_mesh, own=True),
    "torch-pme": Entry("torch-pme P3M", "torch-pme", "torchpme", torch_pme),
    "torch-pme-graph": Entry("torch-pme P3M, as a graph", "torch-pme", "torchpme", torch_pme, graph=True),
    "nvalchemi": Entry("nvalchemi PME", "nvalchemi-toolkit-ops", "nvalchemiops", nvalchemi),
    "nvalchemi-graph": Entry(
        "nvalchemi PME, as a graph", "nvalchemi-toolkit-ops", "nvalchemiops", nvalchemi, graph=True
    ),
}
