"""The build without a host: its plugin is left out with one line that says what to install."""

import subprocess
import sys
from pathlib import Path

TOOLS = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]

# What the build asks about packages, answered as in an environment without hosts
WITHOUT_HOSTS = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name in ("lammps", "openmm") else find_spec(name, *more)
"""


def test_absent_hosts_are_skipped_with_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_HOSTS)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = [TOOLS / "cmake", "-S", ROOT, "-B", tmp_path / "build", "-G", "Ninja"]
    command += [f"-DCMAKE_MAKE_PROGRAM={TOOLS / 'ninja'}", f"-DPython_EXECUTABLE={python}"]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if "les-md:" in line and "skipped" in line]
    assert lines == [
        "-- les-md: LAMMPS plugin skipped: pip install 'lammps[mpi]==2025.7.22.4.0'",
        "-- les-md: OpenMM plugin skipped: pip install 'openmm>=8.6,<8.7'",
    ]
    assert 'built_with_lammps = ""' in (tmp_path / "build" / "_build_info.py").read_text()
