"""Infrared absorption and ionic conductivity from the current of a cell: the physics of `les-spectra`.

Linear response of a cell with conducting boundary, classical (the harmonic quantum correction leaves this form as it
is). With C(t) = <J_a(0) J_a(t)>, averaged over the axes a:

    sigma(w)      = 1 / (2 V k_B T) int_{-inf}^{inf} C(t) cos(w t) dt
    alpha(w) n(w) = sigma(w) / (eps0 c)
    sigma         = 1 / (V k_B T) int_0^inf C(t) dt                    Green and Kubo
                  = 1 / (2 V k_B T) d/dt <[P_a(t) - P_a(0)]^2>         Einstein, large t

For three axes C = <J(0).J(t)> / 3. The series is cut into blocks; every quantity is computed in each of them, and its
mean and standard error over the blocks are what is reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from les_md.constants import BOLTZMANN_CONSTANT, ELEMENTARY_CHARGE, SPEED_OF_LIGHT, VACUUM_PERMITTIVITY
from les_md.errors import LESError
from les_md.spectra.correlations import (
    autocorrelation,
    cosine_transform,
    running_integral,
    window_length,
    window_weights,
)
from les_md.spectra.series import Series

#: Waves per cm of one wave per ps.
PER_CM_OF_PER_PS = 1e12 / (100.0 * SPEED_OF_LIGHT)

#: Points of the spectrum per resolution, at least; the transform is padded with zeros to reach it.
POINTS_PER_RESOLUTION = 4

#: End of the spectrum that is written, 1/cm: above the bands of hydrogen.
DEFAULT_END = 4500.0

#: Largest jump of the polarization, in its median change of a step, that a smooth motion makes.
LARGEST_JUMP = 20.0

#: Standard errors by which a change of the integral, or a mean current, is taken to be more than noise.
CHANGE_ERRORS, MEAN_ERRORS = 3.0, 5.0

#: Share of the largest absorption that may be left where the sampling ends.
LARGEST_ALIAS = 0.02


@dataclass
class Settings:
    """Choices of the analysis.

    Attributes:
        resolution: full width at half maximum that the window gives a sharp line, 1/cm.
        window: `hann` or `gaussian`, on the correlation function.
        blocks: number of blocks.
        correlation_time: ps, where the Green-Kubo integral is read; None: the length of the window.
        axes: directions that are averaged, some of `xyz`.
        max_wavenumber: end of the spectrum, 1/cm; None: 4500, or less where the sampling ends.
    """

    resolution: float = 10.0
    window: str = "hann"
    blocks: int = 10
    correlation_time: float | None = None
    axes: str = "xyz"
    max_wavenumber: float | None = None


@dataclass
class Estimate:
    """Mean over blocks and its standard error; numbers or arrays."""

    value: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, blocks: np.ndarray) -> Estimate:
        """From one value for each block, along the first axis."""
        return cls(blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / math.sqrt(len(blocks)))


@dataclass
class Analysis:
    """Results.

    Attributes:
        wavenumbers: 1/cm.
        absorption: absorption coefficient times refractive index, 1/cm.
        conductivity_spectrum: real part of sigma(w), S/m.
        times: ps.
        correlation: <J(0).J(t)> over the chosen axes, e^2 angstrom^2/ps^2.
        running_conductivity: the Green-Kubo integral up to each time, S/m.
        green_kubo: at `correlation_time`, S/m.
        change: green_kubo less the integral up to half the correlation time, S/m: 0 within its error on a plateau.
        einstein: from the polarization, S/m; None without one.
        mean_current: (n_axes,), e angstrom/ps.
        time_step, block_length, window_length, correlation_time: ps.
        sampling_limit: wavenumber above which the series has no information, 1/cm.
        n_transform: points of the padded transform.
        warnings: what makes the numbers doubtful.
    """

    wavenumbers: np.ndarray
    absorption: Estimate
    conductivity_spectrum: Estimate
    times: np.ndarray
    correlation: Estimate
    running_conductivity: Estimate
    green_kubo: Estimate
    change: Estimate
    einstein: Estimate | None
    mean_current: Estimate
    time_step: float
    block_length: float
    window_length: float
    correlation_time: float
    sampling_limit: float
    n_transform: int
    warnings: list[str]


def analyse(series: Series, settings: Settings | None = None) -> Analysis:
    """Spectrum and conductivity of `series`; raises LESError where it is too short for the settings."""
    settings = settings or Settings()
    check_settings(settings)
    axes = ["xyz".index(axis) for axis in settings.axes]
    dt = series.time_step
    current, from_polarization = _current(series)
    sampling_limit = 0.5 / dt * PER_CM_OF_PER_PS
    length = len(current) // settings.blocks
    window = window_length(settings.window, settings.resolution / PER_CM_OF_PER_PS)
    n_window = math.ceil(window / dt) + 1
    n_half = max(1, round((settings.correlation_time or window) / (2 * dt)))
    n_plateau = 2 * n_half
    n_lags = max(n_window, n_plateau + 1)
    _check_length(series, settings, length, n_lags)
    _check_sampling(settings, dt, sampling_limit)

    blocks = current[: settings.blocks * length, axes].reshape(settings.blocks, length, len(axes))
    correlation = np.stack([autocorrelation(block, n_lags) for block in blocks])
    of_one_axis = correlation / len(axes)
    to_conductivity = conductivity_factor(series.volume, series.temperature)
    running = to_conductivity * running_integral(of_one_axis, dt)

    n_transform = _transform_points(settings.resolution, dt, n_window)
    frequencies = np.fft.rfftfreq(n_transform, dt)
    weights = window_weights(settings.window, dt * np.arange(n_window), window)
    spectra = 0.5 * to_conductivity * cosine_transform(of_one_axis[:, :n_window] * weights, dt, n_transform)
    if from_polarization:
        spectra /= np.sinc(frequencies * dt) ** 2

    wavenumbers = frequencies * PER_CM_OF_PER_PS
    wanted = wavenumbers <= (settings.max_wavenumber or DEFAULT_END) * (1 + 1e-12)
    conductivity_spectrum = spectra[:, wanted]
    analysis = Analysis(
        wavenumbers=wavenumbers[wanted],
        # S/m over eps0 c is 1/m
        absorption=Estimate.of(conductivity_spectrum / (VACUUM_PERMITTIVITY * SPEED_OF_LIGHT) * 1e-2),
        conductivity_spectrum=Estimate.of(conductivity_spectrum),
        times=dt * np.arange(n_lags),
        correlation=Estimate.of(correlation),
        running_conductivity=Estimate.of(running),
        green_kubo=Estimate.of(running[:, n_plateau]),
        change=Estimate.of(running[:, n_plateau] - running[:, n_half]),
        einstein=None,
        mean_current=Estimate.of(blocks.mean(axis=1)),
        time_step=dt,
        block_length=dt * length,
        window_length=window,
        correlation_time=dt * n_plateau,
        sampling_limit=sampling_limit,
        n_transform=n_transform,
        warnings=[],
    )
    if series.polarization is not None:
        # k differences belong to k + 1 polarizations
        parts = [slice(n * length, (n + 1) * length + from_polarization) for n in range(settings.blocks)]
        slopes = [_einstein_slope(series.polarization[part, axes], n_half, dt) for part in parts]
        analysis.einstein = Estimate.of(to_conductivity * np.array(slopes))
    analysis.warnings = _warnings(analysis, series, spectra.mean(axis=0))
    return analysis


def _current(series: Series) -> tuple[np.ndarray, bool]:
    """The current, and whether it is a difference of polarizations.

    (P(t + dt) - P(t)) / dt is the mean of the current over a step; at the angular frequency w that is the current in
    the middle of the step times sin(w dt / 2) / (w dt / 2), whose square is divided out of the spectrum.
    """
    if series.current is not None:
        return series.current, False
    if series.polarization is None:
        raise LESError("expected a series with a current or a polarization, got neither")
    return np.diff(series.polarization, axis=0) / series.time_step, True


def _einstein_slope(polarization: np.ndarray, n_half: int, dt: float) -> float:
    """Half the slope of <[P_a(t) - P_a(0)]^2> between 1/2 and 3/2 of the correlation time (n_half and 3 n_half steps).

    That is the mean of the Green-Kubo integral over these times.
    """
    early, late = (np.mean((polarization[lag:] - polarization[:-lag]) ** 2) for lag in (n_half, 3 * n_half))
    return float(late - early) / (2.0 * 2 * n_half * dt)


def conductivity_factor(volume: float, temperature: float) -> float:
    """S/m of an integral of <J_a J_a> of one e^2 angstrom^2/ps, for angstrom^3 and K."""
    charge_length = ELEMENTARY_CHARGE * 1e-10
    return charge_length**2 * 1e12 / (volume * 1e-30 * BOLTZMANN_CONSTANT * temperature)


def check_settings(settings: Settings) -> None:
    """Raises LESError for a value that has no meaning."""
    for name in ("resolution", "correlation_time", "max_wavenumber"):
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise LESError(f"--{name.replace('_', '-')} must be positive, got {value}")
    if settings.window not in ("hann", "gaussian"):
        raise LESError(f"--window must be hann or gaussian, got {settings.window!r}")
    if settings.blocks < 2:
        raise LESError(f"--blocks must be at least 2, for a standard error, got {settings.blocks}")
    if not settings.axes or set(settings.axes) - set("xyz") or len(set(settings.axes)) != len(settings.axes):
        raise LESError(f"--axes must be some of the letters xyz, got {settings.axes!r}")


def _check_length(series: Series, settings: Settings, length: int, n_lags: int) -> None:
    """Blocks must be twice as long as the correlations that are taken from them."""
    dt = series.time_step
    if length >= 2 * n_lags:
        return
    raise LESError(
        f"the series is too short: {series.n_rows} rows of {1000 * dt:.6g} fs are {settings.blocks} blocks of "
        f"{dt * length:.4g} ps, expected blocks of at least {2 * dt * n_lags:.4g} ps (twice the correlation function); "
        "run longer, or take fewer --blocks, a larger --resolution or a smaller --correlation-time"
    )


def _check_sampling(settings: Settings, dt: float, limit: float) -> None:
    end = settings.max_wavenumber
    if end is not None and not settings.resolution < end <= limit:
        raise LESError(
            f"--max-wavenumber must be more than the resolution and at most {limit:.6g} 1/cm for a current every "
            f"{1000 * dt:.6g} fs, got {end:g}; write the current more often for more"
        )


def _transform_points(resolution: float, dt: float, n_window: int) -> int:
    """A power of two that holds the window on both sides of 0 and gives a grid fine enough for `resolution`."""
    wanted = POINTS_PER_RESOLUTION * PER_CM_OF_PER_PS / (resolution * dt)
    return 2 ** math.ceil(math.log2(max(wanted, 2 * n_window)))


def _warnings(analysis: Analysis, series: Series, spectrum: np.ndarray) -> list[str]:
    """What makes the numbers doubtful, one sentence each; `spectrum` goes up to the limit of the sampling."""
    found = []
    if abs(analysis.change.value) > CHANGE_ERRORS * analysis.change.error:
        found.append(
            f"the Green-Kubo integral still changes by {analysis.change.value:.3g} +- {analysis.change.error:.2g} S/m "
            "between half the correlation time and the whole: look at the plot and choose --correlation-time"
        )
    if np.any(np.abs(analysis.mean_current.value) > MEAN_ERRORS * analysis.mean_current.error):
        found.append(
            f"the mean current is {np.round(analysis.mean_current.value, 4).tolist()} e angstrom/ps, not 0 within its "
            "error: an external field, or a drift of a charged cell? The formulas hold at equilibrium without field"
        )
    if np.abs(spectrum[-max(1, len(spectrum) // 20) :]).mean() > LARGEST_ALIAS * np.abs(spectrum).max():
        found.append(
            f"the spectrum does not vanish at {analysis.sampling_limit:.0f} 1/cm, where the sampling ends, and what "
            "lies beyond is folded back: write the current more often"
        )
    if series.polarization is not None:
        jumps = np.abs(np.diff(series.polarization, axis=0))
        usual = np.median(jumps, axis=0)
        if np.any(jumps.max(axis=0) > LARGEST_JUMP * usual):
            row = int(np.argmax((jumps / np.where(usual > 0, usual, 1.0)).max(axis=1)))
            found.append(
                f"the polarization jumps by {np.round(jumps[row], 3).tolist()} e angstrom after row {row + 1}: "
                "a quantum of the polarization? Give it unwrapped"
            )
    return found
