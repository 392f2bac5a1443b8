"""Tables and figures from the trainings that are done: `python benchmarks/accuracy/report.py OUTPUT DATA`.

Apart from the trainings so that it can be called while they run. Tables go to report.md, numbers to report.json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from moments import by_training, moments_table, spread

COLOURS = {"LES": "#0072b2", "short range": "#d55e00"}
PAIRS = {"CC": "charged, charged", "CP": "charged, polar", "PP": "polar, polar", "CA": "charged, apolar"}

#: Separations (angstrom) and energies (eV) of training and test frames.
Curve = dict[str, list[tuple[float, float]]]


def write_report(output: Path, data: Path) -> None:
    """Writes report.md, report.json and the figures of all groups with results."""
    results = defaultdict(list)
    for file in sorted(output.glob("*/*/result.json")):
        result = json.loads(file.read_text())
        results[result["group"]].append(result)
    # a training of the seeds is one more length
    results["times"] += [r for r in results["water"] if results["times"] and r["labels"] == {"kind": "LES", "seed": 0}]
    parts, record = [], {}
    for group, write in (
        ("water", water_table),
        ("learning_curve", curve),
        ("times", time_table),
        ("dipeptides", dipeptide_table),
    ):
        if results[group]:
            table, record[group] = write(results[group], output)
            parts.append(table)
    if any(result["long_range"] for result in results["dipeptides"]):
        table, record["moments"] = moments_table(results["dipeptides"], data)
        parts.append(table)
    if results["dimers"]:
        table, record["dimers"] = dimer_table(results["dimers"], output, data)
        parts.append(table)
    (output / "report.md").write_text("\n\n".join(parts) + "\n")
    (output / "report.json").write_text(json.dumps(record, indent=2) + "\n")
    print("\n\n".join(parts))


def by_label(results: list[dict[str, Any]], label: str, kind: str) -> dict[Any, list[dict[str, Any]]]:
    """Results of one kind by the value of a label."""
    found = defaultdict(list)
    for result in results:
        if result["labels"]["kind"] == kind:
            found[result["labels"][label]].append(result)
    return dict(sorted(found.items()))


def errors(results: list[dict[str, Any]], quantity: str) -> list[float]:
    """Validation errors of `results`."""
    return [result["errors"][quantity] for result in results]


def water_table(results: list[dict[str, Any]], _output: Path) -> tuple[str, Any]:
    """Errors with and without LES over the seeds."""
    lines = ["| water, PBE0+TS | seeds | energy, meV/atom | forces, meV/angstrom |", "|---|---|---|---|"]
    record = {}
    for kind in COLOURS:
        chosen = [result for result in results if result["labels"]["kind"] == kind]
        energy, forces = errors(chosen, "energy"), errors(chosen, "forces")
        lines.append(f"| {kind} | {len(chosen)} | {spread(energy)} | {spread(forces)} |")
        record[kind] = {"energy": energy, "forces": forces, "epochs": [result["epochs"] for result in chosen]}
    pairs = zip(record["LES"]["forces"], record["short range"]["forces"], strict=False)
    ratios = [les / short for les, short in pairs]
    if ratios:
        lines.append(f"| forces, LES / short range | {len(ratios)} | | {spread(ratios)} |")
    return "\n".join(lines), record


def dipeptide_table(results: list[dict[str, Any]], _output: Path) -> tuple[str, Any]:
    """Errors with and without LES over the seeds, of each training and of the one that goes on with it."""
    lines = [
        "| dipeptides | seeds | minutes of one core | energy, meV/atom | forces, meV/angstrom |",
        "|---|---|---|---|---|",
    ]
    record = {}
    for name, found in by_training(results).items():
        minutes = [result["seconds"] / 60 for result in found]
        energy, forces = errors(found, "energy"), errors(found, "forces")
        lines.append(f"| {name} | {len(found)} | {spread(minutes)} | {spread(energy)} | {spread(forces)} |")
        record[name] = {"energy": energy, "forces": forces, "minutes": minutes}
    return "\n".join(lines), record


def curve(results: list[dict[str, Any]], output: Path) -> tuple[str, Any]:
    """Errors over the number of training frames; learning_curve.png."""
    figure, axes = new_figure()
    lines = ["| frames | LES: energy | forces | short range: energy | forces |", "|---|---|---|---|---|"]
    record: dict[str, Any] = {}
    columns = {kind: by_label(results, "frames", kind) for kind in COLOURS}
    for size in sorted({size for column in columns.values() for size in column}):
        cells = []
        for kind, column in columns.items():
            for quantity in ("energy", "forces"):
                values = errors(column.get(size, []), quantity)
                cells.append(spread(values) if values else "")
                record.setdefault(kind, {}).setdefault(str(size), {})[quantity] = values
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    for kind, column in columns.items():
        means = [float(np.mean(errors(found, "forces"))) for found in column.values()]
        axes.loglog(list(column), means, "o-", color=COLOURS[kind], label=kind)
        for size, found in column.items():
            axes.plot([size] * len(found), errors(found, "forces"), ".", color=COLOURS[kind], alpha=0.5)
    axes.set_xlabel("training frames of 192 atoms")
    axes.set_ylabel("force RMSE, validation (meV/angstrom)")
    axes.legend(frameon=False)
    figure.savefig(output / "learning_curve.png", dpi=150)
    return "\n".join(lines), record


def time_table(results: list[dict[str, Any]], output: Path) -> tuple[str, Any]:
    """Force error over training time; training_time.png."""
    lines = [
        "| model | epochs | minutes of one core | energy, meV/atom | forces, meV/angstrom |",
        "|---|---|---|---|---|",
    ]
    record = []
    for result in sorted(results, key=lambda result: (result["labels"]["kind"], result["epochs"])):
        duration, values = result["seconds"] / 60, result["errors"]
        kind, numbers = result["labels"]["kind"], f"{values['energy']:.2f} | {values['forces']:.1f}"
        lines.append(f"| {kind} | {result['epochs']} | {duration:.1f} | {numbers} |")
        record.append({"kind": kind, "epochs": result["epochs"], "minutes": duration, "errors": values})
    figure, axes = new_figure()
    for kind in dict.fromkeys(row["kind"] for row in record):
        rows = [row for row in record if row["kind"] == kind]
        minutes, forces = [row["minutes"] for row in rows], [row["errors"]["forces"] for row in rows]
        axes.semilogx(minutes, forces, "o-", color=COLOURS[kind.split(",")[0]], label=kind)
    axes.legend(frameon=False)
    axes.set_xlabel("minutes of one core")
    axes.set_ylabel("force RMSE, validation (meV/angstrom)")
    figure.savefig(output / "training_time.png", dpi=150)
    return "\n".join(lines), record


def dimer_table(results: list[dict[str, Any]], output: Path, data: Path) -> tuple[str, Any]:
    """Errors of each pair of molecules on the test frames, and energies against separation; dimers.png."""
    from les_md.checkpoint import load_checkpoint
    from les_md.predictions import CheckpointPredictor
    from les_md.training.data import build_frames
    from les_md.training.data_settings import DataSettings
    from les_md.training.labels import read_frames

    files = {part: data / f"charged_dimers_{part}.xyz" for part in ("train", "test")}
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    table: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for result in results:
        kind, pair = result["labels"]["kind"], result["labels"]["pair"]
        model, _ = load_checkpoint(Path(result["folder"]) / "run" / "model.pt")
        predictor = CheckpointPredictor(model)
        for part, file in files.items():
            settings = DataSettings(train=[file], select={"label": pair})
            labelled = read_frames([file], settings, True, True, False)
            built = build_frames(labelled, predictor.symbols, predictor.cutoff, allow_lone_atoms=True)
            predictions = list(predictor.predict(built))
            frames = [frame.atoms for frame in labelled]
            reference = curves[pair].setdefault("reference", {})
            reference[part] = [(a.info["distance"], a.get_potential_energy()) for a in frames]
            energies = [prediction.energy for prediction in predictions]
            curve = curves[pair].setdefault(kind, {})
            curve[part] = [(a.info["distance"], energy) for a, energy in zip(frames, energies, strict=True)]
            if part == "test":
                table[pair][kind] = rmse(frames, predictions)
    lines = ["| test frames | LES: energy, meV | forces, meV/angstrom | short range: energy | forces |"]
    lines.append("|---|---|---|---|---|")
    for pair in sorted(table):
        cells = [f"{table[pair][k][q]:.1f}" if k in table[pair] else "" for k in COLOURS for q in ("energy", "forces")]
        lines.append(f"| {pair} | " + " | ".join(cells) + " |")
    dimer_figure(output / "dimers.png", curves)
    return "\n".join(lines), table


def rmse(frames: list[Any], predictions: list[Any]) -> dict[str, float]:
    """Root mean square errors of the energy of a frame (meV) and of force components (meV/angstrom)."""
    energies, forces = [], []
    for atoms, prediction in zip(frames, predictions, strict=True):
        energies.append(prediction.energy - atoms.get_potential_energy())
        forces.extend((prediction.forces - atoms.get_forces()).ravel())
    values = {"energy": energies, "forces": forces}
    return {quantity: 1000 * float(np.sqrt(np.mean(np.square(errors)))) for quantity, errors in values.items()}


def dimer_figure(path: Path, curves: dict[str, dict[str, Curve]]) -> None:
    """Energies against separation, those of the reference at the last training separation being zero."""
    figure = Figure(figsize=(4.0 * len(curves), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes_of = np.atleast_1d(figure.subplots(1, len(curves)))
    for axes, (pair, found) in zip(axes_of, sorted(curves.items()), strict=True):
        last, zero = max(found["reference"]["train"])
        for kind, parts in found.items():
            points = np.array(sorted(parts["train"] + parts["test"]))
            style = {"color": "black", "linestyle": "", "marker": "o", "markersize": 4}
            if kind != "reference":
                style = {"color": COLOURS[kind], "linestyle": "-", "marker": ""}
            axes.plot(points[:, 0], points[:, 1] - zero, label=kind, **style)
        axes.axvspan(last, max(found["reference"]["test"])[0], color="0.93", zorder=-1)
        axes.set_title(PAIRS[pair], fontsize=9)
        axes.set_xlabel("separation (angstrom)")
        axes.set_ylabel("energy (eV)")
    axes_of[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def new_figure() -> tuple[Figure, Any]:
    """A figure without a display."""
    figure = Figure(figsize=(5.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder of run.py")
    parser.add_argument("data", type=Path, help="folder with the data")
    options = parser.parse_args()
    write_report(options.output.resolve(), options.data.resolve())
