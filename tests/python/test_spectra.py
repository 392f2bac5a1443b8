"""`les-spectra`: closed forms of the physics, and warnings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from spectra_series import (
    LIGHT_CM_PER_PS,
    S_PER_M,
    TEMPERATURE,
    VOLUME,
    Oscillator,
    gaussian_process,
    polarization_of,
    series_of,
)

from les_md.spectra import Series, Settings, analyse
from les_md.spectra.correlations import autocorrelation, cosine_transform, running_integral, window_weights


@pytest.fixture(scope="module")
def ornstein_uhlenbeck() -> tuple[np.ndarray, float, float]:
    """Current with C(t) = 4 exp(-t / 0.1 ps) per axis, its time step, and its conductivity."""
    dt, tau = 0.01, 0.1
    return gaussian_process(4.0 * np.exp(-dt * np.arange(60001) / tau)), dt, 4.0 * tau * S_PER_M


def test_autocorrelation_is_the_mean_over_pairs() -> None:
    x = np.random.default_rng(1).normal(size=(50, 2))
    expected = [np.mean(np.sum(x[: 50 - k] * x[k:], axis=1)) for k in range(20)]
    np.testing.assert_allclose(autocorrelation(x, 20), expected, rtol=0, atol=1e-13)


def test_transform_of_an_oscillator_has_its_closed_form() -> None:
    """Peak position, full width at half maximum (the damping) and area, without noise and window."""
    oscillator, dt = Oscillator(1000.0, damping=2.0), 0.0005
    spectrum = 0.5 * S_PER_M * cosine_transform(oscillator.correlation(dt * np.arange(2**15)), dt, 2**17)
    wavenumbers = np.fft.rfftfreq(2**17, dt) / LIGHT_CM_PER_PS
    peak = spectrum.argmax()
    assert wavenumbers[peak] == pytest.approx(1000.0, abs=wavenumbers[1])
    assert spectrum[peak] == pytest.approx(S_PER_M / oscillator.damping, rel=2e-3)
    above = wavenumbers[spectrum > spectrum[peak] / 2]
    width = oscillator.damping / (2 * np.pi * LIGHT_CM_PER_PS)
    assert above[-1] - above[0] == pytest.approx(width, abs=2 * wavenumbers[1])
    band = wavenumbers < 2000
    np.testing.assert_allclose(spectrum[band], oscillator.conductivity(wavenumbers[band]), rtol=0, atol=1e-3 * S_PER_M)
    # sum rule: int_0^inf sigma dw = pi <J_a^2> / (2 V k_B T)
    area = np.trapezoid(spectrum, 2 * np.pi * LIGHT_CM_PER_PS * wavenumbers)
    assert area == pytest.approx(np.pi / 2 * S_PER_M, rel=1e-6)
    # a bounded polarization conducts no direct current
    integral = running_integral(oscillator.correlation(dt * np.arange(2**15)), dt)
    assert abs(integral[-1]) < 1e-5


@pytest.mark.parametrize("from_polarization", [False, True])
def test_oscillator_spectrum_within_its_errors(from_polarization: bool) -> None:
    """The whole spectrum against the closed form seen through the window, in units of the stated errors.

    From the polarization the closed form is that of its differences, with the mean over a step divided out.
    """
    oscillator, dt, n = Oscillator(800.0, damping=3.0), 0.004, 60000
    times = dt * np.arange(n + 1)
    expected = oscillator.correlation(times)
    series = series_of(gaussian_process(expected), dt)
    if from_polarization:
        position = oscillator.position_correlation(times)
        series = series_of(None, dt, gaussian_process(position))
        mirrored = np.concatenate([position[1:2], position])
        expected = -np.diff(mirrored, n=2) / dt**2
    settings = Settings(resolution=20, blocks=12, max_wavenumber=1500)
    result = analyse(series, settings)
    n_window = math.ceil(result.window_length / dt) + 1
    weights = window_weights("hann", dt * np.arange(n_window), result.window_length)
    exact = 0.5 * S_PER_M * cosine_transform(expected[:n_window] * weights, dt, result.n_transform)
    exact = exact[: len(result.wavenumbers)]
    if from_polarization:
        exact /= np.sinc(result.wavenumbers * LIGHT_CM_PER_PS * dt) ** 2
    deviations = (result.conductivity_spectrum.value - exact) / result.conductivity_spectrum.error
    # the mean square of Student's t with 11 degrees of freedom is 11/9
    assert 0.6 < np.mean(deviations**2) < 2.2
    assert result.conductivity_spectrum.error.max() < 0.1 * exact.max()
    assert result.wavenumbers[result.absorption.value.argmax()] == pytest.approx(800.0, abs=5.0)
    assert abs(result.green_kubo.value) < 3 * result.green_kubo.error
    assert result.warnings == []


def test_absorption_is_conductivity_over_permittivity_and_speed_of_light(
    ornstein_uhlenbeck: tuple[np.ndarray, float, float],
) -> None:
    current, dt, _ = ornstein_uhlenbeck
    result = analyse(series_of(current, dt), Settings(resolution=50, max_wavenumber=1000))
    per_m = result.conductivity_spectrum.value / (8.8541878188e-12 * 299792458.0)
    np.testing.assert_allclose(result.absorption.value, per_m / 100, rtol=1e-12)
    np.testing.assert_allclose(
        result.absorption.error * result.conductivity_spectrum.value,
        result.conductivity_spectrum.error * result.absorption.value,
        rtol=1e-12,
    )


def test_conductivity_of_ornstein_uhlenbeck_current(ornstein_uhlenbeck: tuple[np.ndarray, float, float]) -> None:
    current, dt, conductivity = ornstein_uhlenbeck
    result = analyse(series_of(current, dt), Settings(resolution=50, correlation_time=0.8, blocks=20))
    assert result.correlation_time == pytest.approx(0.8)
    assert abs(result.green_kubo.value - conductivity) < 2 * result.green_kubo.error
    assert result.green_kubo.error < 0.1 * conductivity
    assert abs(result.change.value) < 3 * result.change.error
    assert result.correlation.value[0] == pytest.approx(3 * 4.0, rel=0.03)
    assert result.running_conductivity.value[0] == 0.0
    assert result.warnings == []


def test_errors_are_the_spread_of_repetitions() -> None:
    """The stated error is the standard deviation of the result over independent runs."""
    dt, tau, values, errors = 0.02, 0.1, [], []
    correlation = np.exp(-dt * np.arange(6001) / tau)
    for seed in range(40):
        series = series_of(gaussian_process(correlation, seed), dt)
        result = analyse(series, Settings(resolution=100, correlation_time=0.6, blocks=10))
        values.append(float(result.green_kubo.value))
        errors.append(float(result.green_kubo.error))
    assert np.std(values) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.35)
    assert abs(np.mean(values) - tau * S_PER_M) < 4 * np.std(values) / math.sqrt(40)


def test_einstein_equals_green_kubo(ornstein_uhlenbeck: tuple[np.ndarray, float, float]) -> None:
    """The same motion as current and as polarization: equal spectra but for the step mean, one conductivity."""
    current, dt, conductivity = ornstein_uhlenbeck
    settings = Settings(resolution=50, correlation_time=0.8, blocks=20)
    direct = analyse(series_of(current, dt), settings)
    result = analyse(series_of(None, dt, polarization_of(current, dt)), settings)
    assert direct.einstein is None
    assert result.einstein is not None
    np.testing.assert_allclose(result.green_kubo.value, direct.green_kubo.value, rtol=1e-9)
    steps = np.sinc(np.fft.rfftfreq(direct.n_transform, dt)[: len(direct.wavenumbers)] * dt) ** 2
    np.testing.assert_allclose(result.absorption.value * steps, direct.absorption.value, rtol=1e-9)
    assert abs(result.einstein.value - result.green_kubo.value) < 0.3 * result.green_kubo.error
    assert abs(result.einstein.value - conductivity) < 2 * result.einstein.error
    both = analyse(series_of(current, dt, polarization_of(current, dt)[:-1]), settings)
    assert both.einstein is not None
    assert both.einstein.value == pytest.approx(result.einstein.value, rel=1e-3)


@pytest.mark.parametrize("window", ["hann", "gaussian"])
def test_lines_have_the_stated_position_and_resolution(window: str) -> None:
    """Three sharp lines: places, heights in the ratio of the squared amplitudes, full width at half maximum."""
    dt, t = 0.001, 0.001 * np.arange(100000)
    phases = np.random.default_rng(2).uniform(0, 2 * np.pi, (3, 3))
    lines = {500.0: 1.0, 1650.0: 2.0, 3400.0: 0.7}
    current = np.zeros((len(t), 3))
    for (wavenumber, amplitude), phase in zip(lines.items(), phases, strict=True):
        angle = 2 * np.pi * LIGHT_CM_PER_PS * wavenumber * t
        current += amplitude * np.cos(angle[:, None] + phase)
    resolution = 16.0
    result = analyse(series_of(current, dt), Settings(resolution=resolution, window=window, blocks=4))
    spectrum, grid = result.absorption.value, result.wavenumbers
    assert grid[1] <= resolution / 4
    heights = []
    for wavenumber in lines:
        near = np.abs(grid - wavenumber) < 50
        fine = np.linspace(wavenumber - 40, wavenumber + 40, 8001)
        line = np.interp(fine, grid[near], spectrum[near])
        above = fine[line > line.max() / 2]
        assert fine[line.argmax()] == pytest.approx(wavenumber, abs=grid[1])
        assert above[-1] - above[0] == pytest.approx(resolution, rel=0.05)
        heights.append(np.trapezoid(spectrum[near], grid[near]))
    np.testing.assert_allclose(np.array(heights) / heights[0], np.array(list(lines.values())) ** 2, rtol=0.02)


def test_axes_are_averaged() -> None:
    dt = 0.01
    current = gaussian_process(np.exp(-dt * np.arange(20001) / 0.1)) * [1.0, 2.0, 3.0]
    settings = {"resolution": 50.0, "correlation_time": 0.6}
    one = [analyse(series_of(current, dt), Settings(axes=axis, **settings)).green_kubo.value for axis in "xyz"]
    for axes in ("xyz", "xz"):
        result = analyse(series_of(current, dt), Settings(axes=axes, **settings))
        expected = np.mean([one["xyz".index(axis)] for axis in axes])
        assert result.green_kubo.value == pytest.approx(expected, rel=1e-10)


def test_scaling_with_volume_and_temperature(ornstein_uhlenbeck: tuple[np.ndarray, float, float]) -> None:
    current, dt, _ = ornstein_uhlenbeck
    result = analyse(Series(dt, current, None, VOLUME, TEMPERATURE), Settings(resolution=50))
    other = analyse(Series(dt, current, None, 2 * VOLUME, 3 * TEMPERATURE), Settings(resolution=50))
    np.testing.assert_allclose(6 * other.absorption.value, result.absorption.value, rtol=1e-12)
    np.testing.assert_allclose(6 * other.green_kubo.error, result.green_kubo.error, rtol=1e-12)


def test_warns_of_an_integral_that_has_no_plateau(ornstein_uhlenbeck: tuple[np.ndarray, float, float]) -> None:
    current, dt, _ = ornstein_uhlenbeck
    result = analyse(series_of(current, dt), Settings(resolution=50, correlation_time=0.1))
    assert "still changes by" in result.warnings[0]


def test_warns_of_a_mean_current(ornstein_uhlenbeck: tuple[np.ndarray, float, float]) -> None:
    current, dt, _ = ornstein_uhlenbeck
    result = analyse(series_of(current + np.array([0.0, 0.0, 1.0]), dt), Settings(resolution=50, correlation_time=0.8))
    assert any("the mean current is" in warning for warning in result.warnings)


def test_warns_of_rare_sampling() -> None:
    dt = 0.02
    current = gaussian_process(Oscillator(820.0, 2.0).correlation(dt * np.arange(20001)))
    result = analyse(series_of(current, dt), Settings(resolution=20))
    assert any("write the current more often" in warning for warning in result.warnings)


def test_warns_of_a_wrapped_polarization(ornstein_uhlenbeck: tuple[np.ndarray, float, float]) -> None:
    current, dt, _ = ornstein_uhlenbeck
    polarization = polarization_of(current, dt)
    polarization[1234:] += [0.0, 10.0, 0.0]
    result = analyse(series_of(None, dt, polarization), Settings(resolution=50))
    assert any("jumps by" in warning and "after row 1234:" in warning for warning in result.warnings)
