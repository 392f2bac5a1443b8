"""External charges of a LESForce: the engine's results come through, and settings that do not fit are refused."""

from __future__ import annotations

import copy

import ase
import numpy as np
import openmm
import pytest
from openmm import unit
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, energy_of, evaluate, make_context, waters

from les_md.engine import Engine
from les_md.errors import LESError
from les_md.openmm import LESForce

SETTINGS = {"solver": "direct"}


def half_classical(periodic: bool) -> tuple[ase.Atoms, list[int], np.ndarray]:
    """`waters`, of which every other molecule is the model's, in mixed order, and the charges of the rest."""
    atoms = waters(periodic)
    particles = [i for i in range(len(atoms)) if (i // 3) % 2 == 1]
    particles = [int(i) for i in np.random.default_rng(4).permutation(particles)]
    charges = np.where(atoms.numbers == 8, -0.83, 0.4)
    charges[particles] = 0.0
    charges[0] = 0.0  # an external particle without charge
    return atoms, particles, charges


def embedded_force(path, atoms, particles, charges, **settings) -> LESForce:
    symbols = [atoms[i].symbol for i in particles]
    options = SETTINGS | {"periodic": bool(atoms.pbc.all())} | settings
    return LESForce(path, symbols, particles=particles, external_charges=charges, **options)


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
@pytest.mark.parametrize("model", [{}, {"n_channels": 2, "neutrality": True}], ids=["one", "two_neutral"])
def test_energy_and_forces_are_those_of_the_engine(model_file, platform, periodic, model):
    atoms, particles, charges = half_classical(periodic)
    force = embedded_force(model_file(**model), atoms, particles, charges)
    context = make_context(atoms, force, platform=platform)
    got = evaluate(context)
    rest = np.flatnonzero(charges)
    engine = Engine(model_file(**model), **SETTINGS)
    expected = engine.compute(
        atoms.positions[particles],
        engine.types_of([atoms[i].symbol for i in particles]),
        atoms.cell.array if periodic else None,
        periodic,
        external_positions=atoms.positions[rest],
        external_charges=charges[rest],
    )
    assert abs(expected["embedding_energy"]) > 0.01
    assert got.energy == pytest.approx(expected["energy"], rel=1e-10)
    np.testing.assert_allclose(got.forces[particles], expected["forces"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(got.forces[rest], expected["external_forces"], rtol=0, atol=1e-8)
    np.testing.assert_array_equal(got.forces[0], 0.0)

    def in_ev(energy):
        return energy.value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV

    assert in_ev(force.getEmbeddingEnergy(context)) == pytest.approx(expected["embedding_energy"], rel=1e-9)
    terms = force.getShortRangeEnergy(context), force.getLongRangeEnergy(context), force.getEmbeddingEnergy(context)
    assert sum(in_ev(term) for term in terms) == pytest.approx(got.energy, rel=1e-12)
    virial = force.getVirial(context).value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV
    np.testing.assert_allclose(virial, expected["virial"], rtol=0, atol=1e-8)


def test_moves_of_the_charges_are_seen(model_file, platform):
    atoms, particles, charges = half_classical(True)
    context = make_context(atoms, embedded_force(model_file(), atoms, particles, charges), platform=platform)
    before = evaluate(context)
    step = 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.positions.copy()
        moved[7, 1] += sign * step
        context.setPositions(moved * 0.1)
        energies.append(energy_of(context))
    assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(before.forces[7, 1], abs=1e-6)
    assert abs(before.forces[7, 1]) > 1e-3
    context.setPositions(atoms.positions * 0.1)
    context.setParameter("LESForceLambda", 0.25)
    scaled = evaluate(context)
    assert scaled.energy == pytest.approx(0.25 * before.energy, rel=1e-12)
    np.testing.assert_allclose(scaled.forces, 0.25 * before.forces, rtol=0, atol=1e-9)


def test_charges_as_quantities_in_copies_and_xml(model_file):
    atoms, particles, charges = half_classical(True)
    force = embedded_force(model_file(), atoms, particles, charges * unit.elementary_charge)
    assert force.getExternalCharges() == list(charges)
    assert force.getEmbedding() == "electrostatic"
    xml = openmm.XmlSerializer.serialize(force)
    assert 'externalCharges="0 0.4000000000000000' in xml
    energy = energy_of(make_context(atoms, copy.deepcopy(force)))
    for other in (openmm.XmlSerializer.deserialize(xml), copy.deepcopy(force)):
        assert LESForce.cast(other).getExternalCharges() == list(charges)
        assert openmm.XmlSerializer.serialize(other) == xml
        assert energy_of(make_context(atoms, other)) == energy
    force.setExternalCharges([q * unit.elementary_charge for q in charges])
    assert force.getExternalCharges() == list(charges)
    force.setExternalCharges(None)
    assert force.getExternalCharges() is None
    assert force.getEmbedding() == "mechanical"
    assert "externalCharges" not in openmm.XmlSerializer.serialize(force)
    assert LESForce.cast(copy.deepcopy(force)).getExternalCharges() is None
    for damaged in ("0.5*", "0.5*0", "x", "1*2*3"):
        with pytest.raises(openmm.OpenMMException, match="`externalCharges` must be charges or charge\\*count, got"):
            openmm.XmlSerializer.deserialize(xml.replace('externalCharges="0 ', f'externalCharges="{damaged} '))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: q[:-1], "must have one for each of the 24 particles of the System, got 23"),
        (lambda q: q + 0.1, "must be 0 for particles of the model, got 0.1"),
    ],
)
def test_charges_that_do_not_fit_the_system(model_file, change, message):
    atoms, particles, charges = half_classical(True)
    force = embedded_force(model_file(), atoms, particles, change(charges))
    with pytest.raises(openmm.OpenMMException, match=f"`external_charges` {message}"):
        make_context(atoms, force)


def test_an_isolated_model_in_a_periodic_system(model_file):
    atoms, particles, charges = half_classical(True)
    force = embedded_force(model_file(), atoms, particles, charges, periodic=False)
    other = LESForce(model_file(), ["O"], particles=[0])
    with pytest.raises(openmm.OpenMMException, match="of a periodic System need a periodic model"):
        make_context(atoms, other, force)


@pytest.mark.parametrize(
    ("charges", "message"),
    [
        ([0.0, 0.0, 0.0, np.nan], "`external_charges` must be finite, that of particle 3 is not"),
        ("abc", "`external_charges` must be a list of charges or None, got 'abc'"),
        (3.0, "`external_charges` must be a list of charges or None, got 3.0"),
        ([1.0 * unit.nanometer], "`external_charges` must be a list of charges or None"),
        ([], "`external_charges` must have one charge per particle of the System, got none"),
    ],
)
def test_unusable_charges(model_file, charges, message):
    with pytest.raises(LESError, match=message):
        LESForce(model_file(), ["O", "H", "H"], particles=[0, 1, 2], external_charges=charges)


def test_a_model_without_charges(model_file):
    with pytest.raises(LESError, match="`external_charges` need a model with charges, this one is short-range only"):
        LESForce(model_file(n_channels=0), ["O"], particles=[0], external_charges=[0.0, 1.0])
