"""Dipoles, quadrupoles and Born charges that the dipeptide models predict: les-eval on the validation frames."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from les_md.evaluation import main as evaluate

QUANTITIES = {"dipole": "dipole", "quadrupole": "quadrupole", "born_charges": "Born effective charges"}
COLUMNS = ("r2", "factor", "scaled_r2", "squared_correlation")
FRAMES = "dipeptides_valid.xyz"
OPTIONS = [
    *("--charges-key", "ref_mbis_charges", "--dipole-key", "ref_dipole", "--quadrupole-key", "ref_quadrupole"),
    *("--born-charges", "--born-charges-key", "ref_bec", "--born-charges-order", "displacement_first"),
]


def moments_table(results: list[dict[str, Any]], data: Path) -> tuple[str, Any]:
    """R2 of each quantity as it is predicted, after the factor that brings it closest, and the squared correlation."""
    lines = [
        "| dipeptides | | seeds | R2 | factor | R2 with it | squared correlation |",
        "|---|---|---|---|---|---|---|",
    ]
    record = {}
    for training, found in by_training([result for result in results if result["long_range"]]).items():
        values = [evaluated(Path(result["folder"]), data) for result in found]
        for quantity, name in QUANTITIES.items():
            columns = ([value[quantity][key] for value in values] for key in COLUMNS)
            numbers = " | ".join(spread(column, 3) for column in columns)
            lines.append(f"| {training} | {name} | {len(found)} | {numbers} |")
        record[training] = values
    return "\n".join(lines), record


def by_training(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results of all seeds by what the tables call their training of dipeptides."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda result: result["labels"]["seed"]):
        labels = result["labels"]
        name = f"{labels['kind']}, continued" if labels.get("continued") else str(labels["kind"])
        found.setdefault(name, []).append(result)
    return dict(sorted(found.items()))


def spread(values: list[float], decimals: int | None = None) -> str:
    """Mean and standard deviation over seeds, with three digits and one, or both with as many decimals."""
    mean, deviation = ("{:.3g}", "{:.1g}") if decimals is None else (f"{{:.{decimals}f}}",) * 2
    if len(values) == 1:
        return mean.format(values[0])
    return f"{mean.format(np.mean(values))} ± {deviation.format(np.std(values, ddof=1))}"


def evaluated(folder: Path, data: Path) -> dict[str, Any]:
    """Errors that les-eval finds for the model of the training in `folder`; computed once."""
    output = folder / "evaluation"
    if not _has_columns(output / "errors.json"):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            status = evaluate([str(folder / "run" / "model.pt"), str(data / FRAMES), "--output", str(output), *OPTIONS])
        if status != 0:
            raise SystemExit(f"accuracy: error: {shown.getvalue().strip()}")
    found: dict[str, Any] = json.loads((output / "errors.json").read_text())["errors"]
    return found


def _has_columns(path: Path) -> bool:
    """Whether the errors are there, written by a les-eval that knows all columns."""
    if not path.exists():
        return False
    found = json.loads(path.read_text())["errors"]
    return all(column in found.get(quantity, {}) for quantity in QUANTITIES for column in COLUMNS)
