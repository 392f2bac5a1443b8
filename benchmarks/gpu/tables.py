"""The report of run.py: tables in Markdown, a row for each solver, a column for each number of atoms.

A row ends where its solver failed, with the reason in the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rows = dict[
    str, list[dict[str, Any]]
]  # label: answers in the order of sizes; each has "atoms", and "failed" or numbers


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table, first column left, others right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines]) + "\n"


def rows_table(rows: Rows, sizes: list[int], cell: Callable[[dict[str, Any], int], str | None]) -> str:
    """`cell(answer, index of the size)` of every solver; an answer that failed gives its reason."""
    lines = []
    for label, answers in rows.items():
        cells = []
        for index in range(len(sizes)):
            if index >= len(answers):
                cells.append("-" if answers and "failed" in answers[-1] else "")
            elif "failed" in answers[index]:
                cells.append(answers[index]["failed"].replace("|", "/"))
            else:
                cells.append(cell(answers[index], index) or "")
        lines.append([label, *cells])
    return table(["solver", *map(str, sizes)], lines)


def times_tables(rows: Rows, sizes: list[int], own: str, unit: str, scale: float) -> list[str]:
    """Time of a call, nanoseconds an atom, and ratios to the row `own`."""

    def ratio(answer: dict[str, Any], index: int) -> str | None:
        if index >= len(rows[own]) or "failed" in rows[own][index]:
            return None
        return f"{answer['seconds'] / rows[own][index]['seconds']:.2f}"

    return [
        f"### {unit} a call\n",
        rows_table(rows, sizes, lambda answer, _: f"{scale * answer['seconds']:.4g}"),
        "### Nanoseconds an atom\n",
        rows_table(rows, sizes, lambda answer, _: f"{1e9 * answer['seconds'] / answer['atoms']:.3g}"),
        f"### Time over that of {own}\n",
        rows_table(rows, sizes, ratio),
    ]


def mesh_report(results: dict[str, Any]) -> str:
    """Times, ratios, errors and settings of the mesh and its peers."""
    mesh = results["mesh"]
    rows, sizes = mesh["rows"], mesh["sizes"]
    timed = {label: answers for label, answers in rows.items() if label != mesh["floor"]}
    settings = [
        f"- {label}, {answer['atoms']} atoms: {answer['words']}"
        for label, answers in timed.items()
        for answer in answers
        if answer.get("words")
    ]
    return "\n".join(
        [
            "## The mesh\n",
            "Energy, forces and charge gradients of charges of +-0.4 e at random, 0.1 atoms per cubic angstrom, "
            f"smearing 1 angstrom, converged kernel, {results['dtype']}; relative force error at most "
            f"{results['accuracy']:g}, peers with the cheapest settings that reach it. Medians. A row ends where its "
            "solver failed.\n",
            *times_tables(rows, sizes, mesh["own"], "Microseconds", 1e6),
            "### Measured force error\n",
            rows_table(timed, sizes, lambda answer, _: error_of(answer, "forces")),
            "### Measured energy error, over the self energy\n",
            rows_table(timed, sizes, lambda answer, _: error_of(answer, "energy")),
            "### Settings\n",
            *settings,
            "",
        ]
    )


def error_of(answer: dict[str, Any], name: str) -> str | None:
    """Where it was measured."""
    error = answer.get("errors", {}).get(name)
    return None if error is None else f"{error:.1e}"


def step_report(results: dict[str, Any]) -> str:
    """Times and ratios of whole steps."""
    step = results["step"]
    return "\n".join(
        [
            "## A whole step of water\n",
            "Positions to forces with a model of default size and random weights, atoms moving so that neighbours are "
            "due anew once in 15 steps; means. The reference way is Python: ASE, neighbours by vesin on the host in "
            "every step, network and direct sum over wave vectors by torch on the device.\n",
            *times_tables(step["rows"], step["sizes"], step["own"], "Milliseconds", 1e3),
            "### Forces against the reference way: rms difference over rms\n",
            table(
                ["", *map(str, step["sizes"])],
                [["difference", *(f"{x:.1e}" if x else "" for x in step["differences"])]],
            ),
        ]
    )


def report(results: dict[str, Any]) -> str:
    """The whole report."""
    parts = [f"# GPU benchmark, device {results['device']}\n", f"Of {results['started']}, by\n"]
    parts += [f"    {results['command']}\n", *(f"{line}\n" for line in results["machine"])]
    if "mesh" in results:
        parts.append(mesh_report(results))
    if "step" in results:
        parts.append(step_report(results))
    return "\n".join(parts)
