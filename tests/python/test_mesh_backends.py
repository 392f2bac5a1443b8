"""The mesh on lesser processors and without MKL: every instruction set and transform library gives the same numbers."""

import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import numpy as np
from charged_systems import TRICLINIC, random_charges
from les_md import MeshSolver
charges, positions = random_charges(TRICLINIC, channels=2)
values = []
for nodes in (4, 7, 8, 11, 16):
    for dtype in ("float64", "float32"):
        solver = MeshSolver(interpolation_nodes=nodes, mesh_spacing=0.6, accuracy=1e-2, dtype=dtype)
        result = solver.compute(charges, positions, TRICLINIC)
        values += [result.energy, *result.forces.ravel(), *result.potentials.ravel(), *result.virial.ravel()]
np.save(OUTPUT, np.array(values))
"""


def run(output, **environment):
    program = f"OUTPUT = {str(output)!r}\n{PROGRAM}"
    folder = os.path.dirname(__file__)
    paths = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    output = tmp_path_factory.mktemp("backends") / "default.npy"
    finished = run(output)
    assert finished.returncode == 0, finished.stderr
    return np.load(output)


def processor_has(instruction_set):
    with open("/proc/cpuinfo") as file:
        flags = file.read()
    return {"avx2": "avx2", "avx512": "avx512dq"}.get(instruction_set, "") in flags


@pytest.mark.parametrize(
    "environment", [{"LES_SIMD": "baseline"}, {"LES_SIMD": "avx2"}, {"LES_FFT": "torch"}], ids=lambda e: str(e)
)
def test_same_numbers(environment, expected, tmp_path):
    output = tmp_path / "values.npy"
    finished = run(output, **environment)
    if not processor_has(environment.get("LES_SIMD")):
        assert "which this processor does not have" in finished.stderr
        return
    assert finished.returncode == 0, finished.stderr
    values = np.load(output).reshape(5, 2, -1)
    reference = expected.reshape(5, 2, -1)
    assert np.allclose(values[:, 0], reference[:, 0], rtol=1e-10, atol=1e-11)
    assert np.allclose(values[:, 1], reference[:, 1], rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"LES_SIMD": "mmx"}, "LES_SIMD must be baseline, avx2 or avx512, got mmx"),
        ({"LES_FFT": "kiss"}, "LES_FFT must be mkl or torch, got kiss"),
    ],
)
def test_unknown_choices_are_refused(environment, text, tmp_path):
    finished = run(tmp_path / "values.npy", **environment)
    assert finished.returncode != 0
    assert text in finished.stderr
