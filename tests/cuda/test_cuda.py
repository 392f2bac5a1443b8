"""The CUDA kernels without a GPU: their bodies on the CPU, and what is said where tools are missing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from check_hosts import forces_of_lammps
from reference_cases import CASES, FIELD_CASES, HERE, load_case, write_case_model

from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.selftest import make_check
from les_md.settings import LongRangeSettings, ModelSettings
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


def write_networks(folder, symbols):
    """Models with the network of this package, random weights: of one and two layers, and with charge transfers."""
    for name, n_layers, long_range in (
        ("one_layer", 1, LongRangeSettings(neutrality=True)),
        ("two_layers", 2, LongRangeSettings(n_channels=2)),
        ("transfers", 1, LongRangeSettings(charge_flux=True)),
        ("short_range", 1, None),
    ):
        for dtype in ("float64", "float32"):
            settings = ModelSettings(
                symbols=symbols, cutoff=4.0, n_radial=4, l_max=2, body_order=3, channels=4, hidden=[8],
                n_layers=n_layers, dtype=dtype, long_range=long_range,
            )  # fmt: skip
            torch.manual_seed(3)
            write_model_file(LESModel(settings).eval(), folder / f"{name}_{dtype}.les.pt", {}, None, None)


def test_bodies_of_the_kernels(tmp_path, monkeypatch):
    for name in CASES + FIELD_CASES:
        for dtype in ("float64", "float32"):
            write_case_model(load_case(name), tmp_path / f"{name}_{dtype}.les.pt", dtype)
    write_networks(tmp_path, sorted(set(load_case("periodic")["symbols"])))
    build = tmp_path / "build"
    commands = (
        [TOOLS / "cmake", "-S", Path(__file__).parent, "-B", build, "-G", "Ninja",
         f"-DCMAKE_MAKE_PROGRAM={TOOLS / 'ninja'}", f"-DCMAKE_PREFIX_PATH={cmake_prefix_path}",
         f"-DCASES_DIR={HERE}", f"-DMODELS_DIR={tmp_path}"],
        [TOOLS / "cmake", "--build", build],
        [TOOLS / "ctest", "--test-dir", build, "--output-on-failure"],
    )  # fmt: skip
    for command in commands:
        result = run(*command)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "100% tests passed" in result.stdout
    check_lammps_on_emulated_gpus(build / "libemulated_gpu.so", tmp_path, monkeypatch)


def check_lammps_on_emulated_gpus(library, folder, monkeypatch):
    """`device cuda` on three ranks, each with an emulated GPU: the mesh is divided by LAMMPS's own MPI."""
    check = make_check(folder)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    forces = forces_of_lammps(folder, check.model, check.atoms, 3)
    np.testing.assert_allclose(forces, check.forces, atol=1e-5 * np.abs(check.forces).max())


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


def test_compiling_needs_the_package():
    result = run("bash", ROOT / "scripts/cuda_compile.sh", PYTHON="/nowhere/python")
    text = "les_md is not installed for `/nowhere/python`; run `make env`, or name another with PYTHON="
    check_refused(result, f"cuda_compile: error: {text}")


def test_programs_include_cuda_runtime_and_cufft_only():
    """The kernels and the solver must build without torch, thrust or cub."""
    allowed = {"cuda_runtime.h", "cufft.h"}
    standard = {"algorithm", "array", "cmath", "cstddef", "cstdint", "cstdio", "limits", "memory", "optional", "string",
                "utility", "vector"}  # fmt: skip
    for path in (ROOT / "csrc/cuda").iterdir():
        for line in path.read_text().splitlines():
            if line.startswith("#include <"):
                assert line[len("#include <") :].rstrip(">") in allowed | standard, f"{path.name}: {line}"
