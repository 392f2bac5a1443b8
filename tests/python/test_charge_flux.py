"""Charges as transfers: conservation, exact polarization and its derivatives, the start of a training, errors."""

import ase.build
import numpy as np
import pytest
import torch
from structures import random_atoms, random_model

from les_md import fields
from les_md.batch import frame_from_atoms
from les_md.born_charges import born_effective_charges
from les_md.engine import Engine
from les_md.errors import LESError
from les_md.export import write_model_file
from les_md.forces import evaluate
from les_md.model import LESModel
from les_md.network import ElementCharges
from les_md.settings import LongRangeSettings, ModelSettings

FLUX = LongRangeSettings(charge_flux=True)


def flux_model(atoms, **settings):
    """A model with transfers, neutral in the composition of `atoms`."""
    model = random_model(atoms=atoms, long_range=settings.pop("long_range", FLUX), eps_inf=1.5, **settings)
    counts = [[float((atoms.numbers == number).sum()) for number in (8, 1)]]
    model.element_charges.constrain(torch.tensor(counts), torch.zeros(1))
    with torch.no_grad():
        model.element_charges.free.normal_()
    return model


def frame_of(atoms, model):
    return frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff)


def polarization(model, frame):
    return evaluate(model, frame, polarization=True)[fields.POLARIZATION][0]


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_total_charge_is_that_of_the_elements(water_like, n_layers, n_channels):
    settings = LongRangeSettings(charge_flux=True, n_channels=n_channels)
    model = flux_model(water_like, long_range=settings, n_layers=n_layers)
    charges = evaluate(model, frame_of(water_like, model))[fields.LATENT_CHARGES]
    assert charges.abs().max() > 0.1
    # exactly, in the first channel by the constraint and in others because their constants belong to the same elements
    assert charges.sum(0).abs().max() < 1e-12


def test_acoustic_sum_rule_holds_to_rounding(water_like):
    model = flux_model(water_like)
    born = born_effective_charges(model, frame_of(water_like, model))
    assert born.abs().max() > 0.1
    assert born.sum(0).abs().max() < 1e-12


def test_polarization_changes_by_whole_quanta_with_the_image(water_like):
    """Moving one atom by a lattice vector leaves energy and charges, and changes P by its constant charge times it."""
    model = flux_model(water_like)
    moved = water_like.copy()
    moved.positions[0] += water_like.cell[1]
    frames = [frame_of(atoms, model) for atoms in (water_like, moved)]
    results = [evaluate(model, frame) for frame in frames]
    torch.testing.assert_close(results[0][fields.ENERGY], results[1][fields.ENERGY], rtol=1e-12, atol=0)
    difference = polarization(model, frames[1]) - polarization(model, frames[0])
    constant = float(model.element_charges().detach()[0, 0]) * np.sqrt(1.5)
    np.testing.assert_allclose(difference.detach(), constant * water_like.cell[1], atol=1e-10)


@pytest.mark.parametrize("periodic", [True, False])
def test_engine_as_python(tmp_path, periodic):
    atoms = random_atoms(periodic=periodic, tilt=1.0 if periodic else 0.0)
    model = flux_model(atoms)
    frame = frame_of(atoms, model)
    write_model_file(model, tmp_path / "m.les.pt", {}, None, None)
    engine = Engine(tmp_path / "m.les.pt", solver="direct")
    types = engine.types_of(atoms.get_chemical_symbols())
    field = np.array([0.2, -0.1, 0.3])
    results = engine.compute(
        atoms.positions, types, np.asarray(atoms.cell), periodic, field=field, born_charges=True
    )  # fmt: skip
    expected = evaluate(model, frame)
    born = born_effective_charges(model, frame).numpy()
    moment = polarization(model, frame).detach().numpy()
    np.testing.assert_allclose(results["latent_charges"], expected[fields.LATENT_CHARGES].detach(), atol=1e-12)
    np.testing.assert_allclose(results["born_charges"], born, atol=1e-10)
    np.testing.assert_allclose(results["polarization"], moment, atol=1e-10)
    np.testing.assert_allclose(results["energy"], float(expected[fields.ENERGY].detach()) - field @ moment, rtol=1e-12)
    forces = expected[fields.FORCES].detach().numpy() + np.einsum("a,iab->ib", field, born)
    np.testing.assert_allclose(results["forces"], forces, atol=1e-9)


def test_forces_and_virial_in_a_field_by_finite_differences(tmp_path):
    atoms = random_atoms(tilt=1.0)
    model = flux_model(atoms)
    write_model_file(model, tmp_path / "m.les.pt", {}, None, None)
    engine = Engine(tmp_path / "m.les.pt", solver="direct", skin=0.0)
    types = engine.types_of(atoms.get_chemical_symbols())
    field = [0.2, -0.1, 0.3]

    def enthalpy(positions, cell):
        return engine.compute(positions, types, cell, True, field=field)["energy"]

    cell, h = np.asarray(atoms.cell), 3e-5
    results = engine.compute(atoms.positions, types, cell, True, field=field)
    for i, axis in ((0, 0), (3, 1), (7, 2)):
        step = np.zeros_like(atoms.positions)
        step[i, axis] = h
        slope = (enthalpy(atoms.positions + step, cell) - enthalpy(atoms.positions - step, cell)) / (2 * h)
        assert results["forces"][i, axis] == pytest.approx(-slope, abs=1e-6)
    for a, b in ((0, 0), (1, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * h
        strain[b, a] += 0.5 * h
        plus, minus = np.eye(3) + strain, np.eye(3) - strain
        slope = (enthalpy(atoms.positions @ plus, cell @ plus) - enthalpy(atoms.positions @ minus, cell @ minus)) / (
            2 * h
        )
        assert results["virial"][a, b] == pytest.approx(-slope, abs=1e-5)


def test_constants_leave_the_freedom_of_the_total_charges():
    charges = ElementCharges(3, 2)
    # NaCl pairs and lone Na+ ions: the total charges decide all of Na and Cl, and nothing is known of the third element
    charges.constrain(torch.tensor([[4.0, 4.0, 0.0], [1.0, 0.0, 0.0]]), torch.tensor([0.0, 1.0]))
    with torch.no_grad():
        charges.free.normal_()
    values = charges().detach()
    torch.testing.assert_close(values[:2, 0], torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(values[:2, 1], torch.zeros(2))
    assert values[2].abs().min() > 1e-3


def test_contradicting_total_charges_are_refused():
    charges = ElementCharges(2, 1)
    with pytest.raises(LESError, match=r"frame 0 has 0 e and would get 0.5 e; use `neutrality: true` instead"):
        charges.constrain(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0.0, 1.0]))


def test_neutrality_is_another_way():
    with pytest.raises(ValueError, match="`charge_flux` keeps the total charge by itself; set `neutrality` to false"):
        LongRangeSettings(charge_flux=True, neutrality=True)


def test_a_step_moves_charges_about_as_far_as_without_transfers():
    """All radial functions of all neighbours move at once: with large steps the charges of the initial fit are lost."""
    water = ase.build.molecule("H2O", cell=[3.1] * 3, pbc=True).repeat(2)
    settings = ModelSettings(symbols=["O", "H"], cutoff=4.5, l_max=1, body_order=2, channels=4, dtype="float64")
    change = {}
    for flux in (True, False):
        model = LESModel(settings.model_copy(update={"long_range": LongRangeSettings(charge_flux=flux)}))
        frame, step = frame_of(water, model), 0.01
        before = evaluate(model, frame)[fields.LATENT_CHARGES]
        with torch.no_grad():
            if flux:  # from hydrogen to oxygen
                constant = model.charge_transfers.coefficients.constant.view(2, 2, -1)
                constant[0, 1] += step
                constant[1, 0] -= step
            else:
                model.charge_head.constant[0] += step
        after = evaluate(model, frame)[fields.LATENT_CHARGES]
        change[flux] = (after - before)[frame[fields.TYPES] == 0].mean().item()
    assert 0.2 * change[False] < change[True] < 5 * change[False]
