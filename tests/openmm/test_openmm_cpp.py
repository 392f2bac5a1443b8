"""A C++ program that finds header and library with CMake, as openmm_plugin/README.md describes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import openmm.version
import pytest
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, energy_of, make_context, waters

import les_md
from les_md.openmm import LESForce

TOOLS = Path(sys.executable).parent
PROGRAM = """
#include "LESForce.h"
#include <cstdio>
#include <string>
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/VerletIntegrator.h"

// A platform without kernels
class Bare : public OpenMM::Platform {
public:
    const std::string& getName() const override { static const std::string name = "Bare"; return name; }
    double getSpeed() const override { return 0.0; }
    bool supportsDoublePrecision() const override { return true; }
};

template <class Action>
void printError(Action action) {
    try {
        action();
    } catch (const OpenMM::OpenMMException& error) {
        std::puts(error.what());
    }
}

int main(int, char** arguments) {
    OpenMM::System system;
    for (int i = 0; i < 4; ++i) system.addParticle(1.0);
    auto* force = new LESPlugin::LESForce(arguments[1], {"O", "H", "H"}, /*periodic=*/false);
    force->setParticles({0, 2, 3});
    force->setDefaultLambda(0.5);
    system.addForce(force);
    OpenMM::VerletIntegrator integrator(0.001);
    OpenMM::Context context(system, integrator, OpenMM::Platform::getPlatformByName("Reference"));
    context.setPositions({{0.0, 0.0, 0.0}, {0.5, 0.5, 0.5}, {0.1, 0.0, 0.0}, {0.0, 0.1, 0.0}});
    std::printf("%.12g %.12g\\n", context.getState(OpenMM::State::Energy).getPotentialEnergy(),
                force->getLatentCharges(context)[0]);
    printError([&] { LESPlugin::LESForce(arguments[1], {"Xe"}); });
    printError([&] { LESPlugin::LESForce("none.les.pt", {"O"}); });
    printError([&] { force->setParticles({1, 1}); });
    printError([&] {
        Bare bare;
        OpenMM::VerletIntegrator another(0.001);
        OpenMM::Context(system, another, bare);
    });
}
"""
CMAKE_LISTS = """
cmake_minimum_required(VERSION 3.24)
project(program LANGUAGES CXX)
find_package(les_openmm 0.1 REQUIRED)
add_executable(program program.cpp)
target_link_libraries(program PRIVATE les::openmm)
"""


def configure(folder: Path, openmm_folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs CMake for the program in `folder`."""
    (folder / "program.cpp").write_text(PROGRAM)
    (folder / "CMakeLists.txt").write_text(CMAKE_LISTS)
    command = [TOOLS / "cmake", "-S", ".", "-B", "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={TOOLS / 'ninja'}"]
    command += [f"-DCMAKE_PREFIX_PATH={Path(les_md.__file__).parent}", f"-DOPENMM_DIR={openmm_folder}"]
    return subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)


def test_program_with_the_installed_package(model_file, tmp_path):
    configured = configure(tmp_path, Path(openmm.version.openmm_library_path).parent)
    assert configured.returncode == 0, configured.stderr
    subprocess.run([TOOLS / "cmake", "--build", "build"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([tmp_path / "build" / "program", model_file()], capture_output=True, text=True, check=True)
    numbers, *refusals = done.stdout.splitlines()
    energy, charge = map(float, numbers.split())

    atoms = waters(False)[:3]
    atoms.positions = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    force = LESForce(model_file(), ["O", "H", "H"], periodic=False)
    context = make_context(atoms, force)
    assert energy / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(0.5 * energy_of(context), rel=1e-9)
    assert charge == pytest.approx(force.getLatentCharges(context)[0, 0], rel=1e-9)
    assert refusals[0].startswith("element Xe is not in model file")
    assert refusals[1] == "model file none.les.pt cannot be read; check the path"
    assert refusals[2] == "LESForce: `particles` must name each particle once, got 1 twice"
    assert "does not support all required kernels" in refusals[3]


def test_openmm_that_is_not_there(tmp_path):
    configured = configure(tmp_path, tmp_path)
    assert configured.returncode != 0
    assert "name the folder of OpenMM 8.6" in " ".join(configured.stderr.split())
