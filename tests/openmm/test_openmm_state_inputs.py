"""Total charge and spin multiplicity of LESForce, of its XML and of openmm-ml, for models that take them as inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm_systems import evaluate, make_context, waters
from openmmml import MLPotential
from test_openmm_ml import topology_of

from les_md.batch import frame_from_atoms
from les_md.export import write_model_file
from les_md.forces import evaluate as evaluate_model
from les_md.model import LESModel
from les_md.openmm import LESForce
from les_md.settings import ModelSettings


@pytest.fixture(scope="module")
def model() -> LESModel:
    torch.manual_seed(3)
    sizes = {"cutoff": 4.0, "n_radial": 4, "l_max": 2, "body_order": 3, "channels": 4, "hidden": [8]}
    inputs = {"charge_embedding": True, "spin_embedding": True}
    model = LESModel(ModelSettings(symbols=["H", "O"], dtype="float64", **sizes, **inputs))
    with torch.no_grad():
        model.energy_head.output.weight.fill_(0.5)
    return model


@pytest.fixture(scope="module")
def path(model: LESModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.les.pt"
    write_model_file(model, path, {}, None, None)
    return path


def assert_as_in_python(model: LESModel, context: openmm.Context, state: tuple[float, float]) -> None:
    frame = frame_from_atoms(waters(True), ["H", "O"], 4.0, *state)
    expected, got = evaluate_model(model, frame), evaluate(context)
    assert got.energy == pytest.approx(float(expected["energy"].detach()), rel=1e-9)
    np.testing.assert_allclose(got.forces, expected["forces"].detach(), atol=1e-6)


def test_settings_reach_the_model_and_survive_xml(model, path):
    atoms = waters(True)
    force = LESForce(path, atoms.get_chemical_symbols(), total_charge=-1.0, spin=2.0, solver="direct")
    assert (force.getTotalCharge(), force.getSpin()) == (-1.0, 2.0)
    xml = openmm.XmlSerializer.serialize(force)
    assert 'version="4"' in xml
    copy = LESForce.cast(openmm.XmlSerializer.deserialize(xml))
    assert (copy.getTotalCharge(), copy.getSpin()) == (-1.0, 2.0)
    context = make_context(atoms, copy)
    assert_as_in_python(model, context, (-1.0, 2.0))
    force.setTotalCharge(2.0)
    force.setSpin(None)
    # readers of earlier versions know all of this
    assert 'version="3"' in openmm.XmlSerializer.serialize(force)
    assert force.getSpin() is None


def test_openmm_ml(model, path):
    atoms = waters(True)
    potential = MLPotential("les", model=str(path), total_charge=-1.0, solver="direct")
    system = potential.createSystem(topology_of(atoms), spin=3.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(atoms.positions * 0.1)
    assert_as_in_python(model, context, (-1.0, 3.0))


def test_what_was_not_given_is_said_once(path, capfd):
    atoms = waters(True)
    context = make_context(atoms, LESForce(path, atoms.get_chemical_symbols(), solver="direct"))
    for _ in range(2):
        context.setPositions(context.getState(getPositions=True).getPositions())
        evaluate(context)
    text = "takes total_charge and spin as input, which was not given: a total charge of 0 and a multiplicity of 1"
    assert capfd.readouterr().err.count(text) == 1


def test_wrong_spins(path, model_file):
    atoms = waters(True)
    with pytest.raises(openmm.OpenMMException, match=r"spin must be a multiplicity 2S \+ 1, at least 1, got 0"):
        make_context(atoms, LESForce(path, atoms.get_chemical_symbols(), spin=0.0))
    with pytest.raises(openmm.OpenMMException, match="spin needs a model trained with `spin_embedding: true`"):
        make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols(), spin=2.0))
