"""Markdown tables and the log-log plot of one results.json.

python benchmarks/mesh/report.py build/mesh_benchmark      # again from the stored results
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from machine import machine_sentence

OWN = "les-f64"
LARGEST_LOAD = 0.15  # processors busy with other programs, above which a timing is not to be trusted
Row = dict[str, Any]


def label_of(results: dict[str, Any], row: Row) -> str:
    """Solver, kernel and threads in words."""
    solver = results["solvers"][row["solver"]]
    kernel = "" if solver["k_cutoff"] is None else f", k_c = {solver['k_cutoff']:.4g}"
    return solver["label"] + kernel + ("" if row["threads"] == 1 else f", {row['threads']} threads")


def table(head: list[str], lines: list[list[str]], numbers: bool = True) -> str:
    """A markdown table, first column left, others right if they hold numbers."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines]) + "\n"


def by_solver(results: dict[str, Any]) -> dict[str, dict[int, Row]]:
    """Label: atoms: row."""
    found: dict[str, dict[int, Row]] = {}
    for size in results["sizes"]:
        for row in size["rows"]:
            found.setdefault(label_of(results, row), {})[size["atoms"]] = row
    return found


def quantity_table(results: dict[str, Any], quantity: str, scale: str, form: str) -> str:
    """One quantity of all solvers (rows) and sizes (columns): as it is, or per atom (`scale` "seconds" or "bytes").

    Seconds become microseconds.
    """
    sizes = [size["atoms"] for size in results["sizes"]]
    lines = []
    for label, rows in by_solver(results).items():
        cells = []
        for n in sizes:
            factor = {"seconds": 1e6 / n, "bytes": 1.0 / n}.get(scale, 1.0)
            known = quantity in rows.get(n, {})
            exact = quantity == "error" and known and rows[n]["error"] == 0.0
            cells.append("reference" if exact else form.format(factor * rows[n][quantity]) if known else "")
        if any(cells):
            lines.append([label, *cells])
    return table(["solver", *(f"{n}" for n in sizes)], lines)


def ratio_table(results: dict[str, Any]) -> str:
    """Times of the peers over that of the package, same size, same run, one thread."""
    lines = []
    rows_of = by_solver(results)
    own = rows_of.get(results["solvers"][OWN]["label"], {})
    for label, rows in rows_of.items():
        cells = []
        for n in (size["atoms"] for size in results["sizes"]):
            row, ours = rows.get(n, {}), own.get(n, {})
            known = "seconds" in row and "seconds" in ours and row["threads"] == 1
            cells.append(f"{row['seconds'] / ours['seconds']:.2f}" if known else "")
        if any(cells):
            lines.append([label, *cells])
    return table(["time over that of les_md float64", *(f"{size['atoms']}" for size in results["sizes"])], lines)


def thread_table(results: dict[str, Any]) -> str:
    """Speed-up of two threads over one."""
    lines = []
    for size in results["sizes"]:
        rows = {(row["solver"], row["threads"]): row for row in size["rows"] if "seconds" in row}
        for (name, threads), row in rows.items():
            if threads > 1 and (name, 1) in rows:
                label = label_of(results, rows[name, 1])
                lines.append(
                    [label, f"{size['atoms']}", str(threads), f"{rows[name, 1]['seconds'] / row['seconds']:.2f}"]
                )
    return table(["solver", "atoms", "threads", "speed-up"], lines) if lines else ""


def stage_table(results: dict[str, Any]) -> str:
    """Shares of the stages of one evaluation on one thread."""
    lines = []
    for size in results["sizes"]:
        for row in size["rows"]:
            stages = row.get("stages") or {}
            total = sum(stages.values())
            if row["threads"] == 1 and total > 0.0:
                shares = ", ".join(f"{name} {100.0 * seconds / total:.0f} %" for name, seconds in stages.items())
                lines.append([label_of(results, row), f"{size['atoms']}", shares])
    return table(["solver", "atoms", "shares"], lines, numbers=False) if lines else ""


def settings_table(results: dict[str, Any]) -> str:
    """What each solver gives and ran with, and why one did not run."""
    lines = []
    for size in results["sizes"]:
        for row in size["rows"]:
            if row["threads"] == 1:
                words = row.get("words") or f"not run: {row.get('failed', 'no measurement')}"
                provides = results["solvers"][row["solver"]]["provides"]
                lines.append([label_of(results, row), f"{size['atoms']}", words, provides])
    return table(["solver", "atoms", "settings", "gives"], lines, numbers=False)


def instruction_table(results: dict[str, Any]) -> str:
    """Callgrind's counts."""
    counts = results.get("instructions")
    if not counts:
        return ""
    if "failed" in counts:
        return f"Instruction counts: {counts['failed']}.\n"
    lines = [
        [name, f"{value / counts['atoms']:.0f}", f"{100.0 * value / counts['total']:.1f} %"]
        for name, value in counts["groups"].items()
    ]
    return table([f"instructions, {counts['atoms']} atoms", "per atom", "share"], lines)


def references_text(results: dict[str, Any]) -> str:
    """How errors were measured."""
    lines = []
    for size in results["sizes"]:
        for kernel, entry in size["references"].items():
            relative = entry["random_force"] / entry["rms_force"]
            text = (
                f"- {size['atoms']} atoms, {kernel}: {entry['method']}; rms force of the box {entry['rms_force']:.3f} "
                f"eV/angstrom, of the same charges at random {entry['random_force']:.3f} (errors over the rms force of "
                f"the box itself are {relative:.2f} times those in the tables)"
            )
            if "nufft_against_direct" in entry:
                text += f"; FINUFFT and direct sum differ by {entry['nufft_against_direct']:.1e}"
            lines.append(text)
    return "\n".join(lines) + "\n"


def contended_text(results: dict[str, Any]) -> str:
    """Names the measurements that other programs on the machine may have disturbed."""
    names = [
        f"{label_of(results, row)} at {size['atoms']} atoms ({row['others']:.1f} processors)"
        for size in results["sizes"]
        for row in size["rows"]
        if row.get("others", 0.0) > LARGEST_LOAD
    ]
    if not names:
        return f"In one round of each row at least, other programs used less than {LARGEST_LOAD:g} processors.\n"
    return f"**Other programs were running** during all rounds of {', '.join(names)}: repeat on an idle machine.\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Time and memory against the number of atoms, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    figure, (times, memory) = plt.subplots(1, 2, figsize=(12.0, 5.0))
    styles = iter(["o-", "s-", "x:", "^-", "v-", "D-", "d-", "p-", "o--", "s--", "p--", "<-", ">-", "h-"] * 2)
    for label, rows in by_solver(results).items():
        measured = [(n, row) for n, row in sorted(rows.items()) if "seconds" in row]
        if not measured:
            continue
        atoms = np.array([n for n, _ in measured])
        style = next(styles)
        times.loglog(atoms, [row["seconds"] for _, row in measured], style, label=label, markersize=4)
        if measured[0][1]["threads"] == 1:
            memory.loglog(atoms, [max(row["memory"], 1) / n for n, row in measured], style, label=label, markersize=4)
        if measured[0][1]["solver"] == OWN and measured[0][1]["threads"] == 1 and len(atoms) > 1:
            law = atoms * np.log(atoms)
            times.loglog(atoms, law / law[0] * measured[0][1]["seconds"], "k:", linewidth=0.8, label="N log N")
    times.set(xlabel="atoms", ylabel="seconds per step", title=f"one core, accuracy asked for {results['accuracy']:g}")
    memory.set(xlabel="atoms", ylabel="peak memory, bytes per atom", title="beyond that before the solver was made")
    for axes in (times, memory):
        axes.grid(True, which="both", linewidth=0.3)
    times.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def write_report(results: dict[str, Any], folder: Path) -> None:
    """report.md and times.png in `folder`."""
    packages = ", ".join(f"{name} {version}" for name, version in results["machine"]["packages"].items())
    parts = [
        f"# Mesh benchmark of {results['started']}\n",
        f"`{results['command']}`\n",
        f"Machine: {machine_sentence(results['machine'])}.\nPackages: {packages}.\n",
        "SPC-like water at 0.1 atoms per cubic angstrom, kernel with sigma = 1 angstrom. Times are the smallest of all "
        "repetitions; the medians are in the second table. Errors are the rms force error over the rms force of the "
        f"same charges at random; peers have the fastest settings with an error of {results['accuracy']:g} at most.\n",
        contended_text(results),
        "## Microseconds per atom and step\n",
        quantity_table(results, "seconds", "seconds", "{:.3f}"),
        "## The same, median\n",
        quantity_table(results, "median", "seconds", "{:.3f}"),
        "## Measured force error\n",
        quantity_table(results, "error", "", "{:.1e}"),
        "## Ratios\n",
        ratio_table(results),
        "## Peak memory, bytes per atom\n",
        quantity_table(results, "memory", "bytes", "{:.0f}"),
        "## Stages\n",
        stage_table(results) or "The solver told no times of its stages.\n",
        "## Threads\n",
        thread_table(results) or "One core only.\n",
        "## Instructions\n",
        instruction_table(results) or "Not counted; `--callgrind ATOMS` counts them.\n",
        "## Settings\n",
        settings_table(results),
        "## References\n",
        references_text(results),
        "![times](times.png)\n",
    ]
    (folder / "report.md").write_text("\n".join(parts))
    plot(results, folder / "times.png")


def main() -> None:
    """Reports on the results in a folder once more."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "results.json").exists():
        raise SystemExit("usage: report.py FOLDER, with a results.json in it")
    folder = Path(sys.argv[1])
    write_report(json.loads((folder / "results.json").read_text()), folder)


if __name__ == "__main__":
    main()
