"""Dipoles, quadrupoles and Born charges that the dipeptide models predict: les-eval on the validation frames."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from les_md.evaluation import main as evaluate

QUANTITIES = {"dipole": "dipole", "quadrupole": "quadrupole", "born_charges": "Born effective charges"}
FRAMES = "dipeptides_valid.xyz"
OPTIONS = [
    *("--charges-key", "ref_mbis_charges", "--dipole-key", "ref_dipole", "--quadrupole-key", "ref_quadrupole"),
    *("--born-charges", "--born-charges-key", "ref_bec", "--born-charges-order", "displacement_first"),
]


def moments_table(results: list[dict[str, Any]], data: Path) -> tuple[str, Any]:
    """R2 of each quantity as it is predicted, and after the one factor that brings it closest to the reference."""
    lines = ["| dipeptides | | R2 | factor | R2 with it |", "|---|---|---|---|---|"]
    record = {}
    for result in results:
        if not result["long_range"]:
            continue
        errors = evaluated(Path(result["folder"]), data)
        for quantity, name in QUANTITIES.items():
            values = errors[quantity]
            numbers = " | ".join(f"{values[key]:.3f}" for key in ("r2", "factor", "scaled_r2"))
            lines.append(f"| {training_name(result)} | {name} | {numbers} |")
        record[training_name(result)] = errors
    return "\n".join(lines), record


def training_name(result: dict[str, Any]) -> str:
    """What the tables call a training of dipeptides."""
    labels = result["labels"]
    return f"{labels['kind']}, continued" if labels.get("continued") else str(labels["kind"])


def evaluated(folder: Path, data: Path) -> dict[str, Any]:
    """Errors that les-eval finds for the model of the training in `folder`; computed once."""
    output = folder / "evaluation"
    if not (output / "errors.json").exists():
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            status = evaluate([str(folder / "run" / "model.pt"), str(data / FRAMES), "--output", str(output), *OPTIONS])
        if status != 0:
            raise SystemExit(f"accuracy: error: {shown.getvalue().strip()}")
    found: dict[str, Any] = json.loads((output / "errors.json").read_text())["errors"]
    return found
