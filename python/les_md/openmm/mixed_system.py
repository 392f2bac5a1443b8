"""ML/MM: part of a classical System described by an LES model, the rest by its force field.

`create_mixed_system` is the page to read; what it does to each classical force is in `les_md.openmm.classical_terms`.
"""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Iterable
from typing import Any

from les_md.errors import LESError
from les_md.openmm.classical_terms import bonds_of, minus_images_inside, without_terms_inside, zero_charges
from les_md.openmm.force import LESForce
from les_md.openmm.plugin import openmm

Pair = tuple[int, int]


def create_mixed_system(
    topology: Any,
    system: Any,
    ml_atoms: Iterable[int],
    model: str | os.PathLike[str] | bytes,
    embedding: str = "mechanical",
    *,
    periodic: bool | None = None,
    remove_constraints: bool = True,
    force_group: int = 0,
    **settings: Any,
) -> Any:
    """A copy of the classical `system` in which the model describes `ml_atoms`.

    Bonded terms with all atoms inside `ml_atoms` are removed, nonbonded interactions inside are excluded, and all terms
    across the boundary stay: Lennard-Jones with the classical parameters in any case, and the Coulomb interaction with

    * "mechanical" embedding by the classical charges on both sides, which do not act on the model;
    * "electrostatic" embedding by the latent charges of the model: they and the charges of the rest act on each other
      through the model's own long-range kernel, and the classical charges of `ml_atoms` are set to 0.

    Virtual sites made of `ml_atoms` alone count as inside: the model does not see them, they keep their Lennard-Jones
    parameters and, with mechanical embedding, their charges.

    Args:
        topology: openmm.app.Topology of all particles, for elements and bonds.
        system: classical openmm.System of the whole topology; it is not changed.
        ml_atoms: indices of the atoms the model describes.
        model: path of a file of les-export, or its bytes.
        embedding: "mechanical" or "electrostatic"; the latter needs whole molecules in `ml_atoms`, as there are no link
            atoms.
        periodic: whether the model is periodic; None: as the System. An isolated model in a periodic System leaves the
            periodic images of `ml_atoms` to the classical charges, and needs mechanical embedding.
        remove_constraints: take out constraints inside `ml_atoms`, which then need a time step of 0.5 fs or less.
        force_group: of the LESForce.
        settings: further arguments of LESForce, such as `threads` and `accuracy`.

    Raises:
        LESError: an index, an element, a force or a setting cannot be used, or a bond is cut.
    """
    atoms = _checked_atoms(topology, system, ml_atoms)
    if embedding not in ("mechanical", "electrostatic"):
        raise LESError(f"`embedding` must be 'mechanical' or 'electrostatic', got {embedding!r:.60}")
    inside = set(atoms) | _virtual_sites_of(system, set(atoms))
    is_periodic = system.usesPeriodicBoundaryConditions() if periodic is None else bool(periodic)
    if embedding == "electrostatic" and is_periodic != system.usesPeriodicBoundaryConditions():
        raise LESError(
            f"electrostatic embedding needs a model that is periodic if the System is, got `periodic={is_periodic}`; "
            "leave `periodic` out"
        )
    bonds = _bonds(topology, system)

    mixed = copy.deepcopy(system)
    forces = [without_terms_inside(force, inside) for force in system.getForces()]
    charges = None
    if embedding == "electrostatic":
        _check_no_bond_is_cut(system, bonds, inside)
        charges = _take_charges(forces, inside)
    les_force = LESForce(model, topology, periodic=is_periodic, particles=atoms, external_charges=charges, **settings)
    if is_periodic and les_force.getMetadata()["long_range"] is not None:
        forces += [minus for force in forces if (minus := minus_images_inside(force, inside)) is not None]
    for index in reversed(range(mixed.getNumForces())):
        mixed.removeForce(index)
    for force in forces:
        mixed.addForce(force)
    if remove_constraints:
        _remove_constraints(mixed, inside)

    # barostats and periodic wrapping move molecules, which OpenMM finds by bonds
    for first, second in sorted(bonds):
        if first in inside and second in inside:
            les_force.addBond(first, second)
    les_force.setForceGroup(force_group)
    mixed.addForce(les_force)
    return mixed


def _checked_atoms(topology: Any, system: Any, ml_atoms: Any) -> list[int]:
    n_particles = system.getNumParticles()
    if topology.getNumAtoms() != n_particles:
        raise LESError(
            f"`topology` and `system` must have the same number of particles, got {topology.getNumAtoms()} and "
            f"{n_particles}"
        )
    try:
        atoms = [operator.index(atom) for atom in ml_atoms]
    except TypeError:
        raise LESError(f"`ml_atoms` must be a list of indices, got {ml_atoms!r:.60}") from None
    if not atoms:
        raise LESError("`ml_atoms` must name at least one atom, got none")
    seen: set[int] = set()
    for atom in atoms:
        if atom in seen:
            raise LESError(f"`ml_atoms` must name each atom once, got {atom} twice")
        seen.add(atom)
        if not 0 <= atom < n_particles:
            raise LESError(f"`ml_atoms` must be 0 to {n_particles - 1} for this System, got {atom}")
        if system.isVirtualSite(atom):
            raise LESError(f"`ml_atoms` must be atoms, got the virtual site {atom}; leave it out")
    return atoms


def _virtual_sites_of(system: Any, atoms: set[int]) -> set[int]:
    """Virtual sites whose particles are all among `atoms`; raises LESError for one with particles on both sides."""
    sites = set()
    for particle in range(system.getNumParticles()):
        if not system.isVirtualSite(particle):
            continue
        site = system.getVirtualSite(particle)
        parents = {site.getParticle(index) for index in range(site.getNumParticles())}
        if parents <= atoms:
            sites.add(particle)
        elif parents & atoms:
            raise LESError(
                f"virtual site {particle} must depend on atoms on one side of the boundary, got {sorted(parents)}; "
                "take all of them into `ml_atoms`, or none"
            )
    return sites


def _bonds(topology: Any, system: Any) -> set[Pair]:
    """Bonds of the topology, bonds with an energy, and constraints."""
    bonds = [(first.index, second.index) for first, second in topology.bonds()]
    for force in system.getForces():
        bonds += bonds_of(force)
    for index in range(system.getNumConstraints()):
        first, second, _ = system.getConstraintParameters(index)
        bonds.append((first, second))
    return {(min(pair), max(pair)) for pair in bonds}


def _check_no_bond_is_cut(system: Any, bonds: set[Pair], inside: set[int]) -> None:
    """Bonds, and what stands for them where there are none: classical exceptions."""
    tied = list(sorted(bonds))
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            tied += [tuple(force.getExceptionParameters(index)[:2]) for index in range(force.getNumExceptions())]
    for first, second in tied:
        if (first in inside) == (second in inside):
            continue
        raise LESError(
            f"electrostatic embedding has no link atoms, but a bond or a nonbonded exception ties atom {first} to atom "
            f"{second} across the boundary; take whole molecules into `ml_atoms`, or use mechanical embedding"
        )


def _take_charges(forces: list[Any], inside: set[int]) -> list[float]:
    """Charges of all particles in e, 0 for those inside, which lose theirs in the NonbondedForce."""
    nonbonded = [force for force in forces if isinstance(force, openmm.NonbondedForce)]
    if len(nonbonded) != 1:
        raise LESError(
            f"electrostatic embedding takes the charges of the rest from one NonbondedForce, the System has "
            f"{len(nonbonded)}; use mechanical embedding"
        )
    (force,) = nonbonded
    for index in range(force.getNumParticleParameterOffsets()):
        parameter, particle, charge, *_ = force.getParticleParameterOffset(index)
        if charge != 0.0:
            raise LESError(
                f"electrostatic embedding needs charges that are fixed, that of particle {particle} changes with the "
                f"global parameter {parameter}; use mechanical embedding"
            )
    zero_charges(force, inside)
    parameters = (force.getParticleParameters(particle) for particle in range(force.getNumParticles()))
    return [charge.value_in_unit(openmm.unit.elementary_charge) for charge, _, _ in parameters]


def _remove_constraints(system: Any, inside: set[int]) -> None:
    for index in reversed(range(system.getNumConstraints())):
        first, second, _ = system.getConstraintParameters(index)
        if first in inside and second in inside:
            system.removeConstraint(index)
