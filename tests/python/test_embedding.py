"""External charges in the engine: closed forms, sums in Python, finite differences, invariances, errors."""

import math

import numpy as np
import pytest
import torch
from structures import random_atoms, random_model

from les_md import ewald
from les_md.constants import COULOMB_CONSTANT
from les_md.engine import Engine
from les_md.errors import LESError
from les_md.export import write_model_file
from les_md.settings import LongRangeSettings

LONG_RANGE = {
    "one_channel": {},
    "two_neutral_channels": {"n_channels": 2, "neutrality": True},
    "k_cutoff": {"k_cutoff": math.pi},
    "self_kept": {"remove_self_interaction": False},
    "transfers": {"charge_flux": True},
}
SMEARING = LongRangeSettings().smearing
#: Where the direct sum of the engine cuts the converged kernel.
CONVERGED = math.sqrt(2.0 * math.log(1e9)) / SMEARING


@pytest.fixture(scope="module")
def make_engine(tmp_path_factory):
    """make_engine(name of LONG_RANGE or None, dtype, **options): an engine of a random model."""
    folder = tmp_path_factory.mktemp("models")

    def make(name="one_channel", dtype="float64", **options):
        path = folder / f"{name}-{dtype}.les.pt"
        if not path.exists():
            long_range = LongRangeSettings(**LONG_RANGE[name]) if name else None
            write_model_file(random_model(dtype=dtype, long_range=long_range), path, {}, None, None)
        return Engine(path, **options)

    return make


def structure(periodic, tilt=0.25, n_external=7):
    """Atoms of the model, positions and charges outside it (net charge 0.6 e, one of them zero), periodic."""
    atoms = random_atoms(n_atoms=9, periodic=True, tilt=tilt)
    generator = np.random.default_rng(8)
    others = []
    while len(others) < n_external:
        trial = generator.uniform(-1.0, 2.0, 3) @ atoms.cell.array  # in several images
        separations = (atoms.positions - trial) @ np.linalg.inv(atoms.cell.array)
        separations = (separations - np.round(separations)) @ atoms.cell.array
        if np.linalg.norm(separations, axis=1).min() > 1.2:
            others.append(trial)
    charges = generator.normal(0.0, 0.7, n_external)
    charges[2] = 0.0
    charges[0] += 0.6 - charges.sum()
    return atoms, np.array(others), charges, periodic


def evaluate(engine, case, positions=None, cell=None, others=None):
    atoms, external_positions, charges, periodic = case
    return engine.compute(
        atoms.positions if positions is None else positions,
        engine.types_of(atoms.get_chemical_symbols()),
        atoms.cell.array if cell is None else cell,
        periodic,
        external_positions=external_positions if others is None else others,
        external_charges=charges,
    )


def cross_energy(results, case, k_cutoff):
    """E(Q + z) - E(Q) - E(z) by the sums of les_md.ewald."""
    atoms, others, charges, periodic = case
    latent = results["latent_charges"].sum(1)
    none = np.zeros_like
    positions = torch.tensor(np.concatenate([atoms.positions, others]))

    def energy(q, z):
        values = torch.tensor(np.concatenate([q, z])).unsqueeze(1)
        if not periodic:
            return float(ewald.isolated_energy(values, positions, SMEARING, COULOMB_CONSTANT, True))
        cell = torch.tensor(atoms.cell.array)
        return float(ewald.periodic_energy(values, positions, cell, SMEARING, k_cutoff, COULOMB_CONSTANT, True))

    return energy(latent, charges) - energy(latent, none(charges)) - energy(none(latent), charges)


@pytest.mark.parametrize("name", LONG_RANGE)
@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
def test_energy_is_that_of_the_sums_in_python(make_engine, name, periodic):
    case = structure(periodic)
    engine = make_engine(name, solver="direct")
    results = evaluate(engine, case)
    expected = cross_energy(results, case, LONG_RANGE[name].get("k_cutoff", CONVERGED))
    assert abs(expected) > 0.05
    assert results["embedding_energy"] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(
        results["latent_charges"].sum(1) @ results["external_potentials"], expected, rtol=1e-9, atol=0
    )
    terms = ("short_range_energy", "long_range_energy", "field_energy", "embedding_energy")
    assert sum(results[term] for term in terms) == pytest.approx(results["energy"], rel=1e-14)
    assert results["atom_energies"].sum() == pytest.approx(results["energy"], rel=1e-12)


def test_pair_of_smeared_charges(make_engine):
    """One atom and one charge: K_e Q z erf(r / (sqrt(2) sigma)) / r, and its derivative along the line."""
    engine = make_engine()
    r, z = 1.7, -0.8
    results = engine.compute(
        np.zeros((1, 3)),
        engine.types_of(["O"]),
        external_positions=np.array([[0.0, r, 0.0]]),
        external_charges=np.array([z]),
    )
    charge = results["latent_charges"][0, 0]
    kernel = math.erf(r / (math.sqrt(2.0) * SMEARING)) / r
    slope = (math.sqrt(2.0 / math.pi) / SMEARING * math.exp(-0.5 * (r / SMEARING) ** 2) - kernel) / r
    assert abs(charge) > 1e-3
    assert results["embedding_energy"] == pytest.approx(COULOMB_CONSTANT * charge * z * kernel, rel=1e-12)
    expected = -COULOMB_CONSTANT * charge * z * slope
    np.testing.assert_allclose(results["external_forces"], [[0.0, expected, 0.0]], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(results["forces"], [[0.0, -expected, 0.0]], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(results["virial"], np.diag([0.0, expected * r, 0.0]), rtol=1e-12, atol=1e-14)


SOLVERS = [
    pytest.param(True, {"solver": "direct"}, id="direct"),
    pytest.param(True, {"solver": "mesh", "accuracy": 1e-8}, id="mesh"),
    pytest.param(False, {}, id="isolated"),
]


@pytest.mark.parametrize("name", ["one_channel", "two_neutral_channels", "transfers"])
@pytest.mark.parametrize(("periodic", "options"), SOLVERS)
def test_forces_are_derivatives(make_engine, name, periodic, options):
    case = structure(periodic)
    atoms, others, _, _ = case
    engine = make_engine(name, **options)
    results = evaluate(engine, case)
    step = 2e-4
    for atom, axis in [(0, 0), (3, 1), (8, 2)]:
        energies = []
        for sign in (1, -1):
            positions = atoms.positions.copy()
            positions[atom, axis] += sign * step
            energies.append(evaluate(engine, case, positions=positions)["energy"])
        got = -(energies[0] - energies[1]) / (2 * step)
        assert got == pytest.approx(results["forces"][atom, axis], rel=1e-5, abs=2e-5)
    for charge, axis in [(0, 2), (2, 0), (5, 1)]:
        energies = []
        for sign in (1, -1):
            moved = others.copy()
            moved[charge, axis] += sign * step
            energies.append(evaluate(engine, case, others=moved)["energy"])
        got = -(energies[0] - energies[1]) / (2 * step)
        assert got == pytest.approx(results["external_forces"][charge, axis], rel=1e-5, abs=2e-5)
    assert np.abs(results["external_forces"][[0, 5]]).max() > 1e-3


@pytest.mark.parametrize("name", ["one_channel", "two_neutral_channels"])
@pytest.mark.parametrize(("periodic", "options"), SOLVERS)
def test_virial_is_the_derivative_in_the_strain(make_engine, name, periodic, options):
    case = structure(periodic)
    atoms, others, _, _ = case
    engine = make_engine(name, **options)
    virial = evaluate(engine, case)["virial"]
    step = 1e-4
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2)]:
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            energies.append(
                evaluate(engine, case, atoms.positions @ strain, atoms.cell.array @ strain, others @ strain)["energy"]
            )
        got = -(energies[0] - energies[1]) / (2 * step)
        assert got == pytest.approx(virial[a, b], rel=1e-4, abs=2e-4)


@pytest.mark.parametrize(("periodic", "options"), SOLVERS)
def test_no_net_force(make_engine, periodic, options):
    case = structure(periodic)
    results = evaluate(make_engine(**options), case)
    total = results["forces"].sum(0) + results["external_forces"].sum(0)
    np.testing.assert_allclose(total, 0.0, atol=1e-9)


@pytest.mark.parametrize(("accuracy", "dtype"), [(1e-4, "float64"), (1e-6, "float64"), (1e-4, "float32")])
def test_mesh_and_direct_sum_agree(make_engine, accuracy, dtype):
    case = structure(True, n_external=20)
    exact = evaluate(make_engine(solver="direct"), case)
    mesh = evaluate(make_engine(solver="mesh", accuracy=accuracy, mesh_dtype=dtype), case)
    scale = np.abs(exact["external_forces"]).max()
    for name in ("forces", "external_forces", "external_potentials"):
        np.testing.assert_allclose(mesh[name], exact[name], rtol=0, atol=3 * accuracy * max(1.0, scale))
    assert mesh["embedding_energy"] == pytest.approx(exact["embedding_energy"], abs=3 * accuracy)


def test_large_charges_outside_do_not_swamp_a_float32_mesh(make_engine):
    """The energy of the external charges with each other is a thousand times the one wanted, and cancels."""
    atoms, others, charges, periodic = structure(True, n_external=300)
    case = atoms, others, charges - charges.mean(), periodic
    options = {"solver": "mesh", "accuracy": 1e-5}
    double = evaluate(make_engine(mesh_dtype="float64", **options), case)
    single = evaluate(make_engine(mesh_dtype="float32", **options), case)
    assert single["embedding_energy"] == pytest.approx(double["embedding_energy"], abs=2e-5)
    for name in ("forces", "external_forces"):
        assert np.sqrt(np.mean((single[name] - double[name]) ** 2)) < 1e-5
    np.testing.assert_allclose(single["virial"], double["virial"], rtol=0, atol=1e-3)


def test_nothing_changes_without_external_charges(make_engine):
    case = structure(True)
    atoms, others, charges, periodic = case
    engine = make_engine()
    arguments = (atoms.positions, engine.types_of(atoms.get_chemical_symbols()), atoms.cell.array, periodic)
    plain = make_engine().compute(*arguments)
    for external in [(np.zeros((0, 3)), np.zeros(0)), (others, 0.0 * charges)]:
        results = engine.compute(*arguments, external_positions=external[0], external_charges=external[1])
        assert results["embedding_energy"] == 0.0
        assert results["external_forces"].shape == external[0].shape
        for name in ("energy", "forces", "virial", "latent_charges", "potentials"):
            np.testing.assert_array_equal(results[name], plain[name])
    embedded = engine.compute(*arguments, external_positions=others, external_charges=charges)
    for name in ("short_range_energy", "long_range_energy", "latent_charges", "potentials"):
        np.testing.assert_array_equal(embedded[name], plain[name])
    assert "external_potentials" in embedded


def test_blocks_of_centres_see_the_external_charges(make_engine):
    case = structure(True)
    expected = evaluate(make_engine(), case)
    blocks = evaluate(make_engine(graph_memory=0.0), case)
    for name in ("energy", "forces", "external_forces", "virial"):
        np.testing.assert_allclose(blocks[name], expected[name], rtol=0, atol=1e-9)


def test_description_and_warnings_name_both_sums_once(make_engine):
    case = structure(True)
    engine = make_engine("k_cutoff", solver="mesh")
    evaluate(engine, case)
    model, outside = engine.long_range_description.split("; external charges: ")
    assert model.startswith("mesh")
    assert outside.startswith("mesh")
    with pytest.warns(UserWarning, match="sums wave vectors up to its own k_cutoff") as caught:
        evaluate(engine, case, cell=1.01 * case[0].cell.array)
    assert len(caught) == 1
    isolated = make_engine()
    evaluate(isolated, structure(False))
    assert isolated.long_range_description.endswith("pairs of 9 isolated atoms and 6 external charges")


@pytest.mark.parametrize(
    ("positions", "charges", "message"),
    [
        (np.zeros((2, 3)), None, "`external_positions` and `external_charges` must be given together, got one of them"),
        (np.zeros((2, 2)), np.zeros(2), r"`external_positions` must have shape \(n_external, 3\)"),
        (np.zeros((2, 3)), np.zeros(3), "must have one entry per row of `external_positions`, got 3 for 2"),
        (np.zeros((2, 3)), np.array([1.0, np.nan]), r"must be finite, those of external charge 1 \(counted from 0\)"),
        (np.full((1, 3), np.inf), np.ones(1), r"must be finite, those of external charge 0 \(counted from 0\)"),
        (np.zeros((1, 3)), np.ones(1), "an external charge must not coincide with an atom of the model"),
    ],
)
def test_unusable_external_charges(make_engine, positions, charges, message):
    engine = make_engine()
    with pytest.raises(LESError, match=message):
        engine.compute(np.zeros((1, 3)), engine.types_of(["O"]), external_positions=positions, external_charges=charges)


def test_a_model_without_charges(make_engine):
    with pytest.raises(LESError, match="external charges need a model with charges, this one is short-range only"):
        evaluate(make_engine(None), structure(True))
