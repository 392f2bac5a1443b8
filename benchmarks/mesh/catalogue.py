"""Names of the measured solvers on the command line; apart from them, so that it imports nothing that is optional."""

from __future__ import annotations

import numpy as np
from measured_solver import MeasuredSolver
from own_solvers import LesDirect, LesMeshFloat32, LesMeshFloat64
from peers import Finufft, LammpsPPPM, OpenMMPME, TorchPMEFloat32, TorchPMEFloat64

K_CUTOFF = float(np.pi)  # 1/angstrom, of models trained with a resolution of 2 angstrom

#: Name: solver class and its k_cutoff; None is the converged kernel.
CATALOGUE: dict[str, tuple[type[MeasuredSolver], float | None]] = {
    "les-f64": (LesMeshFloat64, None),
    "les-f32": (LesMeshFloat32, None),
    "direct": (LesDirect, None),
    "lammps": (LammpsPPPM, None),
    "openmm": (OpenMMPME, None),
    "torch-pme": (TorchPMEFloat64, None),
    "torch-pme-f32": (TorchPMEFloat32, None),
    "finufft": (Finufft, None),
    "les-f64-kc": (LesMeshFloat64, K_CUTOFF),
    "les-f32-kc": (LesMeshFloat32, K_CUTOFF),
    "finufft-kc": (Finufft, K_CUTOFF),
}
