"""The program `les-eval`: tables, plots and predictions of a model on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import ase.io
import numpy as np
import torch

from les_md.batch import AtomsBatch, is_periodic
from les_md.born_charges import born_effective_charges
from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError, command_line
from les_md.evaluation_report import charge_table, print_tables, with_prediction, write_files
from les_md.export import is_exported, load_exported
from les_md.model import LESModel
from les_md.predictions import (
    OF_CHARGES,
    CheckpointPredictor,
    EnginePredictor,
    Errors,
    Predictor,
    parity_sets,
)
from les_md.training.born_order import POLARIZATION_FIRST, Order, check_order, in_order
from les_md.training.data import build_frames
from les_md.training.data_settings import DataSettings
from les_md.training.labels import LabelledFrame, read_frames, read_label


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
    if not options.born_charges and (
        options.born_charges_key is not None or options.born_charges_order != POLARIZATION_FIRST
    ):
        raise LESError("--born-charges-key and --born-charges-order need --born-charges")
    if options.born_charges and has_charges:
        born = _born_charges(options, exported, frames, sign)
        references = _reference_born_charges(labelled, options)
        pairs = [(r, b) for r, b in zip(references, born, strict=True) if r is not None]
        if pairs:
            reference, predicted = (np.vstack(values) for values in zip(*pairs, strict=True))
            sets["born_charges"] = (reference.ravel(), predicted.ravel())
            _tell_order(reference, predicted)

    errors = {name: Errors.of(pair[1], pair[0], name in OF_CHARGES) for name, pair in sets.items()}
    symbols = np.hstack([frame.atoms.get_chemical_symbols() for frame in labelled])
    table = []
    if has_charges:
        table = charge_table(symbols, sign * np.hstack(charges), sets.get("charges"), predictor.symbols)
    print_tables(errors, table, sign, len(labelled), options.model)
    if isinstance(predictor, EnginePredictor) and predictor.long_range_description is not None:
        print(f"long-range energy: {predictor.long_range_description}")
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        write_files(options.output, options.model, options.data, errors, table, sign, sets)
        written = []
        for index, (frame, prediction) in enumerate(zip(labelled, predictions, strict=True)):
            atomic = sign * charges[index] if has_charges else None
            written.append(with_prediction(frame, prediction, atomic, None if born is None else born[index]))
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
    parser.add_argument(
        "--born-charges-order",
        choices=get_args(Order),
        default=POLARIZATION_FIRST,
        help="first of their two indices (default: %(default)s)",
    )
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


def _reference_born_charges(labelled: list[LabelledFrame], options: argparse.Namespace) -> list[np.ndarray | None]:
    """Born charges (n_atoms, 3, 3) of the frames that have them, dP_a/dr_ib; LESError if they are in another order."""
    references: list[np.ndarray | None] = []
    molecules = []
    for frame in labelled:
        stored = _label(frame, "born_charges", options.born_charges_key, (len(frame.atoms), 3, 3))
        references.append(None if stored is None else in_order(stored, options.born_charges_order))
        dipole = None if is_periodic(frame.atoms) else _label(frame, "dipole", options.dipole_key, (3,))
        if references[-1] is not None and dipole is not None:
            molecules.append((frame.atoms.positions, dipole, references[-1]))
    check_order(molecules, options.born_charges_order, "--born-charges-order")
    return references


def _tell_order(reference: np.ndarray, predicted: np.ndarray) -> None:
    """Says so if the Born charges (n_atoms, 3, 3) fit clearly better with the indices of the reference exchanged."""
    error, exchanged = (
        float(np.sqrt(np.mean((predicted - values) ** 2))) for values in (reference, reference.transpose(0, 2, 1))
    )
    if exchanged < 0.9 * error:
        print(
            "les-eval: with their indices exchanged the reference Born charges fit better "
            f"(RMSE {1000 * exchanged:.4g} in place of {1000 * error:.4g} me); see --born-charges-order"
        )


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
