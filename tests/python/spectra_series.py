"""Series with known correlations, for the tests of `les-spectra`."""

from __future__ import annotations

import math

import numpy as np

from les_md.spectra import Series

VOLUME, TEMPERATURE = 1000.0, 300.0
LIGHT_CM_PER_PS = 0.0299792458

#: S/m of one e^2 angstrom^2/ps: (1.602176634e-19 C 1e-10 m)^2 / 1e-12 s over (10 angstrom)^3 and k_B 300 K.
S_PER_M = (1.602176634e-29) ** 2 / 1e-12 / (1e-27 * 1.380649e-23 * 300.0)


def gaussian_process(correlation: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, 3) independent Gaussian series whose autocorrelation at lag k is exactly `correlation[k]`, k < n."""
    periodic = np.concatenate([correlation, correlation[-2:0:-1]])
    power = np.fft.rfft(periodic).real
    assert power.min() > -1e-9 * power.max()
    noise = np.fft.rfft(np.random.default_rng(seed).normal(size=(len(periodic), 3)), axis=0)
    return np.fft.irfft(noise * np.sqrt(np.clip(power, 0, None))[:, None], axis=0)[: len(correlation)]


def polarization_of(current: np.ndarray, dt: float) -> np.ndarray:
    """(n + 1, 3) with the current as the difference over each step."""
    return np.concatenate([np.zeros((1, 3)), np.cumsum(current, axis=0)]) * dt


def series_of(current: np.ndarray | None, dt: float, polarization: np.ndarray | None = None) -> Series:
    return Series(dt, current, polarization, VOLUME, TEMPERATURE)


class Oscillator:
    """Current of a damped harmonic oscillator in a heat bath, <J_a^2> = 1: correlations and conductivity spectrum."""

    def __init__(self, wavenumber: float, damping: float) -> None:
        self.frequency = 2 * np.pi * LIGHT_CM_PER_PS * wavenumber
        self.damping = damping

    def correlation(self, t: np.ndarray) -> np.ndarray:
        return np.exp(-self.damping * t / 2) * self.waves(t, -1.0)

    def position_correlation(self, t: np.ndarray) -> np.ndarray:
        """Of the polarization; minus its second derivative is `correlation`."""
        return np.exp(-self.damping * t / 2) * self.waves(t, 1.0) / self.frequency**2

    def waves(self, t: np.ndarray, sign: float) -> np.ndarray:
        shifted = math.sqrt(self.frequency**2 - self.damping**2 / 4)
        return np.cos(shifted * t) + sign * self.damping / (2 * shifted) * np.sin(shifted * t)

    def conductivity(self, wavenumbers: np.ndarray) -> np.ndarray:
        w = 2 * np.pi * LIGHT_CM_PER_PS * wavenumbers
        return S_PER_M * self.damping * w**2 / ((self.frequency**2 - w**2) ** 2 + (self.damping * w) ** 2)
