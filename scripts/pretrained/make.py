"""Makes the models of python/les_md/pretrained_models.

    python scripts/pretrained/make.py water-pbe0 --data FOLDER          # FOLDER with water_pbe0ts.xyz, see `les-data`
    python scripts/pretrained/make.py demo-liquid --data demo/training  # after `make demo`, which trained it

water-pbe0 is trained with the settings of water-pbe0.yaml beside this file, in a call that may be interrupted. Then the
model is exported and its folder written: both files, errors, numbers for the tests, and the card from NAME.card.md.
What the package carries holds no frame of the data: les-export checks on frames made by hand (frames.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import string
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from frames import hand_made_frames

from les_md.checkpoint import load_checkpoint, save_checkpoint
from les_md.engine import Engine, unrelated_frames
from les_md.export import export_model, frames_to_plain
from les_md.predictions import EnginePredictor, Errors
from les_md.pretrained_models import CARD_FILE, CHECKPOINT_FILE, EXPORTED_FILE, RECORD_FILE
from les_md.training.data import build_frames, split_frames
from les_md.training.data_settings import DataSettings
from les_md.training.labels import LabelledFrame, read_frames

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "python" / "les_md" / "pretrained_models"
PROGRAMS = Path(sys.executable).parent
DEMO = "demo-liquid"
NAMES = ("water-pbe0", DEMO)
CHARGE_SIGN = ("O", -1)


def checkpoint_of(name: str, data: Path, output: Path, long_range: bool) -> Path:
    """The checkpoint of `name`, with or without LES: that of the demo, or a new one."""
    if name == DEMO:
        return data / ("les.pt" if long_range else "short_range.pt")
    return train(name, data, output, long_range)


def train(name: str, data: Path, output: Path, long_range: bool) -> Path:
    """Trains with the settings of `name`, with or without LES; returns the checkpoint."""
    settings = yaml.safe_load((HERE / f"{name}.yaml").read_text())
    for key in ("train", "valid"):
        if key in settings["data"]:
            settings["data"][key] = str(data / settings["data"][key])
    settings["output"] = str(output / (name if long_range else f"{name}-short-range"))
    if not long_range:
        settings["model"]["long_range"] = None
    config = Path(f"{settings['output']}.yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if subprocess.run([PROGRAMS / "les-train", config, "--resume"], env=environment, check=False).returncode != 0:
        raise SystemExit(f"make.py: error: training of {name} failed, its message is above")
    return Path(settings["output"]) / "model.pt"


def validation_frames(name: str, data: Path) -> list[LabelledFrame]:
    """The frames that the training did not fit: those left out by the seed, or held-out ones."""
    if name == DEMO:
        files = [data / "held_out.xyz"]
        return read_frames(files, DataSettings(train=files), True, True, False)
    settings = yaml.safe_load((HERE / f"{name}.yaml").read_text())
    files = [data / settings["data"]["train"]]
    frames = read_frames(files, DataSettings(train=files), True, True, False)
    return split_frames(frames, settings["data"]["valid_fraction"], settings["training"]["seed"])[1]


def errors_of(path: Path, frames: list[LabelledFrame]) -> dict[str, Any]:
    """Root mean square errors of the exported file: energies, forces, forces by element; mean charges by element."""
    predictor = EnginePredictor(path, threads=1)
    built = build_frames(frames, predictor.symbols, predictor.cutoff, allow_lone_atoms=False)
    predictions = list(predictor.predict(built))
    energy = np.array([p.energy / len(f.atoms) for p, f in zip(predictions, frames, strict=True)])
    reference = np.array([f.energy / len(f.atoms) for f in frames])
    forces, labels = np.vstack([p.forces for p in predictions]), np.vstack([f.forces for f in frames])
    symbols = np.hstack([f.atoms.get_chemical_symbols() for f in frames])
    result: dict[str, Any] = {
        "energy_meV_per_atom": 1000 * Errors.of(energy, reference).rmse,
        "forces_meV_per_angstrom": 1000 * Errors.of(forces, labels).rmse,
    }
    for symbol in predictor.symbols:
        chosen = symbols == symbol
        result[f"forces_{symbol}_meV_per_angstrom"] = 1000 * Errors.of(forces[chosen], labels[chosen]).rmse
    if predictor.has_long_range:
        charges = np.hstack([p.latent_charges.sum(1) for p in predictions]) * predictor.charge_scale
        result["charges_e"] = {
            symbol: [float(charges[symbols == symbol].mean()), float(charges[symbols == symbol].std())]
            for symbol in predictor.symbols
        }
    return result


def write_files(name: str, checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Checkpoint without paths and frames of where it was trained, and the exported file; returns its record."""
    model, training = load_checkpoint(checkpoint)
    frames = hand_made_frames()
    training["check_frames"] = frames_to_plain(frames)
    source = training["settings"]["data"]
    for key in ("train", "valid"):
        source[key] = [Path(path).name for path in source[key]]
    training["settings"]["output"] = name
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / CHECKPOINT_FILE, model, training)
    record, _ = export_model(model, folder / EXPORTED_FILE, frames, training, charge_sign=CHARGE_SIGN)
    remove_source_paths(folder / EXPORTED_FILE)
    return record


def remove_source_paths(path: Path) -> None:
    """Takes the debug records out of a TorchScript file: they name the sources where it was made."""
    with zipfile.ZipFile(path) as archive:
        entries = [
            (info, archive.read(info)) for info in archive.infolist() if not info.filename.endswith(".debug_pkl")
        ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            archive.writestr(info.filename, content)


def reference_numbers(path: Path) -> list[dict[str, Any]]:
    """Energies (eV) and forces (eV/angstrom) of the hand-made frames, by the engine."""
    engine = Engine(path, threads=1, solver="direct")
    references = []
    for atoms, plain in zip(hand_made_frames(), frames_to_plain(hand_made_frames()), strict=True):
        types = engine.types_of(atoms.get_chemical_symbols())
        with unrelated_frames():
            output = engine.compute(atoms.positions, types, np.asarray(atoms.cell), bool(atoms.pbc.all()))
        plain["positions"] = np.round(atoms.positions, 6).tolist()
        references.append({**plain, "energy": output["energy"], "forces": np.round(output["forces"], 6).tolist()})
    return references


def write_record(name: str, folder: Path, exported: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    """record.json."""
    card = (HERE / f"{name}.card.md").read_text().splitlines()
    record = {
        "name": name,
        "what": next(line for line in card if line and not line.startswith("#")),
        "symbols": exported["symbols"],
        "cutoff": exported["cutoff"],
        "dtype": exported["dtype"],
        "torch_version": exported["torch_version"],
        "sha256": {
            file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (EXPORTED_FILE, CHECKPOINT_FILE)
        },
        "errors": errors,
        "references": reference_numbers(folder / EXPORTED_FILE),
    }
    (folder / RECORD_FILE).write_text(json.dumps(record) + "\n")
    return record


def write_card(name: str, folder: Path, exported: dict[str, Any], record: dict[str, Any]) -> None:
    """The card from NAME.card.md with the numbers filled in."""
    training = exported["training"]
    les, short = record["errors"]["les"], record["errors"].get("short_range")
    rows = ["| RMSE | LES |", "|---|---|"] if short is None else ["| RMSE | LES | short range only |", "|---|---|---|"]
    for key in les:
        if key != "charges_e":
            label = key.replace("_meV_per_atom", ", meV/atom").replace("_meV_per_angstrom", ", meV/angstrom")
            other = "" if short is None else f" {short[key]:.3g} |"
            rows.append(f"| {label.replace('_', ' of ')} | {les[key]:.3g} |{other}")
    charges = ", ".join(
        f"{symbol} {mean:+.3f} e (standard deviation {deviation:.3f})"
        for symbol, (mean, deviation) in les.get("charges_e", {}).items()
    )
    values = {
        "errors": "\n".join(rows),
        "frames": record["errors"]["frames"],
        "charges": charges,
        "epochs": training["settings"]["training"]["epochs"],
        "epoch": training["epoch"] + 1,
        "train_frames": training["n_train_frames"],
        "valid_frames": training["n_valid_frames"],
        "parameters": sum(p.numel() for p in load_checkpoint(folder / CHECKPOINT_FILE)[0].parameters()),
        "size": round((folder / EXPORTED_FILE).stat().st_size / 1000),
        "torch": torch.__version__.split("+")[0],
        "version": exported["les_md_version"],
        "date": training["date"][:10],
        "hash": record["sha256"][EXPORTED_FILE],
    }
    text = string.Template((HERE / f"{name}.card.md").read_text()).substitute(values)
    (folder / CARD_FILE).write_text(text)


def main() -> None:
    """Trains, exports and writes the folder of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data", type=Path, required=True, help="folder with the frames")
    parser.add_argument("--work", type=Path, default=Path("build/pretrained"), help="folder for the trainings")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="folder of all models (default: in the package)")
    parser.add_argument(
        "--short-range", action="store_true", help="also a model without LES, for the table of the card"
    )
    options = parser.parse_args()
    data, work, folder = options.data.resolve(), options.work.resolve(), options.output / options.name
    exported = write_files(options.name, checkpoint_of(options.name, data, work, long_range=True), folder)
    frames = validation_frames(options.name, data)
    what = "held-out frames" if options.name == DEMO else "validation frames"
    errors: dict[str, Any] = {"frames": f"{len(frames)} {what}", "les": errors_of(folder / EXPORTED_FILE, frames)}
    if options.short_range:
        model, training = load_checkpoint(checkpoint_of(options.name, data, work, long_range=False))
        work.mkdir(parents=True, exist_ok=True)
        path = work / f"{options.name}-short-range.les.pt"
        export_model(model, path, hand_made_frames(), training)
        errors["short_range"] = errors_of(path, frames)
    record = write_record(options.name, folder, exported, errors)
    write_card(options.name, folder, exported, record)
    print(f"wrote {folder}")


if __name__ == "__main__":
    main()
