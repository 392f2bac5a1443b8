"""`les-spectra`: every form of input, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spectra_series import TEMPERATURE, VOLUME, Oscillator, gaussian_process, polarization_of, series_of

from les_md.errors import LESError
from les_md.spectra import Analysis, SeriesOptions, Settings, analyse, read_series
from les_md.spectra.program import main


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
