"""From a table of a host to a series of current and polarization at equal time steps, in e, angstrom and ps.

Columns are found by their names or named by the user; times, units, volume and temperature come from options, or else
from what the file itself says. Nothing is guessed that would change a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from les_md.errors import LESError
from les_md.spectra.tables import Table, read_table

#: Factor from the current of LAMMPS to e angstrom/ps; the polarization is in e angstrom in both.
LAMMPS_CURRENT = {"metal": 1.0, "real": 1000.0}

#: Two time steps may differ by this share: times are printed with few digits.
UNIFORMITY = 0.02

#: Ratio of the current to the change of the polarization over a step that can still be due to the length of the step.
LARGEST_RATIO = 10.0

_VOLUME = ("volume", "volume_a3", "vol", "thermo_vol")
_TEMPERATURE = ("temperature", "temperature_k", "temp", "thermo_temp")


@dataclass
class SeriesOptions:
    """How to read a file; None leaves a choice to the file.

    Attributes:
        columns, polarization_columns: names or numbers (from 1) of the three components.
        units: `metal` or `real`, for files with a column of LAMMPS time steps.
        timestep: fs between two LAMMPS steps.
        volume: angstrom^3.
        temperature: K.
        start, stop: ps, in the time of the file; rows outside are left out.
    """

    columns: Sequence[str] | None = None
    polarization_columns: Sequence[str] | None = None
    units: str | None = None
    timestep: float | None = None
    volume: float | None = None
    temperature: float | None = None
    start: float | None = None
    stop: float | None = None


@dataclass
class Series:
    """Current and polarization of a cell at equal time steps; at least one of the two is there.

    Attributes:
        time_step: ps.
        current: (n, 3), e angstrom/ps.
        polarization: (n, 3), e angstrom, not wrapped: a jump by a quantum would count as a current.
        volume: angstrom^3.
        temperature: K.
        origins: where each of these was found, for people.
    """

    time_step: float
    current: np.ndarray | None
    polarization: np.ndarray | None
    volume: float
    temperature: float
    origins: dict[str, str] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        series = self.current if self.current is not None else self.polarization
        return 0 if series is None else len(series)


def read_series(path: str | Path, options: SeriesOptions | None = None) -> Series:
    """The series in a text file of LAMMPS, a CSV file or an npz archive; raises LESError for what is missing."""
    options = options or SeriesOptions()
    table = read_table(Path(path))
    time_column, from_steps = _time_column(table)
    current = _components(table, options.columns, "J", "--columns")
    polarization = _components(table, options.polarization_columns, "P", "--polarization-columns")
    if current is None and polarization is None:
        current = _remaining(table, time_column) if from_steps else None
    if current is None and polarization is None:
        raise LESError(
            f"{path}: expected columns Jx, Jy, Jz (current) or Px, Py, Pz (polarization), got {_names(table)}; "
            "name three with --columns or --polarization-columns"
        )

    chosen = [time_column, *(current or []), *(polarization or [])]
    values = table.columns(chosen)
    origins: dict[str, str] = {}
    times = values[:, 0] * _time_factor(table, options, from_steps, origins)
    inside = np.ones(len(times), dtype=bool)
    for bound, kept in ((options.start, np.greater_equal), (options.stop, np.less_equal)):
        # a bound that is a printed time keeps its row
        if bound is not None:
            inside &= kept(times, bound) | np.isclose(times, bound, rtol=1e-9, atol=1e-9)
    times, values = times[inside], values[inside]
    time_step = _time_step(table, times)

    parts: dict[str, np.ndarray | None] = {"current": None, "polarization": None}
    first = 1
    for name, columns in (("current", current), ("polarization", polarization)):
        if columns is not None:
            parts[name] = values[:, first : first + 3]
            origins[name] = "columns " + " ".join(table.label(index) for index in columns)
            first += 3
    if parts["current"] is not None:
        parts["current"] = parts["current"] * _current_factor(table, options, from_steps, origins)
    _check_size(table, parts["current"], parts["polarization"], time_step)
    volume = _fact(table, "volume", options.volume, _VOLUME, "angstrom^3", inside, origins)
    temperature = _fact(table, "temperature", options.temperature, _TEMPERATURE, "K", inside, origins)
    return Series(time_step, parts["current"], parts["polarization"], volume, temperature, origins)


def _plain(name: str) -> str:
    """`v_Jx` and `c_thermo_temp` of LAMMPS without what LAMMPS puts in front."""
    return name[2:] if name[:2] in ("v_", "c_") else name


def _names(table: Table) -> str:
    return ", ".join(table.names) if table.names else f"{table.n_columns} columns without names"


def _time_column(table: Table) -> tuple[int, bool]:
    """Index of the column of times, and whether it counts steps of LAMMPS."""
    plain = [_plain(name) for name in table.names]
    if "time_ps" in plain:
        return plain.index("time_ps"), False
    for index, name in enumerate(plain):
        if name.lower() in ("step", "timestep"):
            return index, True
    if not table.names and table.delimiter is None:
        return 0, True
    raise LESError(f"{table.path}: expected a column time_ps, or Step of LAMMPS, got {_names(table)}")


def _components(table: Table, chosen: Sequence[str] | None, letter: str, option: str) -> list[int] | None:
    """Indices of three columns: those that the user names, or Jx, Jy, Jz (Px, Py, Pz); None if they are not there."""
    if chosen is None:
        plain = [_plain(name) for name in table.names]
        wanted = [letter + axis for axis in "xyz"]
        return [plain.index(name) for name in wanted] if set(wanted) <= set(plain) else None
    if len(chosen) != 3 or len(set(chosen)) != 3:
        raise LESError(f"{option} must name three different columns (x, y, z), got {' '.join(chosen)}")
    return [_column(table, name, option) for name in chosen]


def _column(table: Table, name: str, option: str) -> int:
    if name in table.names:
        return table.names.index(name)
    if name.isdigit() and 1 <= int(name) <= table.n_columns:
        return int(name) - 1
    raise LESError(
        f"{table.path}: {option}: expected a name or a number from 1 to {table.n_columns}, got {name!r}; "
        f"the file has {_names(table)}"
    )


def _remaining(table: Table, time_column: int) -> list[int] | None:
    """The only three columns besides step, volume and temperature."""
    known = {*_VOLUME, *_TEMPERATURE}
    rest = [
        index
        for index in range(table.n_columns)
        if index != time_column and not (table.names and _plain(table.names[index]).lower() in known)
    ]
    return rest if len(rest) == 3 else None


def _time_factor(table: Table, options: SeriesOptions, from_steps: bool, origins: dict[str, str]) -> float:
    """ps for one unit of the column of times."""
    if not from_steps:
        if options.timestep is not None:
            raise LESError(f"--timestep is for files that count LAMMPS steps, but {table.path} has times in time_ps")
        return 1.0
    timestep = options.timestep
    origins["timestep"] = "--timestep"
    if timestep is None and "timestep" in table.facts:
        timestep, origins["timestep"] = _number(table, "timestep"), "comment"
    if timestep is None:
        raise LESError(
            f"{table.path} counts LAMMPS steps: expected --timestep FS, or a comment `timestep_fs ...`, got neither"
        )
    if not (np.isfinite(timestep) and timestep > 0):
        raise LESError(f"timestep must be a positive number of fs, got {timestep} ({origins['timestep']})")
    return timestep * 1e-3


def _current_factor(table: Table, options: SeriesOptions, from_steps: bool, origins: dict[str, str]) -> float:
    """From the unit of the file to e angstrom/ps."""
    if not from_steps:
        if options.units is not None:
            raise LESError(
                f"--units is for files that count LAMMPS steps, but {table.path} has time_ps and with it a current "
                "in e angstrom/ps"
            )
        return 1.0
    units = options.units or table.facts.get("units")
    if units not in LAMMPS_CURRENT:
        raise LESError(
            f"{table.path}: units of the LAMMPS run must be metal (e angstrom/ps) or real (e angstrom/fs), "
            f"got {units or 'neither --units nor a comment `units ...`'}"
        )
    origins["units"] = f"LAMMPS {units}, {'--units' if options.units else 'comment'}"
    return LAMMPS_CURRENT[units]


def _time_step(table: Table, times: np.ndarray) -> float:
    """The common difference of `times`, ps."""
    if len(times) < 3:
        raise LESError(f"{table.path}: expected at least 3 rows between --start and --stop, got {len(times)}")
    steps = np.diff(times)
    usual = float(np.median(steps))
    wrong = np.abs(steps - usual) > UNIFORMITY * abs(usual)
    if usual <= 0 or wrong.any():
        row = int(np.argmax(wrong)) if usual > 0 else 0
        raise LESError(
            f"{table.path}: times must grow by equal steps of {usual:.6g} ps, got {times[row]:.9g} and then "
            f"{times[row + 1]:.9g} ps; choose a part with --start and --stop"
        )
    return float((times[-1] - times[0]) / (len(times) - 1))


def _check_size(table: Table, current: np.ndarray | None, polarization: np.ndarray | None, time_step: float) -> None:
    """Wrong columns or units: a current of zeros, or one that is not the change of the polarization beside it."""
    if not any(np.any(part - part[0]) for part in (current, polarization) if part is not None):
        raise LESError(f"{table.path}: expected numbers that change in time, got the same in all rows; check --columns")
    if current is None or polarization is None:
        return
    change = float(np.median(np.abs(np.diff(polarization, axis=0)))) / time_step
    size = float(np.median(np.abs(current)))
    if not change / LARGEST_RATIO < size < change * LARGEST_RATIO:
        raise LESError(
            f"{table.path}: the current must be the change of the polarization, {change:.3g} e angstrom/ps (median), "
            f"got {size:.3g}; check units, time step and columns"
        )


def _fact(
    table: Table,
    name: str,
    option: float | None,
    column_names: tuple[str, ...],
    unit: str,
    inside: np.ndarray,
    origins: dict[str, str],
) -> float:
    """Volume or temperature: from the option, a comment, or as the mean of a column."""
    columns = [index for index, column in enumerate(table.names) if _plain(column).lower() in column_names]
    if option is not None:
        value, origin = option, f"--{name}"
    elif name in table.facts:
        value, origin = _number(table, name), "comment"
    elif columns:
        value = float(table.columns(columns[:1])[inside].mean())
        origin = f"mean of column {table.label(columns[0])}"
    else:
        raise LESError(
            f"{table.path} does not say the {name}: expected --{name} ({unit}), a comment `{name} ...`, or a column"
        )
    if not (np.isfinite(value) and value > 0):
        raise LESError(f"{name} must be a positive number of {unit}, got {value} ({origin})")
    origins[name] = origin
    return value


def _number(table: Table, name: str) -> float:
    try:
        return float(table.facts[name])
    except ValueError:
        raise LESError(f"{table.path}: {name} must be a number, got {table.facts[name]!r}") from None
