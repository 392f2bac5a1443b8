"""The class `LESReporter`: charges, polarization and its current of a simulation in a CSV file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from les_md.errors import LESError
from les_md.openmm.force import LESForce
from les_md.openmm.plugin import openmm


class LESReporter:
    """Writes what a LESForce knows beside energy and forces, as a reporter of openmm.app.Simulation.

    One row per report, with a header: `time_ps`; `Jx,Jy,Jz`, the polarization current in e angstrom/ps, which
    `les-spectra` reads; `Px,Py,Pz`, the polarization in e angstrom; `short_range`, `long_range`,
    `field` and `embedding`, energies in kJ/mol; `q0,q1,...`, physical charges in e of the particles of the force.
    Rows are written at once, so that the file of a run that ends early is complete.

    Args:
        file: path, or a text stream.
        reportInterval: steps between reports.
        force: the LESForce, which may be left out if the System has one of them.
        current, polarization, energies, charges: which columns are written. The current costs one more evaluation per
            report. The polarization of a periodic system needs a model with charge transfers.
        append: go on with a file that has the header already.

    Raises:
        LESError: no column is wanted, or, at the first report, the System has not exactly one LESForce.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | TextIO,
        reportInterval: int,  # noqa: N803  the name in OpenMM's reporters
        force: LESForce | None = None,
        *,
        current: bool = True,
        polarization: bool = False,
        energies: bool = False,
        charges: bool = False,
        append: bool = False,
    ) -> None:
        wanted = {"current": current, "polarization": polarization, "energies": energies, "charges": charges}
        self._columns = [_COLUMNS[name] for name, is_wanted in wanted.items() if is_wanted]
        if not self._columns:
            raise LESError("a LESReporter needs at least one of current, polarization, energies and charges")
        if reportInterval < 1:
            raise LESError(f"`reportInterval` must be at least 1 step, got {reportInterval}")
        self._interval = int(reportInterval)
        self._force = force
        self._has_header = append
        self._owns_file = isinstance(file, str | os.PathLike)
        self._file: Any = open(file, "a" if append else "w") if isinstance(file, str | os.PathLike) else file  # noqa: SIM115

    def describeNextReport(self, simulation: Any) -> dict[str, Any]:  # noqa: N802
        """Steps to the next report, and that nothing of a State is needed."""
        return {"steps": self._interval - simulation.currentStep % self._interval, "periodic": None, "include": []}

    def report(self, simulation: Any, state: Any) -> None:
        """Writes one row."""
        if self._force is None:
            self._force = _only_les_force(simulation.system)
        context = simulation.context
        columns = [column(self._force, context) for column in self._columns]
        if not self._has_header:
            self._file.write(",".join(["time_ps", *(name for names, _ in columns for name in names)]) + "\n")
            self._has_header = True
        time = state.getTime().value_in_unit(openmm.unit.picosecond)
        numbers = np.concatenate([[time], *(np.atleast_1d(values) for _, values in columns)])
        self._file.write(",".join(f"{number:.10g}" for number in numbers) + "\n")
        self._file.flush()

    def __del__(self) -> None:
        if getattr(self, "_owns_file", False):
            self._file.close()


def _only_les_force(system: Any) -> LESForce:
    found = [force for force in system.getForces() if LESForce.isinstance(force)]
    if len(found) != 1:
        raise LESError(f"the System must have one LESForce, got {len(found)}; name the one to report with `force`")
    return LESForce.cast(found[0])


Column = Callable[[LESForce, Any], tuple[list[str], np.ndarray]]


def _current(force: LESForce, context: Any) -> tuple[list[str], np.ndarray]:
    unit = openmm.unit
    value = force.getPolarizationCurrent(context)
    return ["Jx", "Jy", "Jz"], value.value_in_unit(unit.elementary_charge * unit.angstrom / unit.picosecond)


def _polarization(force: LESForce, context: Any) -> tuple[list[str], np.ndarray]:
    unit = openmm.unit
    return ["Px", "Py", "Pz"], force.getPolarization(context).value_in_unit(unit.elementary_charge * unit.angstrom)


def _energies(force: LESForce, context: Any) -> tuple[list[str], np.ndarray]:
    parts = {
        "short_range": force.getShortRangeEnergy(context),
        "long_range": force.getLongRangeEnergy(context),
        "field": force.getFieldEnergy(context),
        "embedding": force.getEmbeddingEnergy(context),
    }
    values = [part.value_in_unit(openmm.unit.kilojoule_per_mole) for part in parts.values()]
    return list(parts), np.array(values)


def _charges(force: LESForce, context: Any) -> tuple[list[str], np.ndarray]:
    charges = force.getCharges(context).value_in_unit(openmm.unit.elementary_charge)
    return [f"q{particle}" for particle in force.getParticles() or range(len(charges))], charges


_COLUMNS: dict[str, Column] = {
    "current": _current,
    "polarization": _polarization,
    "energies": _energies,
    "charges": _charges,
}
