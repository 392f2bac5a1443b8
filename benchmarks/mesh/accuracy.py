"""Asked against measured accuracy of the mesh solver: kernels, cells, windows of every width, spacings, precisions.

    python benchmarks/mesh/accuracy.py         # minutes on one core
    python benchmarks/mesh/accuracy.py --quick

The reference is the direct sum (les_md.EwaldSolver). Force errors are rms errors over the rms force of the same charges
placed at random, which is what `accuracy` means; virial errors are relative to the rms norm of the virial of such
charges (and, in a column of their own, to the virial of the box), those of potentials to the rms potential of the box.
Status 1 if the error of forces or potentials is above the accuracy asked for, or a virial's above five times it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference import SMEARING, random_force, random_virial, rms
from report import table
from systems import ChargedBox, elongated_ions, random_ions, rock_salt, triclinic_ions, water

import les_md
from les_md.errors import LESError

K_CUTOFF = float(np.pi)  # 1/angstrom
ACCURACIES = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
WIDTHS = list(range(4, 13))
SPACINGS = [0.9, 0.75, 0.6, 0.45]  # angstrom
VIRIAL_FACTOR = 5.0
Entry = dict[str, Any]


class Measured:
    """A box with its direct sum for one kernel."""

    def __init__(self, box: ChargedBox, k_cutoff: float | None) -> None:
        self.box, self.k_cutoff = box, k_cutoff
        self.exact = les_md.EwaldSolver(SMEARING, k_cutoff).compute(box.charges, box.positions, box.cell)
        self.random_force = random_force(box, SMEARING, k_cutoff)
        self.random_virial = random_virial(box, SMEARING, k_cutoff)

    def errors(self, **options: Any) -> Entry:
        """Errors of a mesh solver with these options, and what it chose."""
        solver = les_md.MeshSolver(SMEARING, self.k_cutoff, **options)
        box = self.box
        with warnings.catch_warnings():
            # narrow windows and coarse meshes are part of the question
            warnings.filterwarnings("ignore", message="the estimated error")
            result = solver.compute(box.charges, box.positions, box.cell)
        exact = self.exact
        potentials = np.asarray(exact.potentials)
        virial = float(np.linalg.norm(result.virial - exact.virial))
        entry = {
            "box": box.name,
            "kernel": "converged" if self.k_cutoff is None else f"k_c = {self.k_cutoff:.4g}",
            "options": {name: value for name, value in options.items()},
            "force_error": rms(np.asarray(result.forces) - exact.forces) / self.random_force,
            "force_error_over_rms_force": rms(np.asarray(result.forces) - exact.forces) / rms(exact.forces),
            "potential_error": float(np.linalg.norm(result.potentials - potentials) / np.linalg.norm(potentials)),
            "virial_error": virial / self.random_virial,
            "virial_error_over_norm": virial / float(np.linalg.norm(exact.virial)),
            "energy_error_per_atom": abs(float(result.energy) - float(exact.energy)) / len(box.charges),
            "net_force": float(np.linalg.norm(result.net_force)),
        }
        plan = solver.plan
        entry["plan"] = {
            "mesh": [int(points) for points in plan["mesh"]],
            "interpolation_nodes": int(plan["interpolation_nodes"]),
            "spacing": float(max(plan["spacing"])),
            "estimated_error": float(plan["estimated_error"]),
        }
        return entry

    def errors_if_reached(self, **options: Any) -> Entry | None:
        """As `errors`; None where the solver refuses because the width cannot reach the accuracy."""
        try:
            return self.errors(**options)
        except LESError as error:
            if "is out of reach of" not in str(error):
                raise
            return None


def fails(entry: Entry) -> bool:
    """Whether a choice made for an accuracy misses it."""
    asked = entry["options"]["accuracy"]
    return bool(
        entry["force_error"] > asked
        or entry["potential_error"] > asked
        or entry["virial_error"] > VIRIAL_FACTOR * asked
    )


def mesh_words(entry: Entry) -> str:
    """Mesh points along the three cell vectors."""
    return " x ".join(str(points) for points in entry["plan"]["mesh"])


def chosen_table(entries: list[Entry]) -> str:
    """Asked against measured where the solver chose everything."""
    head = [
        "box",
        "kernel",
        "dtype",
        "asked",
        "p",
        "mesh",
        "estimated",
        "forces",
        "potentials",
        "virial",
        "virial over its norm",
        "energy, eV/atom",
    ]
    lines = [
        [
            entry["box"],
            entry["kernel"],
            entry["options"]["dtype"],
            f"{entry['options']['accuracy']:.0e}",
            str(entry["plan"]["interpolation_nodes"]),
            mesh_words(entry),
            f"{entry['plan']['estimated_error']:.1e}",
            f"{entry['force_error']:.1e}" + (" **above**" if fails(entry) else ""),
            f"{entry['potential_error']:.1e}",
            f"{entry['virial_error']:.1e}",
            f"{entry['virial_error_over_norm']:.1e}",
            f"{entry['energy_error_per_atom']:.1e}",
        ]
        for entry in entries
    ]
    return table(head, lines)


def summary_table(entries: list[Entry], accuracies: list[float]) -> str:
    """Force, potential and virial errors of every box and kernel (rows) and accuracy asked for (columns)."""
    lines = []
    for box, kernel in dict.fromkeys((entry["box"], entry["kernel"]) for entry in entries):
        row = [e for e in entries if (e["box"], e["kernel"]) == (box, kernel)]
        by_accuracy = {e["options"]["accuracy"]: e for e in row}
        errors = [[by_accuracy[a][f"{name}_error"] for name in ("force", "potential", "virial")] for a in accuracies]
        lines.append([box, kernel, *(" / ".join(f"{error:.0e}" for error in three) for three in errors)])
    return table(["box", "kernel", *(f"{a:.0e}" for a in accuracies)], lines)


def grid_table(entries: list[Entry], column: str, columns: list[float], title: str) -> str:
    """Measured (estimated) force error of every width (rows) and value of one option (columns)."""
    lines = []
    for nodes in WIDTHS:
        cells = []
        for value in columns:
            found = [
                e for e in entries if e["options"]["interpolation_nodes"] == nodes and e["options"][column] == value
            ]
            cells.append(
                "; ".join(f"{e['force_error']:.1e} ({e['plan']['estimated_error']:.1e})" for e in found)
                if found
                else "refused"
            )
        lines.append([f"p = {nodes}", *cells])
    return table([title, *(f"{value:g}" for value in columns)], lines)


def boxes(quick: bool) -> list[ChargedBox]:
    """The boxes: small, so that the direct sum takes seconds."""
    n = 120 if quick else 480
    cells = 2 if quick else 3
    return [water(n), random_ions(n), rock_salt(cells), triclinic_ions(n), elongated_ions(n)]


def run(options: argparse.Namespace) -> int:
    """All tables; returns the number of choices that missed their accuracy."""
    started = time.monotonic()
    accuracies = ACCURACIES[::2] if options.quick else ACCURACIES
    measured = {(box.name, k): Measured(box, k) for box in boxes(options.quick) for k in (None, K_CUTOFF)}
    chosen = [item.errors(accuracy=a, dtype="float64") for item in measured.values() for a in accuracies]
    single = [
        measured[name, k].errors(accuracy=a, dtype="float32")
        for name in ("water", "triclinic")
        for k in (None, K_CUTOFF)
        for a in accuracies
        if a >= 1e-6
    ]
    parts = [
        "## Forces / potentials / virial, measured, by the accuracy asked for\n",
        summary_table(chosen, accuracies),
        "## Asked against measured\n",
        chosen_table(chosen + single),
        "Forces: rms error over the rms force of the same charges placed at random. Potentials: over the rms potential "
        "of the box. Virial: norm of the error over the rms norm of the virial of charges placed at random, and over "
        "the norm of the box's own.\n",
    ]
    widths, grids = [], []
    for kernel, k in (("converged", None), (f"k_c = {K_CUTOFF:.4g}", K_CUTOFF)):
        item = measured["triclinic", k]
        tried = [item.errors_if_reached(accuracy=a, interpolation_nodes=p) for p in WIDTHS for a in accuracies]
        entries = [entry for entry in tried if entry is not None]
        widths += [entry for entry in entries if entry["plan"]["estimated_error"] <= entry["options"]["accuracy"]]
        parts += [
            f"## Every width, spacing chosen, triclinic ions, {kernel}: measured (estimated) force error\n",
            grid_table(entries, "accuracy", accuracies, "asked"),
        ]
        for window in ("kaiser_bessel", "b_spline"):
            item = measured["water", k]
            entries = [
                item.errors(window=window, interpolation_nodes=p, mesh_spacing=h) for p in WIDTHS for h in SPACINGS
            ]
            grids += entries
            parts += [
                f"## Every width, spacing given, water, {window}, {kernel}: measured (estimated) force error\n",
                grid_table(entries, "mesh_spacing", SPACINGS, "spacing, angstrom"),
            ]
    missed = [entry for entry in chosen + single + widths if fails(entry)]
    options.output.mkdir(parents=True, exist_ok=True)
    record = {"chosen": chosen + single, "widths": widths, "spacings": grids, "seconds": time.monotonic() - started}
    (options.output / "accuracy.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.output / "accuracy.md").write_text("\n".join(parts))
    print("\n".join(parts))
    print(f"{options.output}/accuracy.md, accuracy.json; {record['seconds']:.0f} s; {len(missed)} above what was asked")
    for entry in missed:
        print(
            f"above: {entry['box']}, {entry['kernel']}, {entry['options']}: forces {entry['force_error']:.2e}, "
            f"potentials {entry['potential_error']:.2e}, virial {entry['virial_error']:.2e}"
        )
    return len(missed)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Asked against measured accuracy of the mesh solver.")
    parser.add_argument("--quick", action="store_true", help="smaller boxes, every other accuracy")
    parser.add_argument("--output", type=Path, default=Path("build/mesh_benchmark"), help="folder of the results")
    torch.set_num_threads(1)
    return 1 if run(parser.parse_args()) else 0


if __name__ == "__main__":
    sys.exit(main())
