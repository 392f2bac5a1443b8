"""The CUDA kernels without a GPU: their bodies on the CPU, and what is said where tools are missing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from check_hosts import forces_of_lammps, responses_of_lammps
from networks import write_networks
from reference_cases import CASES, FIELD_CASES, HERE, load_case, write_case_model

from les_md.selftest import make_check
from les_md.utils import cmake_prefix_path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent


def run(*command, **environment):
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def test_bodies_of_the_kernels(tmp_path, monkeypatch):
    for name in CASES + FIELD_CASES:
        for dtype in ("float64", "float32"):
            write_case_model(load_case(name), tmp_path / f"{name}_{dtype}.les.pt", dtype)
    write_networks(tmp_path, sorted(set(load_case("periodic")["symbols"])))
    build = tmp_path / "build"
    commands = (
        [TOOLS / "cmake", "-S", Path(__file__).parent, "-B", build, "-G", "Ninja",
         f"-DCMAKE_MAKE_PROGRAM={TOOLS / 'ninja'}", f"-DCMAKE_PREFIX_PATH={cmake_prefix_path}",
         f"-DCASES_DIR={HERE}", f"-DMODELS_DIR={tmp_path}", f"-DTORCH_DIR={torch.__path__[0]}"],
        [TOOLS / "cmake", "--build", build],
        [TOOLS / "ctest", "--test-dir", build, "--output-on-failure"],
    )  # fmt: skip
    for command in commands:
        result = run(*command)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "100% tests passed" in result.stdout
    check_lammps_on_emulated_gpus(build / "libemulated_gpu.so", tmp_path, monkeypatch)


def check_lammps_on_emulated_gpus(library, folder, monkeypatch):
    """`device cuda` on three ranks, each with an emulated GPU: the mesh is divided by LAMMPS's own MPI, messages and
    responses go through its ghosts."""
    check = make_check(folder)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    forces = forces_of_lammps(folder, check.model, check.atoms, 3)
    np.testing.assert_allclose(forces, check.forces, atol=1e-5 * np.abs(check.forces).max())
    isolated = check.atoms.copy()
    isolated.pbc = False
    isolated.center(vacuum=5.0)
    for name, atoms in (("two_layers", check.atoms), ("two_layers_transfers", isolated)):
        model = folder / f"{name}_float64.les.pt"
        got = responses_of_lammps(folder, model, atoms, 3, "cuda")
        expected = responses_of_lammps(folder, model, atoms, 1, "cpu")
        for quantity, values in expected.items():
            np.testing.assert_allclose(
                got[quantity], values, rtol=0, atol=1e-9 * np.abs(values).max(), err_msg=quantity
            )


def check_refused(result, text):
    assert result.returncode != 0
    assert result.stderr.splitlines() == [text]


def test_check_without_a_gpu():
    result = run("bash", ROOT / "scripts/gpu_check.sh", NVIDIA_SMI="/nowhere/nvidia-smi")
    check_refused(result, "gpu_check: error: no GPU is found (nvidia-smi lists none); run it where there is one")


def test_check_without_a_compiler(tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: any'\n")
    smi.chmod(0o755)
    result = run("bash", ROOT / "scripts/gpu_check.sh", NVIDIA_SMI=str(smi), CUDACXX="/nowhere/nvcc")
    check_refused(
        result, "gpu_check: error: /nowhere/nvcc is not a CUDA compiler; install the CUDA toolkit or set CUDACXX"
    )


def test_parts_of_the_check(tmp_path):
    """Parts by name; one that fails does not stop the next, and both leave a file."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: any'\n")
    smi.chmod(0o755)
    common = {"NVIDIA_SMI": str(smi), "PYTHON": "/nowhere/python", "RESULTS": str(tmp_path / "results")}
    result = run("bash", ROOT / "scripts/gpu_check.sh", "mesh", "sanitize", **common)
    assert result.stderr.startswith("gpu_check: error: there is no part sanitize; parts are compile models mesh step")
    result = run("bash", ROOT / "scripts/gpu_check.sh", "ase", "lammps", **common)
    check_refused(result, f"gpu_check: error: something failed, see {tmp_path / 'results'}")
    lines = (tmp_path / "results" / "summary.txt").read_text().splitlines()
    assert [line.split(" (")[0] for line in lines] == ["ase: FAILED", "lammps: FAILED"]
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "machine.txt", "ase.txt", "lammps.txt", "summary.txt",
    }  # fmt: skip


def test_compiling_needs_the_package():
    result = run("bash", ROOT / "scripts/cuda_compile.sh", PYTHON="/nowhere/python")
    text = "les_md is not installed for `/nowhere/python`; run `make env`, or name another with PYTHON="
    check_refused(result, f"cuda_compile: error: {text}")


def test_programs_include_cuda_runtime_and_cufft_only():
    """The kernels and the solver must build without torch, thrust or cub; torch's own are in files alone."""
    allowed = {"cuda_runtime.h", "cufft.h"}
    of_torch = {
        "current_device.cpp": {"c10/core/impl/VirtualGuardImpl.h"},
        "graph_memory.cpp": {"c10/cuda/CUDACachingAllocator.h", "atomic"},
    }
    standard = {"algorithm", "array", "cmath", "cstddef", "cstdint", "cstdio", "exception", "limits", "memory",
                "optional", "string", "type_traits", "utility", "vector"}  # fmt: skip
    for path in (ROOT / "csrc/cuda").iterdir():
        for line in path.read_text().splitlines():
            if line.startswith("#include <"):
                known = allowed | standard | of_torch.get(path.name, set())
                assert line[len("#include <") :].rstrip(">") in known, f"{path.name}: {line}"
