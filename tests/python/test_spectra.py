"""`les-spectra`: closed forms of the physics, every form of input, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from les_md.errors import LESError
from les_md.spectra import Analysis, Series, SeriesOptions, Settings, analyse, read_series
from les_md.spectra.correlations import autocorrelation, cosine_transform, running_integral, window_weights
from les_md.spectra.program import main

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


# ---------------------------------------------------------------------------------------------------------------------
# warnings


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


# ---------------------------------------------------------------------------------------------------------------------
# input files


@pytest.fixture(scope="module")
def motion() -> tuple[np.ndarray, np.ndarray, float]:
    """Current (e angstrom/ps), polarization (e angstrom) and time step (ps) that the files hold."""
    dt = 0.002
    current = gaussian_process(Oscillator(800.0, 5.0).correlation(dt * np.arange(3001)))
    return current, polarization_of(current, dt)[:-1], dt


def columns_text(header: str, *columns: np.ndarray, delimiter: str = " ") -> str:
    rows = np.column_stack(columns)
    return header + "\n" + "\n".join(delimiter.join(f"{value:.12g}" for value in row) for row in rows) + "\n"


FACTS = f"# volume_A3 {VOLUME} temperature_K {TEMPERATURE}"


def fix_ave_time(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    """Metal: e angstrom/ps; every second step of 1 fs, from step 5000 on."""
    steps = 5000 + 2 * np.arange(len(current))
    temperature = np.where(steps % 4 == 0, TEMPERATURE + 10, TEMPERATURE - 10)[: len(current)]
    temperature[-1] = TEMPERATURE
    header = "# Time-averaged data for fix current\n# TimeStep c_les[3] c_les[4] c_les[5] c_thermo_temp"
    text = columns_text(header, steps, current, temperature)
    return text, ["--units", "metal", "--timestep", str(500 * dt), "--volume", str(VOLUME)]


def fix_print(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    """Real: e angstrom/fs."""
    facts = f"{FACTS} units real timestep_fs {1000 * dt}"
    return columns_text(facts + "\n# step jx jy jz", np.arange(len(current)), current / 1000), []


def chosen_columns(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    steps = np.arange(len(current))
    text = columns_text("# TimeStep c_les[1] c_les[2] c_les[3] c_les[4] c_les[5]", steps, steps, steps, current)
    options = ["--columns", "c_les[3]", "5", "c_les[5]", "--units", "metal", "--timestep", str(1000 * dt)]
    return FACTS + "\n" + text, options


def thermo_log(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    """Two runs; the second table counts."""
    steps = np.arange(len(current))
    table = columns_text(
        "   Step          Temp          Volume          v_Jx          v_Jy          v_Jz", steps,
        np.full(len(steps), TEMPERATURE), np.full(len(steps), VOLUME), current,
    )  # fmt: skip
    cut = table.index("\n", 300) + 1
    first = "   Step          Temp\n         0   77\n         1   78\n"
    log = f"LAMMPS (22 Jul 2025)\nunits metal\n3 atoms\n{first}Loop time of 1 on 1 procs\n\n{table[:cut]}"
    log += "WARNING: Something that LAMMPS says between rows (src/thermo.cpp:1)\n" + table[cut:]
    return log + "Loop time of 2 on 1 procs\n1 2 3 4 5 6\n", ["--units", "metal", "--timestep", str(1000 * dt)]


def no_header(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    text = columns_text("", 4 * np.arange(len(current)), current).lstrip()
    sizes = ["--volume", str(VOLUME), "--temperature", str(TEMPERATURE)]
    return text, ["--units", "metal", "--timestep", str(250 * dt), *sizes]


def csv_current(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    """With a column of text, which does not matter."""
    rows = [f"{dt * k:.6f},water,{x:.12g},{y:.12g},{z:.12g}" for k, (x, y, z) in enumerate(current)]
    return "\n".join([FACTS, '#"time_ps","name","Jx","Jy","Jz"', *rows]), []


def csv_polarization(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    times = dt * np.arange(len(polarization))
    text = columns_text("time_ps,Px,Py,Pz", times, polarization, delimiter=",")
    return text, ["--volume", str(VOLUME), "--temperature", str(TEMPERATURE)]


def csv_both(current: np.ndarray, polarization: np.ndarray, dt: float) -> tuple[str, list[str]]:
    times = dt * np.arange(len(polarization))
    header = f"{FACTS}\ntime_ps,Px,Py,Pz,Jx,Jy,Jz"
    return columns_text(header, times, polarization, current, delimiter=","), []


FORMS = [
    fix_ave_time, fix_print, chosen_columns, thermo_log, no_header, csv_current, csv_polarization, csv_both,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_program_on_every_form_of_input(
    form: Callable[[np.ndarray, np.ndarray, float], tuple[str, list[str]]],
    motion: tuple[np.ndarray, np.ndarray, float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    current, polarization, dt = motion
    text, options = form(current, polarization, dt)
    (tmp_path / "series.txt").write_text(text)
    check_program(tmp_path / "series.txt", options, form.__name__, motion, capsys.readouterr)


@pytest.mark.parametrize("with_polarization", [False, True])
def test_program_on_npz(
    with_polarization: bool,
    motion: tuple[np.ndarray, np.ndarray, float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    current, polarization, dt = motion
    arrays = dict(zip(("Jx", "Jy", "Jz"), current.T, strict=True))
    if with_polarization:
        arrays.update(zip(("Px", "Py", "Pz"), polarization.T, strict=True))
    times = dt * np.arange(len(current))
    np.savez(tmp_path / "series.npz", time_ps=times, volume=VOLUME, temperature_K=TEMPERATURE, **arrays)
    name = "csv_both" if with_polarization else "npz"
    check_program(tmp_path / "series.npz", [], name, motion, capsys.readouterr)


def check_program(
    path: Path,
    options: list[str],
    name: str,
    motion: tuple[np.ndarray, np.ndarray, float],
    printed: Callable[[], tuple[str, str]],
) -> None:
    """Runs the program and compares what it writes with the analysis of the numbers themselves."""
    current, polarization, dt = motion
    output = path.parent / "out"
    settings = Settings(resolution=80, correlation_time=0.3, blocks=5)
    arguments = ["--resolution", "80", "--correlation-time", "0.3", "--blocks", "5", "--output", str(output)]
    status = main([str(path), *options, *arguments])
    out, err = printed()
    assert (status, err) == (0, "")
    expected = analyse(
        series_of(
            None if name == "csv_polarization" else current,
            dt,
            polarization if name in ("csv_polarization", "csv_both") else None,
        ),
        settings,
    )
    assert sorted(file.name for file in output.iterdir()) == [
        "conductivity.csv", "conductivity.png", "spectrum.csv", "spectrum.png", "summary.json",
    ]  # fmt: skip
    check_tables(output, expected)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["volume_A3"] == pytest.approx(VOLUME)
    assert summary["temperature_K"] == pytest.approx(TEMPERATURE)
    assert summary["time_step_fs"] == pytest.approx(1000 * dt)
    conductivity = summary["conductivity_S_per_m"]
    assert conductivity["green_kubo"]["value"] == pytest.approx(float(expected.green_kubo.value), rel=1e-5)
    assert (conductivity["einstein"] is not None) == (expected.einstein is not None)
    assert "S/m, Green-Kubo up to 0.3 ps" in out
    assert ("Einstein" in out) == (expected.einstein is not None)
    assert f"blocks          5 of {expected.block_length:.4g} ps" in out


def check_tables(output: Path, expected: Analysis) -> None:
    with (output / "spectrum.csv").open() as stream:
        names, *rows = csv.reader(stream)
    assert names[:3] == ["wavenumber_per_cm", "absorption_per_cm", "absorption_error_per_cm"]
    table = np.array(rows, dtype=float)
    scale = np.abs(expected.absorption.value).max()
    np.testing.assert_allclose(table[:, 0], expected.wavenumbers, rtol=1e-6)
    np.testing.assert_allclose(table[:, 1], expected.absorption.value, rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(table[:, 2], expected.absorption.error, rtol=0, atol=1e-6 * scale)
    integral = np.loadtxt(output / "conductivity.csv", delimiter=",", skiprows=1)
    scale = np.abs(expected.running_conductivity.value).max()
    np.testing.assert_allclose(integral[:, 3], expected.running_conductivity.value, rtol=0, atol=1e-6 * scale)


def test_start_and_stop_choose_a_part(motion: tuple[np.ndarray, np.ndarray, float], tmp_path: Path) -> None:
    current, polarization, dt = motion
    text, _ = csv_current(current, polarization, dt)
    (tmp_path / "series.csv").write_text(text)
    series = read_series(tmp_path / "series.csv", SeriesOptions(start=1.0, stop=3.0))
    assert series.current is not None
    np.testing.assert_allclose(series.current, current[500:1501], rtol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# errors

GOOD = ["time_ps,Jx,Jy,Jz"] + [f"{0.001 * k:.3f},{k % 3},{k % 5},{k % 7}" for k in range(100)]
SIZES = {"volume": VOLUME, "temperature": TEMPERATURE}
STEPS = ["# TimeStep c_j[1] c_j[2] c_j[3]"] + [f"{10 * k} {k % 3} {k % 5} {k % 7}" for k in range(100)]
LAMMPS = {**SIZES, "units": "metal", "timestep": 0.5}


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (GOOD, {"temperature": 300.0}, r"does not say the volume: expected --volume \(angstrom\^3\)"),
        (GOOD, {"volume": 100.0}, r"does not say the temperature: expected --temperature \(K\)"),
        (GOOD, {**SIZES, "volume": -1.0}, r"volume must be a positive number of angstrom\^3, got -1.0 \(--volume\)"),
        (GOOD, {**SIZES, "temperature": math.nan}, r"temperature must be a positive number of K, got nan"),
        (GOOD, {**SIZES, "units": "real"}, r"--units is for files that count LAMMPS steps, but .* time_ps"),
        (GOOD, {**SIZES, "timestep": 0.5}, r"--timestep is for files that count LAMMPS steps"),
        (GOOD, {**SIZES, "columns": ["Jx", "Jy", "Jw"]}, r"--columns: expected a name .* 1 to 4, got 'Jw'; .* Jx, Jy"),
        (GOOD, {**SIZES, "columns": ["2", "3", "5"]}, r"--columns: expected a name .* from 1 to 4, got '5'"),
        (GOOD, {**SIZES, "columns": ["2", "2", "3"]}, r"--columns must name three different columns"),
        (GOOD, {**SIZES, "start": 5.0}, r"expected at least 3 rows between --start and --stop, got 0"),
        (["time_ps,Jx,Jy", "0,1,2"], SIZES, r"expected columns Jx, Jy, Jz .* or Px, Py, Pz .*, got time_ps, Jx, Jy;"),
        (["t,Jx,Jy,Jz", "0,1,2,3"], SIZES, r"expected a column time_ps, or Step of LAMMPS, got t, Jx, Jy, Jz"),
        ([*GOOD, "0.2,1,2,3"], SIZES, r"equal steps of 0.001 ps, got 0.099 and then 0.2 ps"),
        ([*GOOD[:50], *GOOD[51:]], SIZES, r"equal steps of 0.001 ps, got 0.048 and then 0.05 ps"),
        ([*GOOD, GOOD[-1]], SIZES, r"equal steps of 0.001 ps, got 0.099 and then 0.099 ps"),
        ([*GOOD, "0.100,1,nan,3"], SIZES, r"line 102 has a value that is not finite; expected .* time_ps, Jx, Jy, Jz"),
        ([*GOOD, "0.100,1,x,3"], SIZES, r"line 102: expected a number in Jy, got 'x'"),
        ([*GOOD, "0.100,1,2"], SIZES, r"line 102: expected a number in Jz, got 3 columns"),
        (["# volume 1000"], SIZES, r"expected rows of numbers, got none"),
        (["# TimeStep a b c", "1 0 0 0", "2 0 0 0", "3 0 0 0"], LAMMPS, r"numbers that change in time, got the same"),
        (STEPS, {**SIZES, "units": "metal"}, r"counts LAMMPS steps: expected --timestep FS"),
        (STEPS, {**SIZES, "timestep": 0.5}, r"must be metal .* or real .*, got neither --units nor a comment"),
        (["# units lj", *STEPS], {**SIZES, "timestep": 0.5}, r"must be metal .* or real .*, got lj"),
        (STEPS, {**LAMMPS, "timestep": 0.0}, r"timestep must be a positive number of fs, got 0.0"),
        ([STEPS[0] + " c_x", *(row + " 1" for row in STEPS[1:])], LAMMPS, r"name three with --columns"),
        (["LAMMPS (22 Jul 2025)", "1 2 3"], LAMMPS, r"expected a thermo table that begins with `Step`"),
    ],
)
def test_reading_errors(lines: list[str], options: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "series.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(LESError, match=message):
        read_series(tmp_path / "series.csv", SeriesOptions(**options))


@pytest.mark.parametrize(("units", "wrong"), [("metal", "real"), ("real", "metal")])
def test_wrong_units_show_beside_a_polarization(
    units: str, wrong: str, motion: tuple[np.ndarray, np.ndarray, float], tmp_path: Path
) -> None:
    current, polarization, dt = motion
    factor = 1.0 if units == "metal" else 1e-3
    header = "# step Jx Jy Jz Px Py Pz"
    text = columns_text(header, np.arange(len(current)), factor * current, polarization)
    (tmp_path / "series.txt").write_text(text)
    options = {**SIZES, "timestep": 1000 * dt}
    series = read_series(tmp_path / "series.txt", SeriesOptions(units=units, **options))
    np.testing.assert_allclose(series.current, current, rtol=1e-9)
    with pytest.raises(LESError, match=r"the current must be the change of the polarization, .* check units"):
        read_series(tmp_path / "series.txt", SeriesOptions(units=wrong, **options))


def test_errors_of_archives(tmp_path: Path) -> None:
    path = tmp_path / "series.npz"
    path.write_bytes(b"something else")
    with pytest.raises(LESError, match=r"expected a NumPy archive"):
        read_series(path)
    np.savez(path, time_ps=np.arange(5.0), Jx=np.arange(4.0))
    with pytest.raises(LESError, match=r"expected arrays of one length, got .*'Jx': 4"):
        read_series(path)
    np.savez(path, J=np.zeros((5, 3)))
    with pytest.raises(LESError, match=r"expected one-dimensional arrays such as time_ps and Jx"):
        read_series(path)
    np.savez(path, time_ps=np.arange(5.0), Jx=np.arange(5.0), Jy=np.full(5, np.inf), Jz=np.arange(5.0))
    with pytest.raises(LESError, match=r"row 1 has a value that is not finite"):
        read_series(path, SeriesOptions(**SIZES))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolution": 10.0}, r"too short: 2000 rows of 1 fs are 10 blocks of 0.2 ps, .* at least 6.6\d+ ps"),
        ({"correlation_time": 10.0, "resolution": 500.0}, r"too short: .* at least 20 ps .* --correlation-time"),
        ({"resolution": 500.0, "max_wavenumber": 20000.0}, r"--max-wavenumber must be .* at most 16678.2 1/cm .* 1 fs"),
        ({"resolution": 500.0, "max_wavenumber": 400.0}, r"--max-wavenumber must be more than the resolution"),
        ({"resolution": 0.0}, r"--resolution must be positive, got 0.0"),
        ({"correlation_time": -1.0}, r"--correlation-time must be positive"),
        ({"window": "none"}, r"--window must be hann or gaussian, got 'none'"),
        ({"blocks": 1}, r"--blocks must be at least 2"),
        ({"axes": "xa"}, r"--axes must be some of the letters xyz, got 'xa'"),
        ({"axes": "xx"}, r"--axes must be some of the letters xyz, got 'xx'"),
    ],
)
def test_settings_errors(settings: dict[str, object], message: str) -> None:
    current = np.random.default_rng(0).normal(size=(2000, 3))
    with pytest.raises(LESError, match=message):
        analyse(series_of(current, 0.001), Settings(**settings))


def test_series_without_anything() -> None:
    with pytest.raises(LESError, match=r"a current or a polarization, got neither"):
        analyse(series_of(None, 0.001))


def test_program_reports_errors_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.csv")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("les-spectra: error: series '")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    (tmp_path / "series.csv").write_text("\n".join(GOOD))
    arguments = [str(tmp_path / "series.csv"), "--volume", "100", "--temperature", "300"]
    assert main([*arguments, "--output", str(tmp_path / "series.csv")]) == 1
    assert "--output must be a folder" in capsys.readouterr().err
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 1
    assert "the series is too short" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main([*arguments, "--units", "lj"])
    assert "invalid choice: 'lj'" in capsys.readouterr().err
