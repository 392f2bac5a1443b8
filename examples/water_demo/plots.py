"""Figures of the demo. Apart because only this file needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from results import EnergyRecord, Predictions
from stages import replaced
from water import CHARGES

COLOURS = {"LES": "tab:blue", "short range": "tab:orange", "classical": "black"}
ELEMENT_COLOURS = {"O": "tab:red", "H": "tab:gray"}


def save(figure: Figure, path: Path) -> None:
    """Writes `figure` as PNG, whole or not at all."""
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=150)


def plot_parity(predictions: dict[str, Predictions], path: Path) -> None:
    """Energies and forces of each model against the reference."""
    figure = Figure(figsize=(8, 4 * len(predictions)), layout="constrained")
    axes = figure.subplots(len(predictions), 2, squeeze=False)
    for row, (name, prediction) in zip(axes, predictions.items(), strict=True):
        parity(row[0], prediction.reference_energies, prediction.energies, COLOURS[name])
        row[0].set(
            title=f"{name}: energy, RMSE {prediction.energy_rmse:.3g} meV/atom",
            xlabel="reference (eV/atom)",
            ylabel="model (eV/atom)",
        )
        parity(row[1], prediction.reference_forces.ravel(), prediction.forces.ravel(), COLOURS[name])
        row[1].set(
            title=f"{name}: forces, RMSE {prediction.force_rmse:.3g} meV/Å",
            xlabel="reference (eV/Å)",
            ylabel="model (eV/Å)",
        )
    save(figure, path)


def parity(axes: Axes, reference: NDArray[np.float64], model: NDArray[np.float64], colour: str) -> None:
    """Points and the line on which they should lie."""
    axes.plot(reference, model, ".", markersize=3, color=colour, rasterized=True)
    limits = (min(reference.min(), model.min()), max(reference.max(), model.max()))
    axes.plot(limits, limits, color="black", linewidth=0.8)
    axes.set_aspect("equal")


def plot_charges(prediction: Predictions, path: Path) -> None:
    """Histogram of the learned charges with the true charges as lines."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    for axes, (symbol, true) in zip(figure.subplots(1, 2), CHARGES.items(), strict=True):
        charges = prediction.signed_charges[prediction.symbols == symbol]
        axes.hist(charges, bins=60, color=ELEMENT_COLOURS[symbol])
        axes.axvline(true, color="black", linestyle="--", label=f"true: {true:+.2f} e")
        axes.set(
            title=f"{symbol}: mean {charges.mean():+.3f} e, MAE {prediction.charge_error(symbol):.3f} e",
            xlabel="learned charge (e)",
            ylabel="atoms",
        )
        axes.legend()
    save(figure, path)


def plot_radial_distributions(
    distributions: dict[str, tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]], path: Path
) -> None:
    """g(r) of every run, one panel per pair of elements; peaks within a molecule are cut off."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    pairs = list(distributions["classical"][1])
    for axes, pair in zip(figure.subplots(1, len(pairs)), pairs, strict=True):
        for name, (radii, functions) in distributions.items():
            style = "--" if name == "classical" else "-"
            axes.plot(radii, functions[pair], style, color=COLOURS[name], label=name)
        axes.set(title=pair, xlabel="r (Å)", ylabel="g(r)", xlim=(0.8, None), ylim=(0, 3.5))
        axes.legend()
    save(figure, path)


def plot_energies(energies: dict[str, EnergyRecord], path: Path) -> None:
    """Total energy of the constant-energy runs against time."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for host, record in energies.items():
        axes.plot(record.times, record.energies, label=f"{host}: {record.drift:+.2g} meV/atom/ps")
    axes.set(title="Total energy at constant energy", xlabel="time (ps)", ylabel="energy - start (meV/atom)")
    axes.legend()
    save(figure, path)
