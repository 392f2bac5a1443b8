"""The table of data sets, read from catalogue.yaml, and the comparison of local files with it.

Apart from the conversion so that les-train, which may check hashes, needs no more than this.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from les_md.errors import LESError

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class DataFile:
    """One extended XYZ file of a set."""

    name: str
    frames: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """One entry of catalogue.yaml."""

    name: str
    what: str
    reference: str
    where: str
    licence: str
    settings: str  # name of a file of examples/training
    source: dict[str, str]  # SHA-256 by file name, below the folder of `where`
    files: list[DataFile]

    @property
    def settings_file(self) -> Path:
        """The settings of les-train for this set, installed with the package."""
        return HERE / "settings" / self.settings

    def file(self, name: str) -> DataFile:
        """The entry of the file `name`; LESError names the known ones."""
        for entry in self.files:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.files)
        raise LESError(f"{self.name} has no file '{name}'; its files are {known}")


def datasets() -> list[Dataset]:
    """All data sets in the order of catalogue.yaml."""
    raw: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "catalogue.yaml").read_text(encoding="utf-8"))
    sets = []
    for name, entry in raw.items():
        files = [DataFile(file, **values) for file, values in entry.pop("files").items()]
        sets.append(Dataset(name=name, files=files, **entry))
    return sets


def dataset(name: str) -> Dataset:
    """The data set `name`; LESError names the known ones."""
    known = datasets()
    for entry in known:
        if entry.name == name:
            return entry
    raise LESError(f"unknown data set '{name}'; known are {', '.join(entry.name for entry in known)}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; LESError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise LESError(f"file '{path}' does not exist") from None
    except OSError as error:
        raise LESError(f"cannot read '{path}': {error.strerror}") from None
