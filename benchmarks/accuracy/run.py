"""Accuracy on public data: `python benchmarks/accuracy/run.py --data FOLDER`.

FOLDER holds the files that `les-data` describes. Trainings run one at a time on one core at low priority; a call that
is interrupted goes on where it was, and trainings that are done are not run again. `--only` chooses groups:

    water           liquid water with and without LES, three seeds
    learning_curve  the same on 10, 30, 100 and all training frames
    times           force error against training time, also of a network with messages, with and without LES
    dipeptides      polar dipeptides in vacuum with and without LES, three seeds; neutral charges, one seed
    dimers          energy against separation of charged and polar dimers, beyond the training range

Results and figures are written to --output; report.py prints the tables again without training.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import ase.io
import numpy as np
from report import write_report
from trainings import PROGRAMS, Training, run

from les_md.datasets.catalogue import dataset
from les_md.datasets.program import check
from les_md.errors import LESError
from les_md.training.data import split_frames
from les_md.training.data_settings import DataSettings
from les_md.training.labels import read_frames

WATER = "water_pbe0.yaml"
WATER_MESSAGES = "water_pbe0_messages.yaml"
WATER_FILE = "water_pbe0ts.xyz"
SEEDS = (0, 1, 2)
SEED_EPOCHS = 6
SIZES = (10, 30, 100, 288)
STEPS = 1728  # of each training of the learning curve: 6 epochs of all frames
TIME_EPOCHS = (12, 30, 60)
NICENESS = 15
PAIRS = ("CC", "CP", "PP", "CA")
DATA = dict.fromkeys(("water", "learning_curve", "times"), "water_pbe0ts")
DATA |= {"dipeptides": "dipeptides", "dimers": "charged_dimers"}
KINDS = {"LES": True, "short range": False}


def water(seeds: tuple[int, ...]) -> list[Training]:
    """The same network with and without LES for several seeds, which also choose the validation frames."""
    return [
        Training(
            "water", f"{kind.replace(' ', '_')}-seed{seed}", WATER, long_range, SEED_EPOCHS, seed,
            labels={"kind": kind, "seed": seed},
        )
        for seed in seeds
        for kind, long_range in KINDS.items()
    ]  # fmt: skip


def learning_curve(data: Path, output: Path, seeds: tuple[int, ...]) -> list[Training]:
    """Subsets of the training frames, as many steps for each; the validation frames of a seed are the same for all."""
    trainings = []
    for seed in seeds:
        files = write_subsets(data / WATER_FILE, output / "learning_curve" / f"frames-seed{seed}", seed)
        for size in SIZES:
            for kind, long_range in KINDS.items():
                trainings.append(
                    Training(
                        "learning_curve", f"{kind.replace(' ', '_')}-{size}-seed{seed}", WATER, long_range,
                        STEPS // size, seed, files[str(size)], files["valid"],
                        labels={"kind": kind, "frames": size, "seed": seed},
                    )
                )  # fmt: skip
    return trainings


def write_subsets(path: Path, folder: Path, seed: int) -> dict[str, Path]:
    """Files of the first frames of a random order, and of the validation frames that the seed leaves out of all."""
    names = {**{str(size): f"train{size}.xyz" for size in SIZES}, "valid": "valid.xyz"}
    files = {key: folder / name for key, name in names.items()}
    if all(file.exists() for file in files.values()):
        return files
    labelled = read_frames([path], DataSettings(train=[path]), True, True, False)
    train, valid = split_frames(labelled, 0.1, seed)
    frames = {frame.source: frame.atoms for frame in (*train, *valid)}
    order = np.random.default_rng(seed).permutation(len(train))
    folder.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        chosen = [frames[train[index].source] for index in order[:size]]
        ase.io.write(files[str(size)], chosen, format="extxyz")
    ase.io.write(files["valid"], [frames[frame.source] for frame in valid], format="extxyz")
    return files


def times() -> list[Training]:
    """Trainings of different lengths, and a network with messages, with and without LES."""
    local = [
        Training("times", f"LES-{epochs}epochs", WATER, True, epochs, 0, labels={"kind": "LES", "epochs": epochs})
        for epochs in TIME_EPOCHS
    ]
    messages = [
        Training(
            "times", f"{kind.replace(' ', '_')}-messages", WATER_MESSAGES, long_range, seed=0,
            labels={"kind": f"{kind}, messages"},
        )
        for kind, long_range in KINDS.items()
    ]  # fmt: skip
    return local + messages


def dipeptides(seeds: tuple[int, ...]) -> list[Training]:
    """As examples/training says, with and without LES; each goes on at lower learning rates."""
    trainings = []
    for seed in seeds:
        for kind, long_range in KINDS.items():
            name = f"{kind.replace(' ', '_')}-seed{seed}"
            labels = {"kind": kind, "seed": seed}
            first = Training("dipeptides", name, "dipeptides.yaml", long_range, seed=seed, labels=labels)
            again = Training(
                "dipeptides", f"{name}-continued", "dipeptides_continued.yaml", long_range, seed=seed, initial=first,
                labels=labels | {"continued": True},
            )  # fmt: skip
            trainings += [first, again]
    return trainings


def neutral_dipeptides() -> list[Training]:
    """With charges that are shifted to be neutral, one seed; the continuation takes the network as it is."""
    labels = {"kind": "LES, neutral", "seed": 0}
    first = Training("dipeptides", "LES_neutral-seed0", "dipeptides.yaml", seed=0, neutrality=True, labels=labels)
    again = Training(
        "dipeptides", "LES_neutral-seed0-continued", "dipeptides_continued.yaml", seed=0, initial=first,
        labels=labels | {"continued": True},
    )  # fmt: skip
    return [first, again]


def dimers(pairs: tuple[str, ...]) -> list[Training]:
    """As examples/training says, each pair of molecules by itself, with and without LES."""
    return [
        Training(
            "dimers", f"{pair}-{kind.replace(' ', '_')}", "charged_dimers.yaml", long_range,
            select={"label": pair}, labels={"kind": kind, "pair": pair},
        )
        for pair in pairs
        for kind, long_range in KINDS.items()
    ]  # fmt: skip


def main() -> None:
    """Runs what is missing and writes the report."""
    groups = ("water", "learning_curve", "times", "dipeptides", "dimers")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the files that les-data describes")
    parser.add_argument("--output", type=Path, default=Path("build/accuracy"), help="folder for trainings and results")
    parser.add_argument("--only", choices=groups, action="append", help="group to run; may be repeated (default: all)")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many seeds (default: %(default)s)")
    parser.add_argument("--pairs", choices=PAIRS, nargs="+", default=PAIRS, help="dimers (default: %(default)s)")
    options = parser.parse_args()
    chosen = options.only or groups
    data, output, seeds = options.data.resolve(), options.output.resolve(), tuple(range(options.seeds))
    if not (PROGRAMS / "les-train").exists():
        raise SystemExit(f"accuracy: error: {PROGRAMS} has no les-train; install les-md there")
    try:
        for name in sorted({DATA[group] for group in chosen}):
            for file in dataset(name).files:
                print(check(dataset(name), data / file.name), flush=True)
        trainings: list[Training] = []
        trainings += water(seeds) if "water" in chosen else []
        trainings += times() if "times" in chosen else []
        trainings += [*dipeptides(seeds), *neutral_dipeptides()] if "dipeptides" in chosen else []
        trainings += dimers(tuple(options.pairs)) if "dimers" in chosen else []
        trainings += learning_curve(data, output, seeds[:2]) if "learning_curve" in chosen else []
    except LESError as error:
        raise SystemExit(f"accuracy: error: {error}") from None
    os.nice(max(0, NICENESS - os.nice(0)))
    for training in trainings:
        run(training, data, output)
    write_report(output, data)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
