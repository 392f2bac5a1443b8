"""Correlation functions of time series, their integrals and transforms: numerics without physics.

Times are in ps, frequencies in waves per ps.
"""

from __future__ import annotations

import math

import numpy as np

#: A Gaussian window is cut at this many standard deviations, where it is 3e-4.
GAUSSIAN_CUT = 4.0


def autocorrelation(series: np.ndarray, n_lags: int) -> np.ndarray:
    """(n_lags,) mean of x(i).x(i + k) over all i, for `series` (n, n_components), by fast Fourier transforms.

    Padded with zeros, so that the ends do not meet (Wiener and Khinchin); the n - k pairs of lag k are averaged.
    """
    n = len(series)
    transform = np.fft.rfft(series, n=2 ** math.ceil(math.log2(n + n_lags)), axis=0)
    sums = np.fft.irfft((transform * transform.conj()).real.sum(axis=1))[:n_lags]
    return sums / (n - np.arange(n_lags))


def running_integral(values: np.ndarray, dt: float) -> np.ndarray:
    """Trapezoidal integral from 0 to every point of the last axis."""
    sums = np.cumsum(values, axis=-1) - 0.5 * (values + values[..., :1])
    return dt * sums


def cosine_transform(values: np.ndarray, dt: float, n_transform: int) -> np.ndarray:
    """int_{-inf}^{inf} f(t) cos(w t) dt of an even f given at t = 0, dt, ..., at w = 2 pi rfftfreq(n_transform, dt)."""
    return dt * (2.0 * np.fft.rfft(values, n=n_transform, axis=-1).real - values[..., :1])


def window_weights(window: str, times: np.ndarray, length: float) -> np.ndarray:
    """Weights of the correlation function: 1 at t = 0, and 0 (`gaussian`: 3e-4) at t = `length`."""
    x = np.minimum(times / length, 1.0)
    if window == "hann":
        return np.cos(0.5 * np.pi * x) ** 2
    return np.where(times > length, 0.0, np.exp(-0.5 * (GAUSSIAN_CUT * x) ** 2))


def window_length(window: str, width: float) -> float:
    """Length for which the transform of a window has the full width `width` at half maximum.

    Hann, cos^2(pi t / 2 L): the transform is at half its height at the frequency 1 / (2 L), so the width is 1 / L.
    Gaussian of standard deviation s: that of the transform is 1 / (2 pi s), the width sqrt(8 ln 2) times as much.
    """
    if window == "hann":
        return 1.0 / width
    return GAUSSIAN_CUT * math.sqrt(8.0 * math.log(2.0)) / (2.0 * math.pi * width)
