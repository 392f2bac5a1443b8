"""Figures of training, evaluation and spectra, written as PNG without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from les_md.files import write_file

#: One colour per data set, chosen to differ also in grey and for colour-blind readers.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def parity_plot(path: Path, sets: dict[str, tuple[np.ndarray, np.ndarray]], quantity: str, unit: str) -> None:
    """Predicted against reference values.

    Args:
        path: PNG file.
        sets: reference and predicted values (any shape) by the name of the data set, drawn in this order.
        quantity: for the axes, such as "force component".
        unit: of the values; errors in the legend are in its thousandth, written "m" + unit.
    """
    figure, axes = _figure(4.5, 4.5)
    for (name, (reference, predicted)), colour in zip(sets.items(), _COLOURS, strict=False):
        error = float(np.sqrt(np.mean((predicted - reference) ** 2)))
        label = f"{name}: RMSE {1000 * error:.3g} m{unit}"
        size = 14 if reference.size < 2000 else 2
        axes.scatter(reference, predicted, s=size, alpha=0.5, linewidths=0, color=colour, label=label, rasterized=True)
    values = np.concatenate([value.ravel() for pair in sets.values() for value in pair])
    limits = [float(values.min()), float(values.max())]
    axes.plot(limits, limits, color="black", linewidth=0.8, zorder=0)
    axes.set_xlabel(f"reference {quantity} ({unit})")
    axes.set_ylabel(f"predicted {quantity} ({unit})")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize=8)
    _write(figure, path)


def metrics_plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Energy and force errors of training and validation over the epochs, from the rows of metrics.csv."""
    figure, energy_axes = _figure(6.0, 4.0)
    force_axes = energy_axes.twinx()
    epochs = [row["epoch"] + 1 for row in rows]
    curves = (
        (energy_axes, "energy_rmse_meV_per_atom", "energy", _COLOURS[0]),
        (force_axes, "forces_rmse_meV_per_A", "forces", _COLOURS[1]),
    )
    lines = []
    for axes, column, name, colour in curves:
        for part, style in (("train", ":"), ("valid", "-")):
            values = [row[f"{part}_{column}"] for row in rows]
            if None not in values:
                lines += axes.plot(epochs, values, style, color=colour, label=f"{name}, {part}")
                axes.set_yscale("log")
    energy_axes.set_xlabel("epoch")
    energy_axes.set_ylabel("energy RMSE (meV/atom)")
    force_axes.set_ylabel("force RMSE (meV/angstrom)")
    energy_axes.legend(handles=lines, frameon=False, fontsize=8)
    _write(figure, path)


def band_plot(
    path: Path,
    x: np.ndarray,
    y: np.ndarray,
    error: np.ndarray,
    labels: tuple[str, str],
    name: str,
    mark: tuple[float, str] | None = None,
) -> None:
    """A curve with a band of one standard error.

    Args:
        path: PNG file.
        x, y, error: (n,) each.
        labels: of the two axes.
        name: of the curve, in the legend.
        mark: place of a vertical line and its name.
    """
    figure, axes = _figure(6.5, 4.0)
    axes.fill_between(x, y - error, y + error, color=_COLOURS[0], alpha=0.3, linewidth=0)
    axes.plot(x, y, color=_COLOURS[0], linewidth=1.0, label=name)
    axes.axhline(0.0, color="black", linewidth=0.5)
    if mark is not None:
        axes.axvline(mark[0], color=_COLOURS[1], linewidth=1.0, linestyle=":", label=mark[1])
    axes.set_xlim(float(x[0]), float(x[-1]))
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(frameon=False, fontsize=8)
    _write(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    # without pyplot: no global state, no display, safe next to the user's own figures
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _write(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, format="png")
    write_file(path, buffer.getvalue())
