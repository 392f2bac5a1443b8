"""Where the installed files are, for other build systems."""

from __future__ import annotations

from pathlib import Path

#: Folder for CMAKE_PREFIX_PATH of a project that calls `find_package(les)`.
cmake_prefix_path = str(Path(__file__).resolve().parent)

#: Folder of the C++ headers.
include_directory = str(Path(__file__).resolve().parent / "include")
