"""The potential "les" of openmm-ml: `MLPotential("les", model="model.les.pt")`, for pure and mixed systems.

openmm-ml finds the factory by its entry point and loads it while it is itself being imported. So nothing of openmm-ml
is imported here, its interfaces are followed without its base classes, and our plugin is loaded when it is needed: no
fault of this installation can spoil `import openmmml` for other potentials.
"""
# ruff: noqa: N802, N803  methods and arguments are named as openmm-ml names them

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from typing import Any

from les_md.errors import LESError
from les_md.model_file import read_record

#: What an embedding of openmm-ml reads from the same arguments as the potential.
_EMBEDDING_ARGUMENTS = {"linkAtomDistances"}


def _force_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of `arguments` that LESForce takes; raises LESError for one that nobody reads."""
    from les_md.openmm import LESForce

    given = {"self", "model", "symbols_or_topology", "periodic", "particles", "external_charges"}
    known = [name for name in inspect.signature(LESForce.__init__).parameters if name not in given]
    settings = {name: value for name, value in arguments.items() if name not in _EMBEDDING_ARGUMENTS}
    for name in settings:
        if name not in known:
            raise LESError(f'the potential "les" has no argument `{name}`; it takes {", ".join(known)}')
    return settings


class LESPotentialImpl:
    """A model of les-export as a potential of openmm-ml.

    Args:
        model: path of the file.
        settings: keyword arguments of `les_md.openmm.LESForce`, for all systems made with this potential.
    """

    def __init__(self, model: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        self.model = model
        self.settings = _force_settings(settings)
        self.has_long_range = read_record(os.fspath(model))["long_range"] is not None

    def addForces(
        self, topology: Any, system: Any, atoms: Iterable[int] | None, forceGroup: int, **arguments: Any
    ) -> None:
        """Adds a LESForce on `atoms` (indices, None: all) to `system`; `arguments` go before the potential's own.

        Periodic if the topology has box vectors or another force of the system is.
        """
        from les_md.openmm import LESForce

        has_box = topology.getPeriodicBoxVectors() is not None
        force = LESForce(
            self.model,
            topology,
            periodic=has_box or system.usesPeriodicBoundaryConditions(),
            particles=atoms,
            **self.settings | _force_settings(arguments),
        )
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def getSupportedEmbeddings(self) -> list[str]:
        """Embeddings of its own; those of openmm-ml work besides."""
        return ["electrostatic"] if self.has_long_range else []

    def createMixedSystem(
        self,
        topology: Any,
        system: Any,
        atoms: list[int],
        forceGroup: int,
        interpolate: bool,
        embedding: str,
        returnInfo: bool = False,
        **arguments: Any,
    ) -> Any:
        """A mixed System with electrostatic embedding, see `les_md.openmm.create_mixed_system`.

        openmm-ml takes constraints out and adds what `returnInfo` asks for.
        """
        from les_md.openmm import create_mixed_system

        for name in _EMBEDDING_ARGUMENTS & set(arguments) | ({"interpolate"} if interpolate else set()):
            raise LESError(
                f"electrostatic embedding does not support `{name}`; use mechanical embedding or leave it out"
            )
        settings = self.settings | _force_settings(arguments)
        return create_mixed_system(
            topology, system, atoms, self.model, embedding, remove_constraints=False, force_group=forceGroup, **settings
        )

    def getMLLongRange(self) -> bool:
        """Whether atoms act on each other beyond the cutoff and on their periodic images.

        Mechanical embedding then takes the classical long-range energy between the atoms of the model out.
        """
        return self.has_long_range


class LESPotentialImplFactory:
    """Makes the potential; the entry point "les" of the group "openmmml.potentials"."""

    def createImpl(self, name: str, model: str | os.PathLike[str] | None = None, **settings: Any) -> LESPotentialImpl:
        """`name` is "les"; see `LESPotentialImpl` for the rest."""
        if model is None:
            raise LESError(f'the potential "{name}" needs a file of les-export: MLPotential("{name}", model=FILE)')
        return LESPotentialImpl(model, settings)
