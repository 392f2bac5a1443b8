"""Platforms with a kernel of their own for LESForce: when it is used, and what it is asked for.

The kernel of the CUDA platform needs a GPU, so a stand-in for the Reference platform takes its place. What the kernels
on the device compute is tested in tests/cuda.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import openmm
import pytest

import les_md
from les_md.openmm.plugin import load_cuda_kernels

HERE = Path(__file__).resolve().parent
CMAKE_LISTS = f"""
cmake_minimum_required(VERSION 3.24)
project(device_kernel LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(les_openmm 0.1 REQUIRED)
add_library(device_kernel SHARED {HERE / "device_kernel.cpp"})
target_include_directories(device_kernel PRIVATE {HERE.parents[1] / "openmm_plugin" / "openmmapi" / "include"})
target_link_libraries(device_kernel PRIVATE les::openmm)
"""


@pytest.fixture(scope="module")
def answers(model_file, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("device_kernel")
    (folder / "CMakeLists.txt").write_text(CMAKE_LISTS)
    tools = Path(sys.executable).parent
    commands = [
        [tools / "cmake", "-S", ".", "-B", "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
         f"-DCMAKE_PREFIX_PATH={Path(les_md.__file__).parent}",
         f"-DOPENMM_DIR={Path(openmm.version.openmm_library_path).parent}"],
        [tools / "cmake", "--build", "build"],
        [sys.executable, HERE / "check_device_route.py", folder / "build" / "libdevice_kernel.so", model_file()],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_kernel_gets_particles_lambda_and_groups(answers):
    assert answers["forces of the kernel"] == "True"
    assert answers["other groups"] == "True"
    assert answers["host"] == "True"  # device "cpu" has nothing to do with it


def test_results_of_the_kernel(answers):
    assert answers["charges"] == "[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]"  # types of O, H, H
    assert float(answers["energy"]) == pytest.approx(2.0 * 96.48533212331)
    assert answers["description"] == "stand-in, graphs on"


def test_kernel_gets_field_velocities_and_external_charges(answers):
    assert answers["field"] == "[1.0, 0.5, 0.5]"  # lambda*(1 + field)
    assert float(answers["field energy"]) == pytest.approx(96.48533212331)
    assert answers["current"] == "[0.6, -1.2, 1.8]"  # the sum of velocities, here, of the six atoms
    assert answers["born"] == "True"
    assert answers["polarization"] == "[0.1 0.2 0.3]"
    assert answers["embedding"] == "[0.1, 0.0, -0.3, 1.0]"
    assert answers["field derivative"] == "True"


def test_what_the_device_has_not(answers):
    refused = 'the time of stages is not available with `device` "cuda" on the CUDA platform; use `device` "cpu"'
    assert answers["times"] == f"LESForce: {refused}"


def test_lambda_that_is_no_number(answers):
    assert "LESForceLambda must be a finite number" in answers["lambda"]


def test_by_way_of_the_host(answers):
    """Without the kernel the engine of the host is asked for device "cuda", which this build does not have."""
    assert "cuda" in answers["without kernel"].lower()
    assert "use device cpu" in answers["without kernel"]


def library(platforms: list[str], error: str | None = None) -> tuple[SimpleNamespace, list[str]]:
    """As much of openmm as loading needs, and what was loaded."""
    loaded: list[str] = []

    def load(path: str) -> None:
        if error:
            raise openmm.OpenMMException(error)
        loaded.append(path)

    platform = SimpleNamespace(
        getNumPlatforms=lambda: len(platforms),
        getPlatform=lambda i: SimpleNamespace(getName=lambda: platforms[i]),
        loadPluginLibrary=load,
    )
    return SimpleNamespace(Platform=platform, OpenMMException=openmm.OpenMMException), loaded


def test_kernels_are_loaded_for_the_platform(tmp_path):
    path = tmp_path / "libOpenMMLESCUDA.so"
    fake, loaded = library(["Reference", "CUDA"])
    load_cuda_kernels(fake, path)  # a build without CUDA
    path.touch()
    load_cuda_kernels(fake, path)
    assert loaded == [str(path)]
    fake, loaded = library(["Reference", "CPU"])
    load_cuda_kernels(fake, path)
    assert loaded == []


def test_kernels_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "libOpenMMLESCUDA.so"
    path.touch()
    fake, _ = library(["CUDA"], "no libcufft")
    with pytest.warns(
        UserWarning, match="goes by way of the host on the CUDA platform, .* cannot be loaded: no libcuf"
    ):
        load_cuda_kernels(fake, path)
