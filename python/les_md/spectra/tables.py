"""Tables of numbers as hosts write them: LAMMPS text and logs, CSV, NumPy archives.

Only the form of a file is known here: names of columns, rows, and what its comments say. What the columns mean is
the matter of `series`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from les_md.errors import LESError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

#: Facts that comments may state, as `volume 1906.6`, `temperature_K = 300` or `units: metal`.
_FACTS = {
    "volume": re.compile(rf"\bvolume(?:_A3)?\s*[:=]?\s*({_NUMBER})(?![\w.])"),
    "temperature": re.compile(rf"\btemperature(?:_K)?\s*[:=]?\s*({_NUMBER})(?![\w.])"),
    "timestep": re.compile(rf"\btimestep_fs\s*[:=]?\s*({_NUMBER})(?![\w.])"),
    "units": re.compile(r"\bunits\s*[:=]?\s*(metal|real|lj|si|cgs|electron|micro|nano)\b"),
}


@dataclass
class Table:
    """Named columns of numbers.

    Attributes:
        path: the file.
        names: of the columns, in their order; empty if the file does not name them.
        n_columns: number of columns.
        facts: what comments say: volume (angstrom^3), temperature (K), timestep (fs), units.
        rows, lines, delimiter: of text: the rows as they stand, their line numbers from 1, None for white space.
        arrays: of an archive: the columns by name.
    """

    path: Path
    names: list[str]
    n_columns: int
    facts: dict[str, str]
    rows: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    delimiter: str | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def columns(self, indices: Sequence[int]) -> np.ndarray:
        """(n_rows, len(indices)) values of the columns `indices` (from 0); all are finite numbers."""
        if self.arrays:
            values = np.stack([self.arrays[self.names[index]] for index in indices], axis=1)
        else:
            values = self._parsed(indices)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            names = ", ".join(self.label(index) for index in indices)
            raise LESError(
                f"{self.path}: {self._place(row)} has a value that is not finite; expected finite numbers in {names}"
            )
        return values

    def label(self, index: int) -> str:
        """Name of a column, or its number from 1."""
        return self.names[index] if self.names else f"column {index + 1}"

    def _place(self, row: int) -> str:
        return f"line {self.lines[row]}" if self.lines else f"row {row + 1}"

    def _parsed(self, indices: Sequence[int]) -> np.ndarray:
        try:
            return np.loadtxt(self.rows, delimiter=self.delimiter, usecols=indices, ndmin=2, comments=None)
        except ValueError:
            for row, text in enumerate(self.rows):
                words = text.split(self.delimiter)
                wrong = [index for index in indices if index >= len(words) or not _is_number(words[index])]
                if wrong:
                    got = repr(words[wrong[0]]) if wrong[0] < len(words) else f"{len(words)} columns"
                    label = self.label(wrong[0])
                    raise LESError(
                        f"{self.path}: {self._place(row)}: expected a number in {label}, got {got}"
                    ) from None
            raise


def read_table(path: Path) -> Table:
    """The table in a file; of a LAMMPS log with several runs the last one."""
    if not path.is_file():
        raise LESError(f"series '{path}' does not exist; expected a text, CSV or npz file with the current over time")
    if path.suffix == ".npz":
        return _archive(path)
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        raise LESError(f"{path}: expected a text, CSV or npz file, got something that is not text") from None
    is_log = any(line.startswith(("LAMMPS (", "Loop time")) for line in lines)
    table = _log(path, lines) if is_log else _text(path, lines)
    if not table.rows:
        raise LESError(f"{path}: expected rows of numbers, got none")
    return table


def _archive(path: Path) -> Table:
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, BadZipFile):
        raise LESError(f"{path}: expected a NumPy archive (np.savez) of plain arrays, got something else") from None
    facts = {name.split("_")[0]: str(array) for name, array in arrays.items() if array.ndim == 0}
    columns = {name: array.astype(float) for name, array in arrays.items() if array.ndim == 1 and array.dtype != object}
    if not columns:
        raise LESError(f"{path}: expected one-dimensional arrays such as time_ps and Jx, got none")
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) > 1:
        raise LESError(f"{path}: expected arrays of one length, got {lengths}")
    return Table(path, list(columns), len(columns), facts, arrays=columns)


def _log(path: Path, lines: list[str]) -> Table:
    """The last thermo table of a LAMMPS log: from the line that begins with `Step` to `Loop time`."""
    starts = [number for number, line in enumerate(lines) if line.split(maxsplit=1)[:1] == ["Step"]]
    if not starts:
        raise LESError(f"{path}: expected a thermo table that begins with `Step` in this LAMMPS log, got none")
    names = lines[starts[-1]].split()
    table = Table(path, names, len(names), {})
    for number, line in enumerate(lines[starts[-1] + 1 :], start=starts[-1] + 2):
        if line.startswith("Loop time"):
            break
        if _is_number(line.split(maxsplit=1)[0] if line.strip() else ""):
            table.rows.append(line)
            table.lines.append(number)
    return table


def _text(path: Path, lines: list[str]) -> Table:
    """Rows of numbers under comments (`#`) or a line of names; the last such line with a word a column names them."""
    comments: list[str] = []
    headers: list[str] = []
    table = Table(path, [], 0, {})
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if text.startswith("#"):
            comments.append(text)
            headers += [] if table.rows else [text.lstrip("# ")]
        elif not table.rows and not _is_number(re.split(r"[\s,]", text, maxsplit=1)[0]):
            headers.append(text)
        else:
            table.rows.append(text)
            table.lines.append(number)
    if table.rows:
        table.delimiter = "," if "," in table.rows[0] else None
        table.n_columns = len(table.rows[0].split(table.delimiter))
        for header in headers:
            names = [word.strip(" \"'") for word in header.split(table.delimiter)]
            if len(names) == table.n_columns and not any(map(_is_number, names)):
                table.names = names
    for name, pattern in _FACTS.items():
        found = [match[1] for comment in comments if (match := pattern.search(comment))]
        if found:
            table.facts[name] = found[-1]
    return table


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
