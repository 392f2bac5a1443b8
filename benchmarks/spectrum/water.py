"""The infrared spectrum of liquid water beside the measured band positions: a table and a figure.

    cd examples/lammps && python make_water.py 4 water.data
    lmp -in in.water_spectrum -var model $(les-models water-pbe0)
    les-spectra current.txt --resolution 25 --blocks 5 --output water_spectrum
    python ../../benchmarks/spectrum/water.py water_spectrum ../../docs/water_spectrum.png

Measured maxima: J. E. Bertie, Z. Lan, Appl. Spectrosc. 50, 1047 (1996), 25 C; the band near 200 1/cm: H. R. Zelsmann,
J. Mol. Struct. 350, 95 (1995).
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Band:
    """A band: where it was measured and where to look for its maximum, 1/cm."""

    name: str
    measured: float
    window: tuple[float, float]


BANDS = (
    Band("translation", 200.0, (100.0, 320.0)),
    Band("libration", 680.0, (350.0, 1000.0)),
    Band("bend", 1645.0, (1450.0, 1850.0)),
    Band("O-H stretch", 3400.0, (2800.0, 4000.0)),
)


def read_spectrum(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavenumbers (1/cm), absorption coefficient times refractive index (1/cm) and its error, from spectrum.csv."""
    with open(folder / "spectrum.csv", newline="") as file:
        rows = [row for row in csv.reader(line for line in file if not line.startswith("#"))]
    table = np.array([[float(value) for value in row[:3]] for row in rows[1:]])
    return table[:, 0], table[:, 1], table[:, 2]


def centre(wavenumbers: np.ndarray, absorption: np.ndarray, window: tuple[float, float]) -> float:
    """Mean wavenumber of the upper fifth of a band: steadier than the maximum of a noisy curve."""
    inside = (wavenumbers >= window[0]) & (wavenumbers <= window[1])
    x, y = wavenumbers[inside], absorption[inside]
    weight = np.clip(y - 0.8 * y.max(), 0.0, None)
    return float(np.sum(weight * x) / np.sum(weight))


def main() -> None:
    """Prints the table and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spectrum", type=Path, help="folder of les-spectra")
    parser.add_argument("figure", type=Path, help="PNG to write")
    options = parser.parse_args()
    wavenumbers, absorption, error = read_spectrum(options.spectrum)
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.fill_between(wavenumbers, absorption - error, absorption + error, color="#0072b2", alpha=0.3, linewidth=0)
    axes.plot(wavenumbers, absorption, color="#0072b2", linewidth=1.0, label="water-pbe0, classical nuclei")
    print("| band | measured, 1/cm | here, 1/cm |\n|---|---|---|")
    for band in BANDS:
        axes.axvline(band.measured, color="#d55e00", linewidth=1.0, linestyle=":")
        axes.annotate(
            band.name, (band.measured, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -10),
            textcoords="offset points", fontsize=8, color="#d55e00",
        )  # fmt: skip
        print(f"| {band.name} | {band.measured:.0f} | {centre(wavenumbers, absorption, band.window):.0f} |")
    axes.axhline(0.0, color="black", linewidth=0.5)
    axes.set_xlim(0.0, 4500.0)
    axes.set_xlabel("wavenumber (1/cm)")
    axes.set_ylabel("absorption coefficient x refractive index (1/cm)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(0.02, 0.75))
    figure.savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main()
