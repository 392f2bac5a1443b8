"""Systems that the engine evaluates in blocks of centres: the same numbers as in one piece, with graphs kept or not."""

import numpy as np
import pytest
from ase import Atoms
from structures import random_model

from les_md import fields
from les_md.batch import frame_from_atoms
from les_md.engine import Engine
from les_md.errors import LESError
from les_md.export import write_model_file
from les_md.forces import edge_vectors_of, evaluate
from les_md.settings import LongRangeSettings


@pytest.fixture(scope="module")
def many_atoms():
    """A jittered lattice of 12 x 12 x 13 atoms, in no spatial order: three blocks that all touch each other."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*map(np.arange, (12, 12, 13)), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = rng.permutation(2.4 * grid + rng.uniform(-0.4, 0.4, grid.shape))
    symbols = np.where(np.arange(len(grid)) % 3 == 0, "O", "H")
    return Atoms(symbols, positions=positions, cell=2.4 * np.array([12, 12, 13]), pbc=True)


def engine_of(tmp_path, atoms, long_range, **options):
    model = random_model(cutoff=3.0, long_range=long_range)
    write_model_file(model, tmp_path / "m.les.pt", {}, None, None)
    engine = Engine(tmp_path / "m.les.pt", **options)
    return model, engine, engine.types_of(atoms.get_chemical_symbols())


@pytest.mark.parametrize("graph_memory", [0.0, 2.0])
def test_as_in_one_piece(tmp_path, many_atoms, graph_memory):
    model, engine, types = engine_of(tmp_path, many_atoms, None, graph_memory=graph_memory)
    expected = evaluate(model, frame_from_atoms(many_atoms, ["O", "H"], 3.0))
    for _ in range(2):  # the second evaluation knows what a graph takes
        results = engine.compute(many_atoms.positions, types, np.asarray(many_atoms.cell), True)
        assert results["energy"] == pytest.approx(float(expected[fields.ENERGY].detach()), rel=1e-12)
        np.testing.assert_allclose(results["forces"], expected[fields.FORCES].detach(), atol=1e-10)
        np.testing.assert_allclose(results["virial"], expected[fields.VIRIAL][0].detach(), atol=1e-8)


def test_transfers_between_blocks(tmp_path, many_atoms):
    """Charges, Born charges and forces in a field, where edges carry charge from one block to another."""
    cell = np.asarray(many_atoms.cell)
    results = []
    for graph_memory in (2.0, 0.0):
        long_range = LongRangeSettings(charge_flux=True)
        model, engine, types = engine_of(tmp_path, many_atoms, long_range, graph_memory=graph_memory)
        options = {"field": (0.1, 0.2, -0.3), "born_charges": True}
        results.append(engine.compute(many_atoms.positions, types, cell, True, **options))
    frame = frame_from_atoms(many_atoms, ["O", "H"], 3.0)
    charges = model(frame[fields.TYPES], frame[fields.EDGE_INDEX], edge_vectors_of(frame), len(many_atoms))
    np.testing.assert_allclose(results[0]["latent_charges"], charges[fields.LATENT_CHARGES].detach(), atol=1e-12)
    for name in ("energy", "forces", "virial", "latent_charges", "born_charges", "polarization"):
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=1e-12, atol=1e-10, err_msg=name)

    def energy(h):
        moved = many_atoms.positions.copy()
        moved[5, 1] += h
        return engine.compute(moved, types, cell, True, field=(0.1, 0.2, -0.3))["energy"]

    slope = (energy(1e-3) - energy(-1e-3)) / 2e-3
    # to the accuracy of the mesh
    assert results[0]["forces"][5, 1] == pytest.approx(-slope, abs=1e-3 * np.abs(results[0]["forces"]).max())


def test_negative_memory_is_refused(tmp_path, many_atoms):
    with pytest.raises(LESError, match=r"`graph_memory` must be a number of GB, 0 or more, got -1"):
        engine_of(tmp_path, many_atoms, None, graph_memory=-1.0)
