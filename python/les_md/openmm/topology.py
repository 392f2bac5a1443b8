"""Which atoms of an openmm.app.Topology, or of a list of chemical symbols, a model acts on, and charges of the rest."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from les_md.errors import LESError
from les_md.openmm.plugin import openmm


def indices_of(particles: Any) -> list[int] | None:
    """`particles` as a list of indices, None for all; raises LESError if it is neither."""
    if particles is None:
        return None
    try:
        indices = [operator.index(particle) for particle in particles]
    except TypeError:
        raise LESError(f"`particles` must be a list of indices or None, got {particles!r:.60}") from None
    if not indices:
        raise LESError("`particles` must name at least one particle, got none; None stands for all")
    return indices


def charges_of(charges: Any) -> list[float] | None:
    """`charges` as a list of numbers in e, None for none; raises LESError if it is neither."""
    if charges is None:
        return None
    e = openmm.unit.elementary_charge
    try:
        values = charges.value_in_unit(e) if openmm.unit.is_quantity(charges) else charges
        numbers = [float(q.value_in_unit(e) if openmm.unit.is_quantity(q) else q) for q in values]
    except (TypeError, ValueError):
        raise LESError(f"`external_charges` must be a list of charges or None, got {charges!r:.60}") from None
    if not numbers:
        raise LESError(
            "`external_charges` must have one charge per particle of the System, got none; None stands for "
            "mechanical embedding"
        )
    return numbers


def symbols_of_topology(topology: Any, particles: Iterable[int] | None = None) -> list[str]:
    """Chemical symbols of the atoms, or of those with the indices `particles`, of an openmm.app.Topology.

    Raises LESError for a particle that is no atom and for an index the topology does not have.
    """
    atoms = list(topology.atoms())
    symbols = []
    for index in range(len(atoms)) if particles is None else particles:
        if not 0 <= index < len(atoms):
            raise LESError(f"`particles` must be 0 to {len(atoms) - 1} for this topology, got {index}")
        atom = atoms[index]
        if atom.element is None:
            raise LESError(
                f"particle {atom.index} ({atom.name} of residue {atom.residue.name} {atom.residue.id}) has no element; "
                "leave virtual sites and other extra particles out with `particles`"
            )
        symbols.append(atom.element.symbol)
    return symbols


def symbols_and_periodic(
    symbols_or_topology: Any, periodic: bool | None, particles: list[int] | None = None
) -> tuple[list[str], bool]:
    """Symbols of the particles, and `periodic` or what follows from the topology's box vectors."""
    if hasattr(symbols_or_topology, "atoms") and hasattr(symbols_or_topology, "getPeriodicBoxVectors"):
        has_box = symbols_or_topology.getPeriodicBoxVectors() is not None
        symbols = symbols_of_topology(symbols_or_topology, particles)
        return symbols, has_box if periodic is None else bool(periodic)
    is_list = isinstance(symbols_or_topology, Iterable) and not isinstance(symbols_or_topology, str | bytes)
    symbols = list(symbols_or_topology) if is_list else []
    if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise LESError(
            "`symbols_or_topology` must be a list of chemical symbols or an openmm.app.Topology, "
            f"got {symbols_or_topology!r:.60}"
        )
    if particles is not None and len(symbols) != len(particles):
        raise LESError(
            f"a list of symbols must have one for each of the {len(particles)} `particles`, got {len(symbols)}"
        )
    return symbols, True if periodic is None else bool(periodic)
