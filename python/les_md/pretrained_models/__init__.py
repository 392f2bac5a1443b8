"""Trained models that come with the package: one folder each, with the exported file, its checkpoint and a model card.

`model.les.pt` is what LAMMPS, OpenMM and ASE load, `model.pt` the checkpoint it was exported from, `card.md` says what
the model was trained on and what it is good for, `record.json` holds its errors, hashes and the numbers that tests
compare with. scripts/pretrained/make.py makes the folders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from les_md.errors import LESError

FOLDER = Path(__file__).resolve().parent
EXPORTED_FILE = "model.les.pt"
CHECKPOINT_FILE = "model.pt"
CARD_FILE = "card.md"
RECORD_FILE = "record.json"


def pretrained(name: str, checkpoint: bool = False) -> Path:
    """Path of the exported file of the model `name`, or of its checkpoint.

    Raises LESError for an unknown name, with the known ones.
    """
    return _folder(name) / (CHECKPOINT_FILE if checkpoint else EXPORTED_FILE)


def list_pretrained() -> list[str]:
    """Names of the models."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{RECORD_FILE}"))


def read_card(name: str) -> str:
    """The model card of `name`, Markdown."""
    return (_folder(name) / CARD_FILE).read_text(encoding="utf-8")


def read_pretrained_record(name: str) -> dict[str, Any]:
    """record.json of the model `name`."""
    record: dict[str, Any] = json.loads((_folder(name) / RECORD_FILE).read_text(encoding="utf-8"))
    return record


def _folder(name: str) -> Path:
    known = list_pretrained()
    if name not in known:
        raise LESError(f"unknown pretrained model '{name}'; known are {', '.join(known)}")
    return FOLDER / name
