"""A C++ program that uses the installed header and library, as openmm_plugin/README.md describes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import openmm.version
import pytest
import torch
import vesin
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, energy_of, make_context, waters

import les_md
from les_md.openmm import LESForce

PROGRAM = """
#include "LESForce.h"
#include <cstdio>
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/VerletIntegrator.h"

int main(int, char** arguments) {
    OpenMM::System system;
    for (int i = 0; i < 3; ++i) system.addParticle(1.0);
    auto* force = new LESPlugin::LESForce(arguments[1], {"O", "H", "H"}, /*periodic=*/false);
    system.addForce(force);
    OpenMM::VerletIntegrator integrator(0.001);
    OpenMM::Context context(system, integrator, OpenMM::Platform::getPlatformByName("Reference"));
    context.setPositions({{0.0, 0.0, 0.0}, {0.1, 0.0, 0.0}, {0.0, 0.1, 0.0}});
    std::printf("%.12g %.12g\\n", context.getState(OpenMM::State::Energy).getPotentialEnergy(),
                force->getLatentCharges(context)[0]);
    try {
        LESPlugin::LESForce(arguments[1], {"Xe"});
    } catch (const OpenMM::OpenMMException& error) {
        std::puts(error.what());
    }
}
"""


def test_program_with_the_installed_headers(model_file, tmp_path):
    package = Path(les_md.__file__).parent
    openmm_libraries = Path(openmm.version.openmm_library_path)
    libraries = [
        package / "openmm_plugin" / "libOpenMMLES.so",
        package / "lib" / "libles.so",
        openmm_libraries / "libOpenMM.so",
    ]
    folders = [library.parent for library in libraries]
    folders += [Path(module.__file__).parent / "lib" for module in (torch, vesin)]
    (tmp_path / "program.cpp").write_text(PROGRAM)
    command = ["c++", "-std=c++17", "program.cpp", "-o", "program", *libraries]
    command += [f"-I{package / 'openmm_plugin' / 'include'}", f"-I{package / 'include'}"]
    command += [f"-I{openmm_libraries.parent / 'include'}"]
    command += [f"-Wl,-rpath,{folder}" for folder in folders]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "program", model_file()], capture_output=True, text=True, check=True)
    numbers, refusal = done.stdout.splitlines()
    energy, charge = map(float, numbers.split())

    atoms = waters(False)[:3]
    atoms.positions = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    force = LESForce(model_file(), ["O", "H", "H"], periodic=False)
    context = make_context(atoms, force)
    assert energy / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(energy_of(context), rel=1e-9)
    assert charge == pytest.approx(force.getLatentCharges(context)[0, 0], rel=1e-9)
    assert refusal.startswith("element Xe is not in model file")
