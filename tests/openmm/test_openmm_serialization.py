"""LESForce as XML, as a copy and inside other forces: each goes through the XML proxy."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm_systems import energy_of, evaluate, make_context, waters

from les_md.errors import LESError
from les_md.openmm import LESForce


def make_force(path) -> LESForce:
    force = LESForce(
        path,
        waters(True).get_chemical_symbols()[:23],
        threads=1,
        total_charge=1.0,
        solver="mesh",
        accuracy=3e-7,
        window="b_spline",
        interpolation_nodes=9,
        mesh_spacing=0.0431,
        mesh=(20, 24, 30),
        mesh_dtype="float64",
        freeze_k_set=True,
        deterministic=True,
        graphs="off",
        particles=[*range(3, 20), 40, 2, 1, 0, 22, 23],
    )
    force.setLambdaName("coupling")
    force.setDefaultLambda(0.5)
    force.addEnergyParameterDerivative("coupling")
    force.addEnergyParameterDerivative("LESForceFieldY")
    force.setDefaultElectricField([1.0, -2.5, 1e-7])
    force.addBond(3, 4)
    force.addBond(7, 40)
    force.setName("water model")
    force.setForceGroup(3)
    force.setUsesPeriodicBoundaryConditions(False)
    return force


def long_range_settings(force: LESForce) -> list[object]:
    return [
        force.getSolver(),
        force.getAccuracy(),
        force.getWindow(),
        force.getInterpolationNodes(),
        force.getMeshSpacing(),
        force.getMesh(),
        force.getMeshDtype(),
        force.getFreezeKSet(),
    ]


def derivatives(force: LESForce) -> list[str]:
    return [force.getEnergyParameterDerivativeName(i) for i in range(force.getNumEnergyParameterDerivatives())]


def assert_same(force: LESForce, other: LESForce) -> None:
    assert isinstance(other, LESForce)
    assert other.getName() == force.getName()
    assert other.getForceGroup() == force.getForceGroup()
    assert other.usesPeriodicBoundaryConditions() == force.usesPeriodicBoundaryConditions()
    assert other.getParticleSymbols() == force.getParticleSymbols()
    assert other.getParticles() == force.getParticles()
    assert other.getBonds() == force.getBonds()
    assert other.getLambdaName() == force.getLambdaName()
    assert other.getDefaultLambda() == force.getDefaultLambda()
    assert derivatives(other) == derivatives(force)
    assert list(other.getDefaultElectricField()._value) == list(force.getDefaultElectricField()._value)
    assert other.getEmbedModel() == force.getEmbedModel()
    assert other.getDevice() == force.getDevice()
    assert other.getThreads() == force.getThreads()
    assert other.getTotalCharge() == force.getTotalCharge()
    assert other.getDeterministic() == force.getDeterministic()
    assert other.getGraphs() == force.getGraphs()
    assert long_range_settings(other) == long_range_settings(force)
    assert other.getModelName() == force.getModelName()
    assert other.getMetadata() == force.getMetadata()


def test_xml_keeps_everything(model_file):
    force = make_force(model_file(neutrality=True))
    xml = openmm.XmlSerializer.serialize(force)
    other = openmm.XmlSerializer.deserialize(xml)
    assert_same(force, LESForce.cast(other))
    assert openmm.XmlSerializer.serialize(other) == xml
    assert 'symbols="O H*2 O H*2' in xml
    assert 'particles="3-19 40 2 1 0 22-23"' in xml


@pytest.mark.parametrize("version", [1, 2])
def test_xml_of_older_versions_is_read_with_defaults(model_file, version):
    plain = LESForce(model_file(), ["O", "H", "H"])
    assert long_range_settings(plain) == ["auto", 1e-4, "kaiser_bessel", None, None, None, None, False]
    assert plain.getParticles() is None
    assert plain.getDeterministic() is False
    assert plain.getGraphs() == "auto"
    xml = openmm.XmlSerializer.serialize(plain)
    old = xml.replace('version="3"', f'version="{version}"')
    assert old != xml
    old = re.sub(r' (lambdaName|defaultLambda|defaultField.)="[^"]*"', "", old)
    assert "Lambda" not in old
    if version == 1:
        old = re.sub(r' (solver|accuracy|window|freezeKSet)="[^"]*"', "", old)
        assert "kaiser_bessel" not in old
    assert_same(plain, LESForce.cast(openmm.XmlSerializer.deserialize(old)))


def test_xml_does_not_need_the_model_file(model_file, tmp_path):
    moved = tmp_path / "moved & renamed.les.pt"
    moved.write_bytes(model_file().read_bytes())
    atoms = waters(True)
    force = LESForce(moved, atoms.get_chemical_symbols())
    xml = openmm.XmlSerializer.serialize(force)
    expected = evaluate(make_context(atoms, force))
    moved.unlink()
    got = evaluate(make_context(atoms, openmm.XmlSerializer.deserialize(xml)))
    assert got.energy == expected.energy
    np.testing.assert_array_equal(got.forces, expected.forces)


def test_xml_may_hold_the_path_of_the_model(model_file, tmp_path):
    path = tmp_path / "kept & named.les.pt"
    path.write_bytes(model_file().read_bytes())
    atoms = waters(True)
    force = LESForce(path, atoms.get_chemical_symbols(), embed_model=False)
    xml = openmm.XmlSerializer.serialize(force)
    assert len(xml) < 2000
    assert_same(force, LESForce.cast(openmm.XmlSerializer.deserialize(xml)))
    context = make_context(atoms, force)
    system = copy.deepcopy(context.getSystem())
    again = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    again.setPositions(atoms.positions * 0.1)
    assert energy_of(again) == energy_of(context)

    path.write_bytes(model_file(n_channels=2).read_bytes())
    with pytest.raises(openmm.OpenMMException, match=r"`contentHash` of model file .*named.les.pt must be sha256:"):
        openmm.XmlSerializer.deserialize(xml)
    with pytest.raises(openmm.OpenMMException, match="must be the one the force was made from, got another"):
        openmm.XmlSerializer.serialize(force)
    damaged = bytearray(model_file().read_bytes())
    damaged[len(damaged) // 3] ^= 1  # the record is whole: only the checksum of the bytes can tell
    path.write_bytes(damaged)
    with pytest.raises(openmm.OpenMMException, match=r"`modelChecksum` .* written with another file"):
        openmm.XmlSerializer.deserialize(xml)
    path.unlink()
    with pytest.raises(openmm.OpenMMException, match=r"model file .* cannot be read; check the path"):
        openmm.XmlSerializer.deserialize(xml)


def test_model_of_bytes_has_no_path(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    force = LESForce(model_file().read_bytes(), ["O", "H", "H"], embed_model=False)
    with pytest.raises(openmm.OpenMMException, match="model file bytes cannot be read"):
        openmm.XmlSerializer.serialize(force)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda force: pickle.loads(pickle.dumps(force))])
def test_copies_are_les_forces(model_file, duplicate):
    force = make_force(model_file(neutrality=True))
    assert_same(force, duplicate(force))


def test_copy_of_a_system_and_cast(model_file):
    atoms = waters(True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    context = make_context(atoms, openmm.CMMotionRemover(), force)
    system = copy.deepcopy(context.getSystem())
    assert [LESForce.isinstance(other) for other in system.getForces()] == [False, True]
    other = LESForce.cast(system.getForce(1))
    assert_same(force, other)
    second = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    second.setPositions(atoms.positions * 0.1)
    assert energy_of(second) == energy_of(context)
    np.testing.assert_array_equal(other.getLatentCharges(second), force.getLatentCharges(context))


def test_cast_shares_the_force(model_file):
    force = LESForce(model_file(), ["O", "H", "H"])
    LESForce.cast(force).setDevice("cuda")
    assert force.getDevice() == "cuda"
    kept = LESForce.cast(LESForce(model_file(), ["O", "H", "H"]))
    assert kept.getNumParticles() == 3
    with pytest.raises(LESError, match=r"must be a LESForce, got .*HarmonicBondForce"):
        LESForce.cast(openmm.HarmonicBondForce())
    assert not LESForce.isinstance("LESForce")


def test_inside_a_collective_variable_force(model_file, platform):
    atoms = waters(True)
    symbols = atoms.get_chemical_symbols()
    expected = evaluate(make_context(atoms, LESForce(model_file(), symbols), platform=platform))
    scaled = openmm.CustomCVForce("scale*les")
    scaled.addGlobalParameter("scale", 0.25)
    scaled.addCollectiveVariable("les", LESForce(model_file(), symbols))
    context = make_context(atoms, scaled, platform=platform)
    got = evaluate(context)
    assert got.energy == pytest.approx(0.25 * expected.energy, rel=1e-12)
    np.testing.assert_allclose(got.forces, 0.25 * expected.forces, atol=1e-12)
    inner = scaled.getInnerContext(context)
    charges = LESForce.cast(inner.getSystem().getForce(0)).getLatentCharges(inner)
    plain = LESForce(model_file(), symbols)
    np.testing.assert_allclose(charges, plain.getLatentCharges(make_context(atoms, plain)), rtol=1e-9, atol=1e-12)


def test_model_may_be_given_as_bytes(model_file):
    force = LESForce(model_file().read_bytes(), ["O", "H", "H"])
    assert force.getMetadata() == LESForce(model_file(), ["O", "H", "H"]).getMetadata()


def test_xml_is_read_in_a_new_process(model_file, tmp_path):
    (tmp_path / "force.xml").write_text(openmm.XmlSerializer.serialize(make_force(model_file(neutrality=True))))
    program = (
        "import openmm, les_md.openmm as lo\n"
        "force = lo.LESForce.cast(openmm.XmlSerializer.deserialize(open('force.xml').read()))\n"
        "print(force.getName(), force.getNumParticles())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "water model 23\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda xml: xml.replace('version="6"', 'version="7"'), "the XML has version 7, this les-md reads up to 6"),
        (lambda xml: re.sub(' model="[^"]*"', "", xml), "either `model` or `modelFile`, got none"),
        (lambda xml: xml.replace("<Force ", '<Force modelFile="a" '), "either `model` or `modelFile`, got both"),
        (lambda xml: re.sub(' model="....', ' model="....', xml), "`model` in the XML is not base64"),
        (lambda xml: re.sub(' model="....', ' model="', xml), "`modelChecksum` of the model in the XML must be"),
        (lambda xml: xml.replace('"sha256:', '"sha256:0'), "`contentHash` of the model in the XML must be sha256:0"),
        (lambda xml: xml.replace("O H*2 O", "O H*two O"), "`symbols` must be symbols or symbol.count, got H.two"),
        (lambda xml: xml.replace("O H*2 O", "O Xe*2 O"), "element Xe is not in model file"),
        (lambda xml: xml.replace("3-19", "19-3"), "`particles` must be indices or first-last, got 19-3"),
        (lambda xml: xml.replace("22-23", "22-"), "`particles` must be indices or first-last, got 22-"),
        (lambda xml: xml.replace("22-23", "22-40"), "`particles` must name each particle once, got 40 twice"),
        (lambda xml: xml.replace('p1="7"', 'p1="40"'), "bond must be between two particles .* got 40 and 40"),
        (
            lambda xml: re.sub("<Parameter [^>]*/>", '<Parameter name="x"/>', xml),
            "derivative must be of one of its global parameters, coupling and .*, got x",
        ),
        (lambda xml: xml.replace("20 24 30", "20 24"), "`mesh` must be three whole numbers, got 20 24"),
        (lambda xml: xml.replace("20 24 30", "20 24 30.5"), "`mesh` must be three whole numbers, got 20 24 30.5"),
    ],
    ids=[
        "version",
        "no model",
        "two models",
        "base64",
        "checksum",
        "hash",
        "count",
        "element",
        "reversed range",
        "open range",
        "repeated particle",
        "bond",
        "derivative",
        "mesh",
        "mesh number",
    ],
)
def test_damaged_xml_is_refused(model_file, change, message):
    xml = openmm.XmlSerializer.serialize(make_force(model_file(neutrality=True)))
    changed = change(xml)
    assert changed != xml
    with pytest.raises(openmm.OpenMMException, match=message):
        openmm.XmlSerializer.deserialize(changed)
