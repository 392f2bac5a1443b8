"""The program `les-eval`: tables, plots and predictions of a model on a data set."""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from les_md.batch import AtomsBatch, is_periodic
from les_md.born_charges import born_effective_charges
from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError, command_line
from les_md.export import is_exported, load_exported
from les_md.model import LESModel
from les_md.plots import parity_plot
from les_md.predictions import (
    UNITS,
    CheckpointPredictor,
    EnginePredictor,
    Errors,
    Prediction,
    Predictor,
    parity_sets,
)
from les_md.training.data import build_frames
from les_md.training.labels import LabelledFrame, read_frames, read_label
from les_md.training.settings import DataSettings


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


@command_line("les-eval")
def main(arguments: list[str] | None = None) -> None:
    """Evaluates a model on labelled frames; see `--help`."""
    options = _parser().parse_args(arguments)
    if not options.model.is_file():
        raise LESError(f"model '{options.model}' does not exist; les-train writes model.pt, les-export model.les.pt")
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        raise LESError(f"--output must be a folder, but '{options.output}' is a file")
    exported = is_exported(options.model)
    predictor = _predictor(options, exported)
    if options.spin_key is not None and "spin" not in predictor.inputs:
        raise LESError("--spin-key has no effect: the model was trained without `spin_embedding`")
    names = ("energy", "forces", "stress", "virial", "total_charge", "spin")
    keys = {f"{name}_key": getattr(options, f"{name}_key") for name in names}
    try:
        source = DataSettings(train=options.data, select=_selection(options.select), **keys)
    except ValueError as error:
        raise LESError("--stress-key and --virial-key exclude each other: give one of them") from error
    labelled = read_frames(source.train, source, need_energy=False, need_forces=False, need_stress=False)
    for quantity, key in (("energy", source.energy_key), ("forces", source.forces_key)):
        if key is not None and all(getattr(frame, quantity) is None for frame in labelled):
            raise LESError(f"no frame has {quantity} under `{key}`; check --{quantity}-key")
    frames = build_frames(labelled, predictor.symbols, predictor.cutoff, allow_lone_atoms=True)
    predictions = list(predictor.predict(frames))
    if not exported:  # the engine says so itself
        _tell_defaults(predictor, options)

    sets = parity_sets(frames, predictions)
    charges = [prediction.latent_charges.sum(1) * predictor.charge_scale for prediction in predictions]
    has_charges = predictions[0].latent_charges.shape[1] > 0
    reference_charges = [_label(frame, "charges", options.charges_key, (len(frame.atoms),)) for frame in labelled]
    dipoles = _moment_pairs(labelled, charges, "dipole", options.dipole_key) if has_charges else None
    quadrupoles = _moment_pairs(labelled, charges, "quadrupole", options.quadrupole_key) if has_charges else None
    sign = 1.0
    found_charges = [reference for reference in reference_charges if reference is not None]
    if has_charges and len(found_charges) == len(labelled):
        reference, predicted = np.hstack(found_charges), np.hstack(charges)
        sign = _common_sign(reference, predicted)
        sets["charges"] = (reference, sign * predicted)
    elif options.charges_key is not None and has_charges:
        raise LESError(f"not every frame has charges under `{options.charges_key}`; check --charges-key")
    elif dipoles is not None:
        sign = _common_sign(*dipoles)
    totals = _total_charges(labelled, charges) if has_charges else None
    if totals is not None:
        if not found_charges and dipoles is None:
            sign = _common_sign(*totals)
        sets["total_charge"] = (totals[0], sign * totals[1])
    if dipoles is not None:
        sets["dipole"] = (dipoles[0], sign * dipoles[1])
    elif options.dipole_key is not None:
        raise LESError(f"no isolated frame has a dipole under `{options.dipole_key}`; check --dipole-key")
    if quadrupoles is not None:
        sets["quadrupole"] = (quadrupoles[0], sign * quadrupoles[1])
    elif options.quadrupole_key is not None:
        raise LESError(f"no isolated frame has a quadrupole under `{options.quadrupole_key}`; check --quadrupole-key")
    born = None
    if options.born_charges_key is not None and not options.born_charges:
        raise LESError("--born-charges-key needs --born-charges")
    if options.born_charges and has_charges:
        born = _born_charges(options, exported, frames, sign)
        references = [_label(f, "born_charges", options.born_charges_key, (len(f.atoms), 3, 3)) for f in labelled]
        pairs = [(r, b) for r, b in zip(references, born, strict=True) if r is not None]
        if pairs:
            sets["born_charges"] = (np.vstack([r for r, _ in pairs]).ravel(), np.vstack([b for _, b in pairs]).ravel())

    errors = {name: Errors.of(predicted, reference) for name, (reference, predicted) in sets.items()}
    symbols = np.hstack([frame.atoms.get_chemical_symbols() for frame in labelled])
    table = _charge_table(symbols, sign * np.hstack(charges), sets.get("charges"), predictor) if has_charges else []
    _print(errors, table, sign, len(labelled), options.model)
    if isinstance(predictor, EnginePredictor) and predictor.long_range_description is not None:
        print(f"long-range energy: {predictor.long_range_description}")
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        _write(options, errors, table, sign, sets)
        written = []
        for index, (frame, prediction) in enumerate(zip(labelled, predictions, strict=True)):
            atomic = sign * charges[index] if has_charges else None
            written.append(_with_prediction(frame, prediction, atomic, None if born is None else born[index]))
        ase.io.write(options.output / "predictions.xyz", written, format="extxyz")
        print(f"written to {options.output}")


def _tell_defaults(predictor: Predictor, options: argparse.Namespace) -> None:
    for name, default in (("total_charge", "0 e"), ("spin", "1")):
        if name in predictor.state_inputs and getattr(options, f"{name}_key") is None:
            option = name.replace("_", "-")
            print(f"les-eval: {name} is an input of the model and was not given: {default} is used; set --{option}-key")


def _selection(pairs: list[str]) -> dict[str, str]:
    selection = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise LESError(f"--select must be given as NAME=VALUE, got '{pair}'")
        selection[name] = value
    return selection


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="les-eval", description="Errors and charges of a model on a data set.")
    parser.add_argument("model", type=Path, help="checkpoint (model.pt) or exported file (model.les.pt)")
    parser.add_argument("data", type=Path, nargs="+", help="extended XYZ files")
    parser.add_argument("--output", type=Path, help="folder for tables, plots and predictions.xyz")
    for name in ("energy", "forces", "stress", "virial", "total-charge", "spin"):
        parser.add_argument(f"--{name}-key", metavar="KEY", help=f"key of the {name.replace('-', ' ')} in the data")
    parser.add_argument(
        "--select", metavar="NAME=VALUE", action="append", default=[], help="only frames with this entry; repeatable"
    )
    parser.add_argument("--charges-key", metavar="KEY", help="key of reference charges (default: charges)")
    parser.add_argument("--dipole-key", metavar="KEY", help="key of dipoles of isolated frames (default: dipole)")
    parser.add_argument("--quadrupole-key", metavar="KEY", help="key of their quadrupoles (default: quadrupole)")
    parser.add_argument("--born-charges", action="store_true", help="also compute Born effective charges (slower)")
    parser.add_argument("--born-charges-key", metavar="KEY", help="key of reference Born charges, 9 numbers an atom")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads (default: torch's)")
    parser.add_argument(
        "--solver",
        choices=("auto", "mesh", "direct"),
        help="how exported files sum the long-range energy of periodic frames (default: auto, the faster one)",
    )
    parser.add_argument(
        "--accuracy",
        type=float,
        help="relative force error of the mesh, 1e-8 to 1e-2, for exported files (default: 1e-4)",
    )
    parser.add_argument("--batch-size", type=int, default=4, help="frames evaluated together, for checkpoints")
    return parser


def _predictor(options: argparse.Namespace, exported: bool) -> Predictor:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise LESError("--device is cuda, but torch finds no CUDA device; use --device cpu")
    if options.batch_size < 1:
        raise LESError(f"--batch-size must be at least 1, got {options.batch_size}")
    if options.threads is not None:
        if options.threads < 1:
            raise LESError(f"--threads must be at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    long_range = {name: value for name in ("solver", "accuracy") if (value := getattr(options, name)) is not None}
    if exported:
        return EnginePredictor(options.model, options.device, options.threads, **long_range)
    if long_range:
        raise LESError(f"--{next(iter(long_range))} is for exported files; write one with `les-export {options.model}`")
    model, _ = load_checkpoint(options.model)
    return CheckpointPredictor(model.to(options.device), options.batch_size)


def _born_charges(
    options: argparse.Namespace, exported: bool, frames: list[AtomsBatch], sign: float
) -> list[np.ndarray]:
    model: LESModel = (load_exported if exported else load_checkpoint)(options.model)[0]
    return [sign * born_effective_charges(model, frame).numpy() for frame in frames]


def _label(frame: LabelledFrame, quantity: str, key: str | None, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        return read_label(frame.atoms, quantity, key, shape)
    except LESError as error:
        raise LESError(f"{frame.source}: {error}") from None


def _common_sign(reference: np.ndarray, predicted: np.ndarray) -> float:
    """The sign that brings all charges together closest to the reference: energies do not depend on it."""
    return -1.0 if float(np.sum(reference * predicted)) < 0 else 1.0


def _total_charges(labelled: list[LabelledFrame], charges: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Total charges of the frames that have one, and the sums of their predicted charges; None if there are none."""
    pairs = [(f.total_charge, q.sum()) for f, q in zip(labelled, charges, strict=True) if f.total_charge is not None]
    return (np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])) if pairs else None


def _moment_pairs(
    labelled: list[LabelledFrame], charges: list[np.ndarray], name: str, key: str | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Reference and predicted components of the isolated frames with a label; None if there are none.

    `name` is dipole, sum_i q_i r_i, or quadrupole, sum_i q_i r_i r_i without its trace, to which the size of the
    electron clouds adds what no charges of atoms give.
    """
    references: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    for frame, charge in zip(labelled, charges, strict=True):
        if is_periodic(frame.atoms):
            continue
        positions = frame.atoms.positions
        reference = _label(frame, name, key, (3,) if name == "dipole" else (3, 3))
        if reference is None:
            continue
        moment = charge @ positions if name == "dipole" else np.einsum("i,ia,ib->ab", charge, positions, positions)
        for values, tensor in ((references, reference), (predicted, moment)):
            values.append(tensor if name == "dipole" else (tensor - np.trace(tensor) / 3 * np.eye(3)).ravel())
    return (np.hstack(references), np.hstack(predicted)) if references else None


def _charge_table(
    symbols: np.ndarray, charges: np.ndarray, pair: tuple[np.ndarray, np.ndarray] | None, predictor: Predictor
) -> list[ElementCharges]:
    table = []
    for element in predictor.symbols:
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


def _print(errors: dict[str, Errors], table: list[ElementCharges], sign: float, n_frames: int, model: Path) -> None:
    print(f"{model} on {n_frames} frame{'s' if n_frames != 1 else ''}")
    if errors:
        print(f"{'':12s} {'RMSE':>10s} {'MAE':>10s} {'largest':>10s} {'R2':>9s}")
    for name, error in errors.items():
        values = " ".join(f"{1000 * value:10.4g}" for value in (error.rmse, error.mae, error.largest))
        determination = "" if error.r2 is None else f"{error.r2:.5f}"
        print(f"{name:12s} {values} {determination:>9s}  m{UNITS[name]}")
    if table:
        columns = ["mean", "std", "min", "max"] + ([] if table[0].rmse is None else ["reference_mean", "rmse"])
        headings = {"reference_mean": "reference", "rmse": "RMSE"}
        print(f"{'charges (e)':11s} {'n':>8s}" + "".join(f" {headings.get(name, name):>10s}" for name in columns))
        for row in table:
            print(f"{row.element:11s} {row.n:8d}" + "".join(f" {getattr(row, name):10.5f}" for name in columns))
    if sign < 0:
        print("all charges are shown with the opposite sign, to match the reference; energies do not depend on it")


def _write(
    options: argparse.Namespace,
    errors: dict[str, Errors],
    table: list[ElementCharges],
    sign: float,
    sets: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    folder: Path = options.output
    record: dict[str, Any] = {
        "model": str(options.model),
        "data": [str(path) for path in options.data],
        "errors": {name: {"unit": UNITS[name], **asdict(error)} for name, error in errors.items()},
        "charges": [asdict(row) for row in table],
        "charge_sign": sign,
    }
    (folder / "errors.json").write_text(json.dumps(record, indent=2) + "\n")
    with open(folder / "errors.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["quantity", "unit", "rmse", "mae", "largest", "r2", "n"])
        writer.writerows([name, UNITS[name], e.rmse, e.mae, e.largest, e.r2, e.n] for name, e in errors.items())
    if table:
        with open(folder / "charges.csv", "w", newline="") as file:
            rows = [asdict(row) for row in table]
            dict_writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            dict_writer.writeheader()
            dict_writer.writerows(rows)
    for name, pair in sets.items():
        parity_plot(folder / f"parity_{name}.png", {"data": pair}, name.replace("_", " "), UNITS[name])


def _with_prediction(
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
