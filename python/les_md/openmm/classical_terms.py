"""The classical forces of a mixed ML/MM System: copies without the terms among the atoms of the model.

What is taken out and what stays follows openmm-ml: a bonded term goes if all of its particles are inside, interactions
between pairs inside are excluded, everything across the boundary stays.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Set
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

from les_md.errors import LESError
from les_md.openmm.plugin import openmm

#: Bonded terms in the XML of a Force; the particles of a term are its attributes p1, p2, ... (CMAP: a1, b1, ...).
_TERM_LISTS = ("Bonds", "Angles", "Torsions")
_PARTICLE = re.compile(r"[pab]\d+")
_BONDED = (
    openmm.HarmonicBondForce,
    openmm.HarmonicAngleForce,
    openmm.PeriodicTorsionForce,
    openmm.RBTorsionForce,
    openmm.CMAPTorsionForce,
    openmm.CustomBondForce,
    openmm.CustomAngleForce,
    openmm.CustomTorsionForce,
    openmm.CustomCompoundBondForce,
)
#: Forces that stay as they are: no interactions among particles.
_UNTOUCHED = (
    openmm.CMMotionRemover,
    openmm.AndersenThermostat,
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.CustomExternalForce,
)
_LATTICE_SUMS = (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME)


def without_terms_inside(force: Any, inside: Set[int]) -> Any:
    """A copy of `force` without what acts among the particles `inside` only; raises LESError for a class not known."""
    if isinstance(force, _BONDED):
        return _without_bonded_terms(force, inside)
    if isinstance(force, openmm.NonbondedForce):
        return _without_nonbonded_pairs(force, inside)
    if isinstance(force, openmm.CustomNonbondedForce):
        return _with_exclusions(force, inside)
    if isinstance(force, _UNTOUCHED):
        return copy.deepcopy(force)
    raise LESError(
        f"a mixed System cannot be made of a System with {_class_of(force)}, of which is not "
        "known what acts inside `ml_atoms`; remove it, and add it to the mixed System if it belongs there"
    )


def _class_of(force: Any) -> str:
    """Class of a force for a message; a force of a plugin is an openmm.Force with a name."""
    return force.getName() if type(force) is openmm.Force else type(force).__name__


def bonds_of(force: Any) -> list[tuple[int, int]]:
    """Pairs of particles that `force` bonds to each other."""
    if not isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce):
        return []
    bonds = (force.getBondParameters(index) for index in range(force.getNumBonds()))
    return [(first, second) for first, second, *_ in bonds]


def _without_bonded_terms(force: Any, inside: Set[int]) -> Any:
    root = ElementTree.fromstring(openmm.XmlSerializer.serialize(force))
    for terms in root:
        if terms.tag in _TERM_LISTS:
            terms[:] = [term for term in terms if not _particles_of(term) <= inside]
    return openmm.XmlSerializer.deserialize(ElementTree.tostring(root, encoding="unicode"))


def _particles_of(term: ElementTree.Element) -> set[int]:
    return {int(value) for name, value in term.attrib.items() if _PARTICLE.fullmatch(name)}


def _without_nonbonded_pairs(force: Any, inside: Set[int]) -> Any:
    for index in range(force.getNumParticleParameterOffsets()):
        parameter, particle, *_ = force.getParticleParameterOffset(index)
        if particle in inside:
            raise LESError(
                f"{force.getName()} changes particle {particle} of the model with the global parameter {parameter}, "
                "which mixed Systems do not support; leave out the offset"
            )
    edited = copy.deepcopy(force)
    exceptions = {}
    for index in range(edited.getNumExceptions()):
        first, second, *_ = edited.getExceptionParameters(index)
        exceptions[min(first, second), max(first, second)] = index
    for index in range(edited.getNumExceptionParameterOffsets()):
        parameter, exception, *_ = edited.getExceptionParameterOffset(index)
        if inside >= set(edited.getExceptionParameters(exception)[:2]):
            raise LESError(
                f"{force.getName()} changes an interaction inside `ml_atoms` with the global parameter {parameter}, "
                "which mixed Systems do not support; leave out the offset"
            )
    # molecules of the model may be in different images
    edited.setExceptionsUsePeriodicBoundaryConditions(edited.usesPeriodicBoundaryConditions())
    for pair in combinations(sorted(inside), 2):
        if pair in exceptions:
            edited.setExceptionParameters(exceptions[pair], *pair, 0.0, 1.0, 0.0)
        else:
            edited.addException(*pair, 0.0, 1.0, 0.0)
    return edited


def _with_exclusions(force: Any, inside: Set[int]) -> Any:
    edited = copy.deepcopy(force)
    pairs = (edited.getExclusionParticles(index) for index in range(edited.getNumExclusions()))
    excluded = {(min(pair), max(pair)) for pair in pairs}
    for pair in combinations(sorted(inside), 2):
        if pair not in excluded:
            edited.addExclusion(*pair)
    return edited


def zero_charges(force: Any, particles: Set[int]) -> None:
    """Sets the charges of `particles` in a NonbondedForce to 0."""
    for particle in particles:
        _, sigma, epsilon = force.getParticleParameters(particle)
        force.setParticleParameters(particle, 0.0, sigma, epsilon)


def minus_images_inside(force: Any, inside: Set[int]) -> Any | None:
    """Minus the Coulomb energy of `inside` with its own periodic images in `force`, None if there is nothing of that.

    Exclusions leave out one image of each pair. A lattice sum has the others, which a model with charges has already.
    """
    if not isinstance(force, openmm.NonbondedForce) or force.getNonbondedMethod() not in _LATTICE_SUMS:
        return None
    charges = {particle: force.getParticleParameters(particle)[0] for particle in inside}
    if not any(charge._value for charge in charges.values()):
        return None
    images = openmm.NonbondedForce()
    for particle in range(force.getNumParticles()):
        images.addParticle(charges.get(particle, 0.0), 1.0, 0.0)
    for pair in combinations(sorted(inside), 2):
        images.addException(*pair, 0.0, 1.0, 0.0)
    is_ewald = force.getNonbondedMethod() == openmm.NonbondedForce.Ewald
    images.setNonbondedMethod(openmm.NonbondedForce.Ewald if is_ewald else openmm.NonbondedForce.PME)
    images.setExceptionsUsePeriodicBoundaryConditions(True)
    images.setCutoffDistance(force.getCutoffDistance())
    images.setEwaldErrorTolerance(force.getEwaldErrorTolerance())
    images.setPMEParameters(*force.getPMEParameters())
    minus = openmm.CustomCVForce("-images")
    minus.addCollectiveVariable("images", images)
    minus.setForceGroup(force.getForceGroup())
    minus.setName("minus classical images of the ML atoms")
    return minus
