"""The scripts of examples/openmm, for a few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from openmm_systems import waters

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "openmm"


def run_example(name: str, model: Path, folder: Path, *arguments: str) -> list[str]:
    """Runs an example on `waters`; returns the lines it printed."""
    ase.io.write(folder / "start.xyz", waters(periodic=True))
    command = [sys.executable, EXAMPLES / name, model, "start.xyz", *arguments]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_water_npt(model_file, tmp_path):
    lines = run_example("water_npt.py", model_file(), tmp_path, "--steps", "100", "--platform", "Reference")
    assert lines[-1].startswith("mean density of the last four fifths: ")
    assert float(lines[-1].split()[-2]) == pytest.approx(0.96, abs=0.1)  # of the start
    radius, g = np.loadtxt(tmp_path / "rdf.csv", delimiter=",", skiprows=1).T
    assert (tmp_path / "rdf.csv").read_text().startswith("r_angstrom,g\n")
    assert radius[-1] == pytest.approx(5.975)
    np.testing.assert_array_equal(g[radius < 0.3], 0.0)
    shells = radius**2 * (radius[1] - radius[0])
    # all other oxygens and images within 6 angstrom: the volume of the sphere but for the hole around the centre
    assert np.sum(g * shells) / np.sum(shells) == pytest.approx(1.0, abs=0.2)
    header, *rows = (tmp_path / "current.csv").read_text().splitlines()
    assert header == "time_ps,Jx,Jy,Jz"
    assert len(rows) == 100


@pytest.mark.parametrize("embedding", ["electrostatic", "mechanical"])
def test_solvated_molecule(model_file, embedding):
    script = EXAMPLES / "solvated_molecule.py"
    options = ["--embedding", embedding, "--steps", "10", "--length", "1.9", "--minimize", "5"]
    run = subprocess.run([sys.executable, script, model_file(), *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    header, *rows = run.stdout.splitlines()
    assert "E_embedding / kJ/mol" in header
    table = np.array([[float(word) for word in row.split()] for row in rows])
    assert table.shape == (11, 6)
    assert np.isfinite(table).all()
    is_embedded = np.abs(table[:, 4]) > 0.1
    assert is_embedded.all() if embedding == "electrostatic" else not is_embedded.any()


def test_water_box(model_file, tmp_path):
    lines = run_example("water_box.py", model_file(), tmp_path, "--steps", "10", "--platform", "Reference")
    assert len(lines) == 12
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(11))
