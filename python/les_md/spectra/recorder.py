"""The current of an ASE run as a CSV file that `les-spectra` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from les_md.ase import LESCalculator
from les_md.batch import is_periodic
from les_md.errors import LESError


class CurrentRecorder:
    """Writes one line with the polarization current whenever it is called: `dynamics.attach(recorder, interval=2)`.

    Columns: time_ps, Jx, Jy, Jz (e angstrom/ps), temperature_K, volume_A3. Each line costs one evaluation more, with
    the velocities; positions and velocities are those of the same time.

    Args:
        dynamics: an ASE MolecularDynamics whose atoms have a LESCalculator.
        path: of the file; an older one is replaced.
    """

    def __init__(self, dynamics: Any, path: str | Path) -> None:
        self.dynamics = dynamics
        self.atoms = dynamics.atoms
        if not isinstance(self.atoms.calc, LESCalculator):
            raise LESError(f"CurrentRecorder needs atoms with a LESCalculator, got {type(self.atoms.calc).__name__}")
        if not is_periodic(self.atoms):
            raise LESError("CurrentRecorder needs a periodic system: spectra and conductivities are for a volume")
        if self.atoms.calc.engine.record["long_range"] is None:
            raise LESError("CurrentRecorder needs a model with charges; this one is short-range only")
        self.path = Path(path)
        self.path.write_text("time_ps,Jx,Jy,Jz,temperature_K,volume_A3\n")

    def __call__(self) -> None:
        """Adds the line of the present state."""
        time = self.dynamics.get_time() / (1000.0 * units.fs)
        row = [time, *self.current(), self.atoms.get_temperature(), self.atoms.get_volume()]
        with self.path.open("a") as stream:
            stream.write(",".join(f"{value:.10g}" for value in row) + "\n")

    def current(self) -> np.ndarray:
        """(3,) e angstrom/ps."""
        engine = self.atoms.calc.engine
        result = engine.compute(
            self.atoms.positions,
            engine.types_of(self.atoms.get_chemical_symbols()),
            np.asarray(self.atoms.cell),
            True,
            velocities=self.atoms.get_velocities() * 1000.0 * units.fs,
        )
        return np.asarray(result["polarization_current"])
