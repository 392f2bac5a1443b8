"""Fixtures of the LAMMPS tests; what they are is in lammps_runs.py."""

from lammps_runs import lammps, model_file, models, plugin_folder, structures

__all__ = ["lammps", "model_file", "models", "plugin_folder", "structures"]
