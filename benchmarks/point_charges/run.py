"""How well an LES model finds charges from energies and forces alone: 64 charges of +1 e and 64 of -1 e in a box.

    python benchmarks/point_charges/run.py            # 200 frames, about ten minutes of one core

LAMMPS makes the data (in.point_charges: the true Coulomb sum and a short repulsion), `les-train` trains on energies and
forces, and the charges of the exported model on frames of an independent run are compared with the true ones, up to
their common sign. Published elsewhere for a system of this kind: a mean absolute error of 0.003 e (arXiv 2412.15455).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent  # lmp and les-* are installed beside this python
CHARGES = {"Na": 1.0, "Cl": -1.0}  # e; the names only tell the two kinds apart


@dataclass(frozen=True)
class Size:
    """Cost of the benchmark."""

    n_training: int
    n_held_out: int
    epochs: int
    equilibration: int = 5_000  # steps of 1 fs
    steps_between: int = 200


SIZES = {
    "full": Size(n_training=200, n_held_out=50, epochs=20),
    "quick": Size(n_training=6, n_held_out=2, epochs=2, equilibration=500, steps_between=50),
}
BOX_LENGTH = 16.0  # angstrom
TEMPERATURE = 3000.0  # K
MODEL = {"symbols": list(CHARGES), "cutoff": 4.5, "dtype": "float64"}
TRAINING = {
    "batch_size": 2,
    "schedule": {"kind": "cosine", "warmup_epochs": 1, "final_factor": 0.01},
    "weight_decay": 0.1,  # nothing here depends on the surroundings but the repulsion
    "seed": 1,
    "device": "cpu",
}


def sample(folder: Path, n_frames: int, seed: int, size: Size) -> list[Atoms]:
    """Labelled frames of one LAMMPS run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {
        "length": BOX_LENGTH,
        "temperature": TEMPERATURE,
        "equilibration": size.equilibration,
        "steps": n_frames * size.steps_between,
        "every": size.steps_between,
        "seed": seed,
    }
    words = [word for name, value in variables.items() for word in ("-var", name, str(value))]
    run([PROGRAMS / "lmp", "-in", HERE / "in.point_charges", *words], folder, quiet=True)
    energies: dict[int, float] = {}
    for line in (folder / "log.lammps").read_text().splitlines():
        columns = line.split()
        if columns[:1] == ["Step"]:
            energies = {}
        elif len(columns) == 3 and columns[0].isdigit():
            energies[int(columns[0])] = float(columns[1])
    frames = ase.io.read(folder / "frames.dump", index=":", format="lammps-dump-text")
    labelled = []
    for atoms, energy in list(zip(frames, energies.values(), strict=True))[1:]:
        symbols = [list(CHARGES)[number - 1] for number in atoms.arrays["type"]]
        frame = Atoms(symbols, positions=atoms.positions, cell=[BOX_LENGTH] * 3, pbc=True)
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=atoms.get_forces())
        frame.set_array("reference_charges", np.array([CHARGES[symbol] for symbol in symbols]))
        labelled.append(frame)
    return labelled


def run(command: list[str | Path], folder: Path, quiet: bool = False) -> None:
    """Runs a program in `folder`; ends this one with one line if it fails."""
    words = [str(word) for word in command]
    output = subprocess.PIPE if quiet else None
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if quiet else {})
    result = subprocess.run(words, cwd=folder, stdout=output, env=environment, text=True, check=False)
    if result.returncode != 0:
        name = Path(words[0]).name
        raise SystemExit(f"point charges: error: {name} ended with status {result.returncode}, see {folder}")


def make_data(folder: Path, size: Size) -> None:
    """Writes training.xyz, validation.xyz (a tenth of the same run) and held_out.xyz (another run)."""
    frames = sample(folder / "training_run", size.n_training, 1, size)
    validation = frames[5::10]
    training = [frame for index, frame in enumerate(frames) if index % 10 != 5]
    parts = {
        "training": training,
        "validation": validation,
        "held_out": sample(folder / "held_out_run", size.n_held_out, 2, size),
    }
    for name, part in parts.items():
        temporary = folder / f".partial-{name}.xyz"
        ase.io.write(temporary, part, format="extxyz")
        temporary.rename(folder / f"{name}.xyz")


def train(data: Path, folder: Path, size: Size) -> None:
    """Trains and exports; an interrupted training of the same settings goes on where it was."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "data": {"train": str(data / "training.xyz"), "valid": str(data / "validation.xyz")},
        "model": MODEL,
        "training": training_settings(size),
        "output": str(folder / "model"),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run([PROGRAMS / "les-train", "config.yaml", "--resume"], folder)
    run([PROGRAMS / "les-export", "model/model.pt", "--output", "point_charges.les.pt"], folder)


def training_settings(size: Size) -> dict[str, Any]:
    """Section `training` of les-train."""
    return TRAINING | {"epochs": size.epochs}


def evaluate(data: Path, folder: Path) -> dict[str, float]:
    """Errors on the held-out frames."""
    from les_md.ase import LESCalculator

    calculator = LESCalculator(str(folder / "point_charges.les.pt"))
    energy_errors, force_errors, learned, true = [], [], [], []
    for frame in ase.io.read(data / "held_out.xyz", index=":"):
        atoms = frame.copy()
        atoms.calc = calculator
        energy_errors.append((atoms.get_potential_energy() - frame.get_potential_energy()) / len(atoms))
        force_errors.append(atoms.get_forces() - frame.get_forces())
        learned.append(atoms.get_charges())
        true.append(frame.arrays["reference_charges"])
    charges, reference = np.concatenate(learned), np.concatenate(true)
    charges = charges * (1.0 if np.dot(charges, reference) >= 0 else -1.0)
    return {
        "energy_mae_meV_per_atom": 1000 * float(np.mean(np.abs(energy_errors))),
        "forces_mae_meV_per_angstrom": 1000 * float(np.mean(np.abs(force_errors))),
        "charge_mae_e": float(np.mean(np.abs(charges - reference))),
        "mean_positive_charge_e": float(np.mean(charges[reference > 0])),
        "mean_negative_charge_e": float(np.mean(charges[reference < 0])),
    }


def digest(*settings: Any) -> str:
    """Eight letters that stand for `settings`."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description="Charges learned from energies and forces of random point charges.")
    parser.add_argument("--output", type=Path, default=Path("build/point_charges"), help="folder for data and results")
    parser.add_argument("--quick", action="store_true", help="a few frames and epochs: shows that it runs")
    options = parser.parse_args()
    name = "quick" if options.quick else "full"
    size = SIZES[name]
    # other settings get another folder, so that results never mix
    sampling = [size.n_training, size.n_held_out, size.equilibration, size.steps_between, BOX_LENGTH, TEMPERATURE]
    data = options.output.resolve() / f"{name}-data-{digest(sampling, (HERE / 'in.point_charges').read_text())}"
    folder = options.output.resolve() / f"{name}-{digest(data.name, MODEL, training_settings(size))}"
    start = time.monotonic()
    if not (data / "held_out.xyz").exists():
        print("sampling with LAMMPS", flush=True)
        make_data(data, size)
    train(data, folder, size)
    results = evaluate(data, folder) | {"seconds": time.monotonic() - start}
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    for quantity, value in results.items():
        print(f"{quantity:30s} {value:10.5g}")


if __name__ == "__main__":
    main()
