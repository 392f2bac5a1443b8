"""Mistakes end in one sentence: of the user, and of an environment the plugin was not built for."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import openmm.app
import pytest
from openmm_systems import energy_of, make_context, waters

import les_md
from les_md.errors import LESError
from les_md.openmm import LESForce, check_build


def test_missing_file(tmp_path):
    with pytest.raises(LESError, match=r"model file .*/none\.les\.pt cannot be read"):
        LESForce(tmp_path / "none.les.pt", ["O", "H", "H"])


def test_file_that_is_no_model(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no model")
    with pytest.raises(LESError, match=r"notes\.txt is not a TorchScript archive"):
        LESForce(path, ["O", "H", "H"])


def test_unknown_element(model_file):
    with pytest.raises(LESError, match=r"element Xe is not in model file .* which knows H O"):
        LESForce(model_file(), ["O", "Xe", "H"])


def edited(model: Path, path: Path, edit: Callable[[str, bytes], bytes]) -> Path:
    """A copy of an exported file with the entries of its archive changed."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, edit(name.split("/", 1)[1], source.read(name)))
    return path


def test_model_of_a_newer_torch(model_file, tmp_path):
    newer = edited(model_file(), tmp_path / "newer.les.pt", lambda name, data: b"99\n" if name == "version" else data)
    with pytest.raises(LESError, match=r"model file .*newer\.les\.pt was made with a newer torch than the one in use"):
        LESForce(newer, ["O", "H", "H"])


def test_model_with_operators_of_another_torch(model_file, tmp_path):
    other = edited(
        model_file(),
        tmp_path / "other.les.pt",
        lambda name, data: data.replace(b"torch.index_select", b"torch.index_gather"),
    )
    force = LESForce(other, waters(True).get_chemical_symbols())
    message = (
        r"^model file .*other\.les\.pt, made with torch 2\.13\.\S+, cannot be loaded on cpu by torch 2\.13\.\S+; "
        r"make it again with this torch by `les-export model\.pt` \(Unknown builtin op: aten::index_gather\.\)$"
    )
    with pytest.raises(openmm.OpenMMException, match=message):
        make_context(waters(True), force)


@pytest.mark.parametrize("length", [1.5, 2.5, 4.0])
def test_no_box_is_too_small(model_file, platform, length):
    """Smaller than the cutoff, and than a molecule: the energy per molecule is that of the repeated box."""
    atoms = waters(True)[:3]
    atoms.set_cell(np.diag([length, 6.0, 7.0]))
    energies = []
    for repeats in (1, 3):
        repeated = atoms * (repeats, 1, 1)
        force = LESForce(model_file(), repeated.get_chemical_symbols(), solver="direct")
        energies.append(energy_of(make_context(repeated, force, platform=platform)) / repeats)
    assert energies[0] == pytest.approx(energies[1], rel=1e-9)


@pytest.mark.parametrize("symbols", ["OHH", [], [8, 1, 1], None])
def test_symbols_of_the_wrong_kind(model_file, symbols):
    with pytest.raises(LESError, match="`symbols_or_topology` must be a list of chemical symbols or"):
        LESForce(model_file(), symbols)


def test_particle_without_element(model_file):
    topology = openmm.app.Topology()
    residue = topology.addResidue("HOH", topology.addChain(), "7")
    topology.addAtom("O", openmm.app.element.oxygen, residue)
    topology.addAtom("M", None, residue)
    with pytest.raises(LESError, match=r"particle 1 \(M of residue HOH 7\) has no element; leave .* with `particles`"):
        LESForce(model_file(), topology)


def test_wrong_number_of_symbols(model_file):
    message = r"number of symbols must equal the number of particles of the System \(24\), got 3 symbols"
    with pytest.raises(openmm.OpenMMException, match=message):
        make_context(waters(True), LESForce(model_file(), ["O", "H", "H"]))


def test_total_charge_of_a_model_that_does_not_neutralize(model_file):
    force = LESForce(model_file(), waters(True).get_chemical_symbols(), total_charge=1.0)
    with pytest.raises(openmm.OpenMMException, match="total_charge needs a model trained with `neutrality: true`"):
        make_context(waters(True), force)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "`device` must be cpu, cuda or cuda:N, got tpu"),
        ({"threads": 0}, "`threads` must be at least 1, got 0"),
    ],
)
def test_unusable_option(model_file, options, message):
    force = LESForce(model_file(), waters(True).get_chemical_symbols(), **options)
    with pytest.raises(openmm.OpenMMException, match=message):
        make_context(waters(True), force)


def test_positions_that_are_not_finite(model_file, platform):
    atoms = waters(True)
    context = make_context(atoms, LESForce(model_file(), atoms.get_chemical_symbols()), platform=platform)
    expected = energy_of(context)
    positions = atoms.positions.copy()
    positions[4, 1] = np.nan
    context.setPositions(positions * 0.1)
    for _ in range(2):
        with pytest.raises(openmm.OpenMMException, match=r"`positions` must be finite, atom 4|coordinate is NaN"):
            energy_of(context)
    context.setPositions(atoms.positions * 0.1)
    assert energy_of(context) == pytest.approx(expected, rel=1e-12)


def test_context_without_the_force(model_file):
    force = LESForce(model_file(), waters(True).get_chemical_symbols())
    with pytest.raises(LESError, match="not present in the Context"):
        force.getLatentCharges(make_context(waters(True), openmm.CMMotionRemover()))
    with pytest.raises(LESError, match=r"`context` must be an openmm\.Context"):
        force.getLatentCharges(None)


BUILD = SimpleNamespace(built_with_openmm="8.6.1", built_with_torch="2.13.0", version="0.1.0")


def test_versions_of_the_build_are_accepted():
    check_build(BUILD, "8.6.4", "2.13.1+cu130")


@pytest.mark.parametrize(
    ("openmm_version", "torch_version", "message"),
    [
        ("8.5.2", "2.13.0", r"built with openmm 8\.6\.1, but openmm 8\.5\.2 is installed"),
        ("8.6.1", "2.12.1+cpu", r"built with torch 2\.13\.0, but torch 2\.12\.1\+cpu is installed"),
    ],
)
def test_other_versions_are_refused(openmm_version, torch_version, message):
    with pytest.raises(LESError, match=message):
        check_build(BUILD, openmm_version, torch_version)


def test_build_without_openmm_is_refused():
    build = SimpleNamespace(built_with_openmm="", built_with_torch="2.13.0")
    with pytest.raises(LESError, match="built without OpenMM; run `pip install 'openmm"):
        check_build(build, "8.6.1", "2.13.0")


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_nothing_is_loaded_with_other_versions(tmp_path):
    program = (
        "import sys, types\n"
        "build = sys.modules['les_md._build_info'] = types.ModuleType('les_md._build_info')\n"
        "build.built_with_openmm, build.built_with_torch = '8.5.2', '2.13.0'\n"
        "try:\n    import les_md.openmm\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "print('libOpenMMLES' in open('/proc/self/maps').read())"
    )
    done = run(program, tmp_path)
    assert done.stdout.startswith("LESError les-md was built with openmm 8.5.2, but openmm 8.6."), done.stderr
    assert done.stdout.endswith("\nFalse\n")


def test_plugin_refuses_another_openmm(tmp_path):
    """The library's own check, for programs without les_md.openmm: OpenMM says here that it is 8.7.0."""
    (tmp_path / "openmm_version.cpp").write_text(
        "#include <string>\n"
        "namespace OpenMM { struct Platform { static const std::string& getOpenMMVersion(); };\n"
        'const std::string& Platform::getOpenMMVersion() { static const std::string v("8.7.0"); return v; } }\n'
    )
    fake = tmp_path / "libversion.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", fake, tmp_path / "openmm_version.cpp"], check=True)
    plugin = Path(les_md.__file__).parent / "openmm_plugin" / "libOpenMMLES.so"
    program = (
        "import openmm\n"
        f"try:\n    openmm.Platform.loadPluginLibrary({str(plugin)!r})\n"
        "except openmm.OpenMMException as error:\n    print(error)\n"
        'try:\n    openmm.XmlSerializer.deserialize(\'<Force type="LESForce" version="1"/>\')\n'
        "except openmm.OpenMMException as error:\n    print(error)\n"
    )
    done = run(program, tmp_path, LD_PRELOAD=str(fake))
    first, second = done.stdout.splitlines()
    assert first.startswith("les-md was built with OpenMM 8.6.")
    assert "found OpenMM 8.7.0: reinstall les-md" in first
    assert "LESForce" in second, done.stderr
