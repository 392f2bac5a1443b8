"""Stage 5: the numbers and plots of the demo, from the held-out frames and the runs.

Apart from the runs so that changing a table or a plot costs seconds.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import cast

import ase.io
import numpy as np
import plots
from ase import Atoms
from numpy.typing import NDArray
from results import EnergyRecord, Predictions, predict, read_energies, read_trajectory
from stages import replaced_folder, write_text
from structure import PAIRS, radial_distributions, similarity
from water import CHARGES


def analyse(
    frames: Path, models: dict[str, Path], trajectories: dict[str, Path], runs: dict[str, Path], output: Path
) -> None:
    """Writes metrics.csv, metrics.md and the folder plots/ into `output`.

    frames: folder of held_out.xyz. models: "LES" and "short range". trajectories: "classical" and the learned ones.
    runs: energies.csv of the constant-energy runs, by host.
    """
    held_out = cast(list[Atoms], ase.io.read(frames / "held_out.xyz", index=":"))
    predictions = {name: predict(path, held_out) for name, path in models.items()}
    energies = {host: read_energies(path, len(held_out[0])) for host, path in runs.items()}
    distributions = {name: radial_distributions(read_trajectory(path)) for name, path in trajectories.items()}
    rows = metrics(predictions, energies, distributions)
    with replaced_folder(output / "plots") as folder:
        plots.plot_parity(predictions, folder / "parity.png")
        plots.plot_charges(predictions["LES"], folder / "charges.png")
        plots.plot_radial_distributions(distributions, folder / "radial_distributions.png")
        plots.plot_energies(energies, folder / "energy_drift.png")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["quantity", "value", "unit"])
    writer.writerows((quantity, f"{value:.6g}", unit) for quantity, value, unit in rows)
    write_text(output / "metrics.csv", text.getvalue())
    table = ["| quantity | value | unit |", "|---|---|---|"]
    table += [f"| {quantity} | {value:.4g} | {unit} |" for quantity, value, unit in rows]
    write_text(output / "metrics.md", "\n".join(table) + "\n")


def metrics(
    predictions: dict[str, Predictions],
    energies: dict[str, EnergyRecord],
    distributions: dict[str, tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]],
) -> list[tuple[str, float, str]]:
    """Rows (quantity, value, unit) of the metrics table."""
    rows: list[tuple[str, float, str]] = []
    for name, prediction in predictions.items():
        rows.append((f"energy RMSE, {name}", prediction.energy_rmse, "meV/atom"))
        rows.append((f"forces RMSE, {name}", prediction.force_rmse, "meV/angstrom"))
    learned = predictions["LES"]
    for symbol, true in CHARGES.items():
        mean = float(np.mean(learned.signed_charges[learned.symbols == symbol]))
        rows.append((f"true charge of {symbol}", true, "e"))
        rows.append((f"mean learned charge of {symbol}", mean, "e"))
        rows.append((f"charge MAE of {symbol}", learned.charge_error(symbol), "e"))
    rows.append(("charge MAE, all atoms", learned.charge_error(), "e"))
    for host, record in energies.items():
        rows.append((f"energy drift, {host}", record.drift, "meV/atom/ps"))
        rows.append((f"energy fluctuation, {host}", record.fluctuation, "meV/atom"))
    radii, classical = distributions["classical"]
    for name, (_, distribution) in distributions.items():
        for pair in (f"{first}-{second}" for first, second in PAIRS):
            if name != "classical":
                value = similarity(distribution[pair], classical[pair], radii)
                rows.append((f"similarity of g(r) {pair}, {name}", value, "1 = equal"))
    return rows
