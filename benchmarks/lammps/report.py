"""Table and plot of the LAMMPS benchmark from its results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from lammps_run import STAGES

sys.path.append(str(Path(__file__).resolve().parents[1] / "mesh"))
from machine import machine_sentence

Results = dict[str, Any]


def cases_of(results: Results, start: str) -> list[Results]:
    """Cases whose name starts so, that did not fail, by size."""
    found = [case for name, case in results.items() if name.startswith(start) and "failed" not in case]
    return sorted(found, key=lambda case: (case["atoms"], case.get("ranks", 1)))


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + " ---: |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def sizes_table(results: Results, cores: int) -> str:
    """Time per step at every size, divided."""
    rows = []
    for case in cases_of(results, "lammps default "):
        if case["ranks"] != cores or case["threads"] != 1:
            continue
        without = results.get(f"lammps no_charges {case['atoms']} atoms {cores} ranks 1 threads", {})
        step = case["seconds_per_step"]
        network = case["stages"]["network forward"] + case["stages"]["network backward"]
        share = 1.0 - without["seconds_per_step"] / step if "seconds_per_step" in without else float("nan")
        percent = [100.0 * part / step for part in (network, case["stages"]["long-range sum"])]
        waiting = 100.0 * (case["stages"]["communication"] + case["table"].get("Comm", 0.0)) / step
        rows.append(
            [
                str(case["atoms"]), f"{1e3 * step:.1f}", f"{1e6 * step * cores / case['atoms']:.1f}",
                *[f"{value:.1f}" for value in percent], f"{waiting:.1f}",
                f"{100 - sum(percent) - waiting:.1f}", f"{100 * share:.1f}",
                f"{case['peak_bytes'] / case['atoms'] / 1024:.0f}",
            ]
        )  # fmt: skip
    header = ["atoms", "ms / step", "core us / atom", "network %", "mesh %", "communication %", "rest %"]
    return table([*header, "long-range share %", "peak kB / atom"], rows)


def scaling_table(results: Results, cores: int) -> str:
    """Strong scaling: one box, more ranks or threads, and the ASE calculator."""
    rows = []
    sizes = sorted({case["atoms"] for case in cases_of(results, "ase default ")})
    for atoms in sizes:
        runs = [case for case in cases_of(results, "lammps default ") if case["atoms"] == atoms]
        one = next((case for case in runs if case["ranks"] == 1 and case["threads"] == 1), None)
        if one is None:
            continue
        columns = [f"LAMMPS {case['ranks']} rank(s) x {case['threads']} thread(s)" for case in runs]
        for name, case in [
            *zip(columns, runs, strict=True),
            *((f"ASE, {case['threads']} thread(s)", case) for case in cases_of(results, f"ase default {atoms} atoms")),
        ]:
            workers = case.get("ranks", 1) * case["threads"]
            speedup = one["seconds_per_step"] / case["seconds_per_step"]
            milliseconds = f"{1e3 * case['seconds_per_step']:.1f}"
            rows.append([str(atoms), name, milliseconds, f"{speedup:.2f}", f"{speedup / workers:.2f}"])
    return table(["atoms", "run", "ms / step", "times one rank", "per core"], rows)


def weak_table(results: Results, cores: int) -> str:
    """The same number of atoms on each rank."""
    rows = []
    for ranks in range(1, cores + 1):
        cases = [c for c in cases_of(results, "lammps default ") if c["ranks"] == ranks and c["atoms"] == 4116 * ranks]
        for case in cases[:1]:
            rows.append([str(ranks), str(case["atoms"]), f"{1e3 * case['seconds_per_step']:.1f}"])
    return table(["ranks", "atoms", "ms / step"], rows)


def plot(folder: Path, results: Results, cores: int) -> None:
    """Time per atom by stage, and the long-range share, against the number of atoms."""
    runs = [c for c in cases_of(results, "lammps default ") if c["ranks"] == cores and c["threads"] == 1]
    if not runs:
        return
    atoms = [case["atoms"] for case in runs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for stage in STAGES:
        values = [1e6 * case["stages"][stage] * cores / case["atoms"] for case in runs]
        left.loglog(atoms, [max(value, 1e-3) for value in values], "o-", label=stage)
    total = [1e6 * case["seconds_per_step"] * cores / case["atoms"] for case in runs]
    left.loglog(atoms, total, "k.--", label="step")
    ase = [case for case in cases_of(results, "ase default ") if case["threads"] == cores]
    values = [1e6 * case["seconds_per_step"] * cores / case["atoms"] for case in ase]
    left.loglog([case["atoms"] for case in ase], values, "ks", fillstyle="none", label="ASE calculator")
    left.set(xlabel="atoms", ylabel="core microseconds / atom / step", title=f"{cores} rank(s)")
    left.legend(fontsize=8)
    share_atoms, shares, mesh = [], [], []
    for case in runs:
        without = results.get(f"lammps no_charges {case['atoms']} atoms {cores} ranks 1 threads", {})
        if "seconds_per_step" in without:
            share_atoms.append(case["atoms"])
            shares.append(100.0 * (1.0 - without["seconds_per_step"] / case["seconds_per_step"]))
            mesh.append(100.0 * case["stages"]["long-range sum"] / case["seconds_per_step"])
    right.semilogx(share_atoms, shares, "o-", label="against the model without charges")
    right.semilogx(share_atoms, mesh, "s-", label="long-range sum, as the style prints it")
    right.axhline(10.0, color="grey", linestyle=":", label="aim")
    right.set(xlabel="atoms", ylabel="share of a step / %", ylim=(0.0, None))
    right.legend(fontsize=8)
    figure.savefig(folder / "lammps_times.png", dpi=130)
    plt.close(figure)


def write_report(folder: Path, results: Results, cores: int) -> str:
    """Writes report.md and lammps_times.png; returns the report."""
    parts = [
        machine_sentence(results["machine"]) + "\n",
        f"Water at 0.1 atoms per cubic angstrom, model of the default size, float32, {cores} rank(s):\n",
        sizes_table(results, cores),
        "One box on more cores:\n",
        scaling_table(results, cores),
        "The same number of atoms on each rank:\n",
        weak_table(results, cores),
    ]
    if "memory" in results:
        memory = results["memory"]
        parts.append(
            f"Memory: {memory['bytes_per_atom'] / 1024:.0f} kB an atom; {memory['next_atoms']} atoms would need "
            f"{memory['next_bytes'] / 2**30:.1f} GiB of {memory['machine_bytes'] / 2**30:.1f} GiB.\n"
        )
    text = "\n".join(parts)
    (folder / "report.md").write_text(text)
    plot(folder, results, cores)
    return text
