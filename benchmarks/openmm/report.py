"""Markdown tables of one results.json; `python benchmarks/openmm/report.py build/openmm_benchmark` makes them again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "mesh"))

from machine import machine_sentence

LARGEST_LOAD = 0.15  # processors busy with other programs, above which a timing is not to be trusted
Row = dict[str, Any]


def table(head: list[str], lines: list[list[str]]) -> str:
    """A markdown table, first column left, others right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines]) + "\n"


def rows_of(results: dict[str, Any]) -> dict[str, dict[int, Row]]:
    """Route: atoms: row, of measurements that succeeded."""
    found: dict[str, dict[int, Row]] = {}
    for size in results["sizes"]:
        for row in size["rows"]:
            if "failed" not in row:
                found.setdefault(row["route"], {})[size["atoms"]] = row
    return found


def route_table(
    results: dict[str, Any], cell: Callable[[Row, Row | None, int], str], skip: tuple[str, ...] = ()
) -> str:
    """One line a route, one column a size; `cell` gets the row, LESForce's row and the number of atoms."""
    sizes = [size["atoms"] for size in results["sizes"]]
    rows = rows_of(results)
    lines = []
    for route, of_size in rows.items():
        if route not in skip:
            cells = [cell(of_size[n], rows.get("les", {}).get(n), n) if n in of_size else "" for n in sizes]
            lines.append([results["labels"][route], *cells])
    return table(["route", *map(str, sizes)], lines)


def overhead_table(results: dict[str, Any]) -> str:
    """Where a step of LESForce goes, milliseconds."""
    rows, lines = rows_of(results), []
    for n, row in rows.get("les", {}).items():
        stages = row["stages"]
        alone = rows.get("none", {}).get(n, {}).get("seconds", 0.0)
        rest = row["seconds"] - sum(stages.values()) - alone
        parts = [row["seconds"], stages["network"], stages["long_range"], stages["neighbours"], alone, rest]
        lines.append([str(n), *(f"{1e3 * part:.3f}" for part in parts)])
    head = ["atoms", "step", "network", "long range", "neighbours", "OpenMM alone", "rest"]
    return table(head, lines)


def block_table(results: dict[str, Any]) -> str:
    """Medians of the step time in ten successive blocks of each run, and of its processor time; milliseconds."""
    rows, lines = rows_of(results), []
    for route, of_size in rows.items():
        for n, row in of_size.items() if route != "none" else []:
            for name, key in (("wall", "blocks"), ("processor", "processor_blocks")):
                label = f"{results['labels'][route]}, {n} atoms, {row['steps']} steps, {name}"
                lines.append([label, *(f"{1e3 * block:.2f}" for block in row[key])])
    longest = max((len(line) for line in lines), default=1)
    return table(["block", *map(str, range(1, longest))], [line + [""] * (longest - len(line)) for line in lines])


def notes(results: dict[str, Any]) -> str:
    """Routes that did not run, and measurements that other programs may have disturbed."""
    lines = []
    for size in results["sizes"]:
        for row in size["rows"]:
            label = f"{results['labels'][row['route']]}, {size['atoms']} atoms"
            if "failed" in row:
                lines.append(f"- {label}: {row['failed']}")
            elif row["others"] > LARGEST_LOAD:
                lines.append(f"- {label}: **other programs used {row['others']:.1f} processors**, repeat when idle")
    return "\n".join(lines) + "\n" if lines else "All routes ran, and no other program used the machine.\n"


def write_report(results: dict[str, Any], folder: Path) -> None:
    """report.md in `folder`."""
    step = results["time_step"]
    packages = ", ".join(f"{name} {version}" for name, version in results["machine"]["packages"].items())
    parts = [
        f"# OpenMM benchmark of {results['started']}\n",
        f"`{results['command']}`\n",
        f"Machine: {machine_sentence(results['machine'])}.\nPackages: {packages}.\n",
        f"Water at 0.1 atoms per cubic angstrom, 300 K, Verlet steps of {step:g} fs on the CPU platform, "
        f"{results['threads']} thread(s). Model: {results['model']}.\n",
        notes(results),
        "## ns/day\n",
        route_table(results, lambda row, les, n: f"{86400.0 * step * 1e-6 / row['seconds']:.4g}", ("none",)),
        "## Milliseconds per step\n",
        route_table(results, lambda row, les, n: f"{1e3 * row['seconds']:.2f}"),
        "## Processor time, milliseconds per step\n",
        route_table(results, lambda row, les, n: f"{1e3 * row['processor']:.2f}"),
        "## Time over that of LESForce\n",
        route_table(
            results, lambda row, les, n: f"{row['seconds'] / les['seconds']:.2f}" if les else "", ("les", "none")
        ),
        "## A step of LESForce, milliseconds\n",
        "`rest` is what OpenMM's calls of the force, copies and unit conversions take.\n",
        overhead_table(results),
        "## Last steps over first steps\n",
        route_table(results, lambda row, les, n: f"{row['last'] / row['first']:.2f} ({row['steps']} steps)", ("none",)),
        "## Milliseconds per step in successive tenths of a run\n",
        block_table(results),
        "## Peak memory of the process, MB\n",
        route_table(results, lambda row, les, n: f"{row['memory'] / 2**20:.0f}"),
        "## Largest force difference from LESForce, over the largest force\n",
        route_table(
            results, lambda row, les, n: f"{row['difference']:.0e}" if "difference" in row else "", ("les", "none")
        ),
    ]
    (folder / "report.md").write_text("\n".join(parts))


def main() -> None:
    """Reports on the results in a folder once more."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "results.json").exists():
        raise SystemExit("usage: report.py FOLDER, with a results.json in it")
    folder = Path(sys.argv[1])
    write_report(json.loads((folder / "results.json").read_text()), folder)


if __name__ == "__main__":
    main()
