"""The main job end to end on water: classical reference data, training, export, MD in LAMMPS and OpenMM, plots.

    python examples/water_demo/run.py [--output demo] [--quick]

This file holds the list of stages; what each does is in the file of its name beside this one. A second call does only
what is missing or out of date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from analysis import analyse
from models import ModelFiles, export, train
from reference_data import HERE, make_reference_data
from rich.console import Console
from rich.table import Table
from settings import FULL, QUICK, DemoSettings, record_settings
from simulations import run_lammps, run_openmm
from stages import DemoError, Stage, run_stages


def stages(settings: DemoSettings, output: Path) -> list[Stage]:
    """The stages of the demo with their files, all below `output`."""
    record = output / "settings.json"
    frames = output / "training"
    frame_files = [frames / f"{use}.xyz" for use in ("training", "validation", "held_out")]
    reference = output / "reference.xyz"
    classical = output / "classical"
    les = ModelFiles(frames / "les", output / "water.les.pt", long_range=True)
    short_range = ModelFiles(frames / "short_range", output / "water_short_range.les.pt", long_range=False)
    lammps, openmm = output / "lammps", output / "openmm"
    trajectories = {
        "classical": classical / "reference_trajectory.npz",
        "LES": lammps / "trajectory.npz",
    }
    energies = {"LAMMPS": lammps / "energies.csv", "OpenMM": openmm / "energies.csv"}

    def analyse_all() -> None:
        exported = {"LES": les.exported, "short range": short_range.exported}
        analyse(frames, exported, trajectories, energies, output)

    plots = [output / "plots" / f"{name}.png" for name in ("parity", "charges", "radial_distributions", "energy_drift")]
    metrics = [output / "metrics.csv", output / "metrics.md"]
    return [
        Stage(
            "classical reference data (LAMMPS)",
            [record, HERE / "in.spc_water", HERE / "spc_water.potential"],
            [reference, *frame_files, trajectories["classical"]],
            lambda: make_reference_data(settings, classical, reference, frames),
        ),
        Stage(
            "training of the LES model (les-train)",
            [record, *frame_files],
            [les.checkpoint],
            lambda: train(les, settings, frames),
        ),
        Stage(
            "training of the short-range model (les-train)",
            [record, *frame_files],
            [short_range.checkpoint],
            lambda: train(short_range, settings, frames),
        ),
        Stage(
            "export of the LES model (les-export)",
            [les.checkpoint],
            [les.exported],
            lambda: export(les),
        ),
        Stage(
            "export of the short-range model (les-export)",
            [short_range.checkpoint],
            [short_range.exported],
            lambda: export(short_range),
        ),
        Stage(
            "molecular dynamics in LAMMPS on 2 MPI ranks",
            [record, les.exported, HERE / "in.les_water"],
            [trajectories["LES"], energies["LAMMPS"]],
            lambda: run_lammps(les.exported, frames, settings, lammps),
        ),
        Stage(
            "molecular dynamics in OpenMM",
            [record, les.exported],
            [energies["OpenMM"]],
            lambda: run_openmm(les.exported, frames, settings, openmm),
        ),
        Stage(
            "analysis",
            [*frame_files, les.exported, short_range.exported, *trajectories.values(), *energies.values()],
            [*metrics, *plots],
            analyse_all,
        ),
    ]


def print_summary(output: Path, console: Console) -> None:
    """The metrics and the files made."""
    table = Table("quantity", "value", "unit", title="Water demo")
    for line in (output / "metrics.md").read_text().splitlines()[2:]:
        table.add_row(*(cell.strip() for cell in line.strip("|").split("|")))
    console.print(table)
    console.print(f"Files in {output}:")
    for path in sorted(output.iterdir()):
        size = f"{path.stat().st_size / 1e6:8.2f} MB" if path.is_file() else "     folder"
        console.print(f"  {size}  {path.name}", highlight=False)


def main() -> int:
    """Runs the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description="The whole path of les-md on a classical model of water.")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for all results (default: demo)")
    parser.add_argument("--quick", action="store_true", help="tiny version that only shows that every stage works")
    options = parser.parse_args()
    output = options.output.resolve()
    settings = QUICK if options.quick else FULL
    console = Console()
    try:
        output.mkdir(parents=True, exist_ok=True)
        record_settings(settings, output / "settings.json")
        run_stages(stages(settings, output), output / "timings.json", console)
    except (DemoError, OSError) as error:
        print(f"water demo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("water demo: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print_summary(output, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
