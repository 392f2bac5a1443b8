"""The program `les-spectra`: options, the summary on the screen, tables, figures and a JSON record."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from les_md.errors import LESError, command_line
from les_md.plots import band_plot
from les_md.spectra.analysis import Analysis, Estimate, Settings, analyse, check_settings
from les_md.spectra.series import LAMMPS_CURRENT, Series, SeriesOptions, read_series


@command_line("les-spectra")
def main(arguments: list[str] | None = None) -> None:
    """Infrared spectrum and ionic conductivity of a time series; see `--help`."""
    given = _parser().parse_args(arguments)
    if given.output.exists() and not given.output.is_dir():
        raise LESError(f"--output must be a folder, but '{given.output}' is a file")
    options = SeriesOptions(**{name: getattr(given, name) for name in SeriesOptions.__dataclass_fields__})
    settings = Settings(**{name: getattr(given, name) for name in Settings.__dataclass_fields__})
    check_settings(settings)
    series = read_series(given.series, options)
    analysis = analyse(series, settings)
    given.output.mkdir(parents=True, exist_ok=True)
    summary = _summary(given.series, series, settings, analysis)
    _print(given.series, series, settings, analysis)
    _write(given.output, summary, analysis)
    print(f"written to {given.output}: spectrum.csv, conductivity.csv, summary.json, spectrum.png, conductivity.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="les-spectra",
        description="Infrared spectrum and ionic conductivity from the polarization current, or the polarization, "
        "of a run in LAMMPS, OpenMM or ASE.",
    )
    parser.add_argument(
        "series", type=Path, help="LAMMPS text or log, CSV with time_ps,Jx,Jy,Jz, or npz of these names"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("spectra"), help="folder (default: %(default)s)")
    reading = parser.add_argument_group("what is in the file")
    for option, what in (
        ("--columns", "current (default: Jx"),
        ("--polarization-columns", "polarization (default: Px"),
    ):
        text = f"names or numbers (from 1) of the columns of the {what} and so on)"
        reading.add_argument(option, nargs=3, metavar=("X", "Y", "Z"), help=text)
    reading.add_argument("--units", choices=sorted(LAMMPS_CURRENT), help="units of the LAMMPS run")
    reading.add_argument("--timestep", type=float, metavar="FS", help="fs between two LAMMPS steps")
    reading.add_argument("--volume", type=float, metavar="A3", help="angstrom^3 (default: what the file says)")
    reading.add_argument("--temperature", type=float, metavar="K", help="default: what the file says")
    reading.add_argument("--start", type=float, metavar="PS", help="leave out what is before this time")
    reading.add_argument("--stop", type=float, metavar="PS", help="leave out what is after this time")
    choices = parser.add_argument_group("analysis")
    defaults = Settings()
    choices.add_argument(
        "--resolution",
        type=float,
        default=defaults.resolution,
        metavar="PER_CM",
        help="full width at half maximum of a sharp line, 1/cm (default: %(default)s)",
    )
    choices.add_argument("--window", choices=("hann", "gaussian"), default=defaults.window, help="default: %(default)s")
    choices.add_argument("--blocks", type=int, default=defaults.blocks, help="for errors (default: %(default)s)")
    choices.add_argument(
        "--correlation-time",
        type=float,
        metavar="PS",
        help="where the Green-Kubo integral is read (default: the length of the window)",
    )
    choices.add_argument("--axes", default=defaults.axes, help="directions that are averaged (default: %(default)s)")
    choices.add_argument("--max-wavenumber", type=float, metavar="PER_CM", help="end of the spectrum (default: 4500)")
    return parser


def _summary(path: Path, series: Series, settings: Settings, analysis: Analysis) -> dict[str, Any]:
    """What summary.json holds; units are in the names."""
    peak = int(np.argmax(analysis.absorption.value))
    return {
        "series": str(path),
        "rows": series.n_rows,
        "time_step_fs": 1000 * analysis.time_step,
        "volume_A3": series.volume,
        "temperature_K": series.temperature,
        "origins": series.origins,
        "axes": settings.axes,
        "blocks": settings.blocks,
        "block_length_ps": analysis.block_length,
        "window": settings.window,
        "window_length_ps": analysis.window_length,
        "resolution_per_cm": settings.resolution,
        "transform_points": analysis.n_transform,
        "sampling_limit_per_cm": analysis.sampling_limit,
        "highest_absorption": {
            "wavenumber_per_cm": float(analysis.wavenumbers[peak]),
            "value_per_cm": float(analysis.absorption.value[peak]),
            "error_per_cm": float(analysis.absorption.error[peak]),
        },
        "correlation_time_ps": analysis.correlation_time,
        "conductivity_S_per_m": {
            "green_kubo": _plain(analysis.green_kubo),
            "change_from_half_correlation_time": _plain(analysis.change),
            "einstein": None if analysis.einstein is None else _plain(analysis.einstein),
        },
        "mean_current_e_A_per_ps": _plain(analysis.mean_current),
        "warnings": analysis.warnings,
    }


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": np.asarray(estimate.value).tolist(), "error": np.asarray(estimate.error).tolist()}


def _print(path: Path, series: Series, settings: Settings, analysis: Analysis) -> None:
    told = [f"{name}: {series.origins[name]}" for name in ("timestep", "units") if name in series.origins]
    print(f"{path}: {series.n_rows} rows of {1000 * analysis.time_step:.6g} fs{''.join(f', {fact}' for fact in told)}")
    print(f"current         {series.origins.get('current', 'difference of the polarization over each step')}")
    if series.polarization is not None:
        print(f"polarization    {series.origins['polarization']}")
    print(f"volume          {series.volume:.6g} angstrom^3 ({series.origins['volume']})")
    print(f"temperature     {series.temperature:.6g} K ({series.origins['temperature']})")
    print(f"blocks          {settings.blocks} of {analysis.block_length:.4g} ps; errors are standard errors over them")
    print(
        f"spectrum        resolution {settings.resolution:g} 1/cm ({settings.window} window of "
        f"{analysis.window_length:.4g} ps), padded to {analysis.n_transform} points, "
        f"sampled up to {analysis.sampling_limit:.0f} 1/cm"
    )
    peak = int(np.argmax(analysis.absorption.value))
    height = _text(Estimate(analysis.absorption.value[peak], analysis.absorption.error[peak]))
    print(f"highest band    {analysis.wavenumbers[peak]:.0f} 1/cm, alpha n = {height} 1/cm")
    print(
        f"conductivity    {_text(analysis.green_kubo)} S/m, Green-Kubo up to {analysis.correlation_time:.4g} ps "
        f"(its second half adds {_text(analysis.change)})"
    )
    if analysis.einstein is not None:
        print(f"                {_text(analysis.einstein)} S/m, Einstein, from the polarization around that time")
    for warning in analysis.warnings:
        print(f"warning: {warning}")


def _text(estimate: Estimate) -> str:
    return f"{float(estimate.value):.4g} +- {float(estimate.error):.2g}"


def _write(folder: Path, summary: dict[str, Any], analysis: Analysis) -> None:
    absorption, conductivity = analysis.absorption, analysis.conductivity_spectrum
    running, correlation = analysis.running_conductivity, analysis.correlation
    _table(
        folder / "spectrum.csv",
        {
            "wavenumber_per_cm": analysis.wavenumbers,
            "absorption_per_cm": absorption.value,
            "absorption_error_per_cm": absorption.error,
            "conductivity_S_per_m": conductivity.value,
            "conductivity_error_S_per_m": conductivity.error,
        },
    )
    _table(
        folder / "conductivity.csv",
        {
            "time_ps": analysis.times,
            "correlation_e2_A2_per_ps2": correlation.value,
            "correlation_error_e2_A2_per_ps2": correlation.error,
            "running_conductivity_S_per_m": running.value,
            "running_conductivity_error_S_per_m": running.error,
        },
    )
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    band_plot(
        folder / "spectrum.png",
        analysis.wavenumbers,
        absorption.value,
        absorption.error,
        ("wavenumber (1/cm)", "absorption x refractive index (1/cm)"),
        f"resolution {summary['resolution_per_cm']:g} 1/cm, {summary['blocks']} blocks",
    )
    band_plot(
        folder / "conductivity.png",
        analysis.times,
        running.value,
        running.error,
        ("time (ps)", "Green-Kubo integral (S/m)"),
        f"{summary['blocks']} blocks of {analysis.block_length:.4g} ps",
        (analysis.correlation_time, "correlation time"),
    )


def _table(path: Path, columns: dict[str, np.ndarray]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{value:.8g}" for value in row] for row in zip(*columns.values(), strict=True))
