"""What `les-eval` shows and writes: tables of errors and charges, plots, frames with predictions."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, astuple, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from les_md.plots import parity_plot
from les_md.predictions import UNITS, Errors, Prediction
from les_md.training.labels import LabelledFrame


@dataclass
class ElementCharges:
    """Predicted charges of one element, e; `reference_mean` and `rmse` where the data have charges."""

    element: str
    n: int
    mean: float
    std: float
    min: float
    max: float
    reference_mean: float | None = None
    rmse: float | None = None


def charge_table(
    symbols: np.ndarray, charges: np.ndarray, pair: tuple[np.ndarray, np.ndarray] | None, elements: list[str]
) -> list[ElementCharges]:
    """One row for each of `elements` that is there; `pair` are all reference and predicted charges, or None."""
    table = []
    for element in elements:
        chosen = symbols == element
        if not chosen.any():
            continue
        values = charges[chosen]
        row = ElementCharges(element, int(chosen.sum()), *(float(f(values)) for f in (np.mean, np.std, np.min, np.max)))
        if pair is not None:
            reference, predicted = pair[0][chosen], pair[1][chosen]
            row.reference_mean, row.rmse = float(reference.mean()), Errors.of(predicted, reference).rmse
        table.append(row)
    return table


def print_tables(
    errors: dict[str, Errors], table: list[ElementCharges], sign: float, n_frames: int, model: Path
) -> None:
    """Errors in thousandths of the units, then the charges by element."""
    print(f"{model} on {n_frames} frame{'s' if n_frames != 1 else ''}")
    if errors:
        of_charges = any(error.factor is not None for error in errors.values())
        heading = f"{'':12s} {'RMSE':>10s} {'MAE':>10s} {'largest':>10s} {'R2':>9s}  {'unit':15s}"
        print((heading + f"{'factor':>8s} {'R2 with it':>10s} {'corr^2':>8s}" if of_charges else heading).rstrip())
    for name, error in errors.items():
        values = " ".join(f"{1000 * value:10.4g}" for value in (error.rmse, error.mae, error.largest))
        determination = "" if error.r2 is None else f"{error.r2:.5f}"
        line = f"{name:12s} {values} {determination:>9s}  {'m' + UNITS[name]:15s}"
        if error.factor is not None and error.scaled_r2 is not None:
            line += f"{error.factor:8.3f} {error.scaled_r2:10.5f}"
        if error.squared_correlation is not None:
            line += f" {error.squared_correlation:8.5f}"
        print(line.rstrip())
    if table:
        columns = ["mean", "std", "min", "max"] + ([] if table[0].rmse is None else ["reference_mean", "rmse"])
        headings = {"reference_mean": "reference", "rmse": "RMSE"}
        print(f"{'charges (e)':11s} {'n':>8s}" + "".join(f" {headings.get(name, name):>10s}" for name in columns))
        for row in table:
            print(f"{row.element:11s} {row.n:8d}" + "".join(f" {getattr(row, name):10.5f}" for name in columns))
    if sign < 0:
        print("all charges are shown with the opposite sign, to match the reference; energies do not depend on it")


def write_files(
    folder: Path,
    model: Path,
    data: list[Path],
    errors: dict[str, Errors],
    table: list[ElementCharges],
    sign: float,
    sets: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """errors.json, errors.csv, charges.csv and the parity plots of `sets` in `folder`."""
    record: dict[str, Any] = {
        "model": str(model),
        "data": [str(path) for path in data],
        "errors": {name: {"unit": UNITS[name], **asdict(error)} for name, error in errors.items()},
        "charges": [asdict(row) for row in table],
        "charge_sign": sign,
    }
    (folder / "errors.json").write_text(json.dumps(record, indent=2) + "\n")
    with open(folder / "errors.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["quantity", "unit", *(field.name for field in dataclass_fields(Errors))])
        writer.writerows([name, UNITS[name], *astuple(error)] for name, error in errors.items())
    if table:
        with open(folder / "charges.csv", "w", newline="") as file:
            rows = [asdict(row) for row in table]
            dict_writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            dict_writer.writeheader()
            dict_writer.writerows(rows)
    for name, pair in sets.items():
        parity_plot(folder / f"parity_{name}.png", {"data": pair}, name.replace("_", " "), UNITS[name])


def with_prediction(
    frame: LabelledFrame, prediction: Prediction, charges: np.ndarray | None, born: np.ndarray | None
) -> ase.Atoms:
    """The frame with predictions under ASE's own names and the labels under REF_..."""
    atoms = frame.atoms.copy()
    results: dict[str, Any] = {"energy": prediction.energy, "forces": prediction.forces}
    if prediction.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress)
    if charges is not None:
        results["charges"] = charges
    for name in (*results, "dipole"):
        atoms.arrays.pop(name, None)
        atoms.info.pop(name, None)
    if frame.energy is not None:
        atoms.info["REF_energy"] = frame.energy
    if frame.forces is not None:
        atoms.arrays["REF_forces"] = frame.forces
    if frame.stress is not None:
        atoms.info["REF_stress"] = frame.stress
    if born is not None:
        atoms.arrays["born_charges"] = born.reshape(-1, 9)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
