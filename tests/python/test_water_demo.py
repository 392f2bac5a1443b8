"""The water demo: units and forces of its reference data (finite differences through LAMMPS), its quick version from
data to plots, what a second call does, and failures."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "water_demo"
LMP = Path(sys.executable).parent / "lmp"


@pytest.fixture(scope="module")
def quick_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the quick demo makes, started from another working directory."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run_demo(folder, folder / "out")
    return folder / "out"


def run_demo(working_directory: Path, output: Path) -> str:
    """Runs the quick demo into `output` and returns what it printed."""
    result = subprocess.run(
        [sys.executable, DEMO / "run.py", "--quick", "--output", output],
        cwd=working_directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def classical_energies(frame: ase.Atoms, displacements: np.ndarray, folder: Path) -> np.ndarray:
    """Energies (eV) of the classical potential at `frame` and with each of `displacements` `(n, n_atoms, 3)` added."""
    sys.path.insert(0, str(DEMO))
    try:
        from water import write_lammps_data
    finally:
        sys.path.remove(str(DEMO))
    write_lammps_data(folder / "water.data", frame, molecular=True)
    lengths = frame.cell.lengths()
    with (folder / "displaced.dump").open("w") as dump:
        for step, displacement in enumerate(displacements):
            dump.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(frame)}\nITEM: BOX BOUNDS pp pp pp\n")
            dump.writelines(f"0.0 {length!r}\n" for length in map(float, lengths))
            dump.write("ITEM: ATOMS id x y z\n")
            for index, (x, y, z) in enumerate((frame.positions + displacement).tolist(), start=1):
                dump.write(f"{index} {x!r} {y!r} {z!r}\n")
    (folder / "in.energies").write_text(
        "units real\natom_style full\nread_data water.data\n"
        f"include {DEMO / 'spc_water.potential'}\n"
        "thermo 1\nthermo_style custom step pe\nthermo_modify norm no format float %.12f\n"
        "rerun displaced.dump dump x y z box yes\n"
    )
    result = subprocess.run(
        [LMP, "-in", "in.energies", "-log", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=60,
        check=True,
    )
    table = result.stdout[result.stdout.index("PotEng") : result.stdout.index("Loop time")]
    rows = [line.split() for line in table.splitlines()]
    energies = [float(row[1]) for row in rows if len(row) == 2 and row[0].isdigit()]
    assert len(energies) == len(displacements)
    return np.array(energies) * ase.units.kcal / ase.units.mol


def test_reference_energies_and_forces_fit_each_other(quick_demo: Path, tmp_path: Path) -> None:
    frame = ase.io.read(quick_demo / "reference.xyz", index=0)
    step = 1e-3
    displacements = np.zeros((5, len(frame), 3))
    for number, (atom, axis) in enumerate([(0, 0), (4, 2)]):
        displacements[1 + 2 * number, atom, axis] = step
        displacements[2 + 2 * number, atom, axis] = -step
    energies = classical_energies(frame, displacements, tmp_path)
    assert energies[0] == pytest.approx(frame.get_potential_energy(), abs=1e-5)
    forces = -(energies[1::2] - energies[2::2]) / (2 * step)
    assert forces == pytest.approx([frame.get_forces()[0, 0], frame.get_forces()[4, 2]], abs=1e-4)


def test_reference_frames_carry_labels(quick_demo: Path) -> None:
    frames = ase.io.read(quick_demo / "reference.xyz", index=":")
    assert {frame.info["use"] for frame in frames} == {"training", "validation", "held_out"}
    for frame in frames:
        assert frame.get_chemical_symbols() == ["O", "H", "H"] * 32
        assert frame.arrays["reference_charges"].sum() == pytest.approx(0.0, abs=1e-9)
        assert np.abs(frame.get_forces().sum(axis=0)).max() < 1e-3


def test_quick_demo_leaves_the_promised_files(quick_demo: Path) -> None:
    for name in ["water.les.pt", "water_short_range.les.pt", "reference.xyz", "metrics.csv", "metrics.md"]:
        assert (quick_demo / name).stat().st_size > 0, name
    plots = {path.name for path in (quick_demo / "plots").iterdir()}
    assert plots == {"parity.png", "charges.png", "radial_distributions.png", "energy_drift.png"}
    assert not list(quick_demo.rglob(".partial-*"))
    with (quick_demo / "metrics.csv").open() as file:
        metrics = {row["quantity"]: float(row["value"]) for row in csv.DictReader(file)}
    assert all(np.isfinite(value) for value in metrics.values())


def test_second_run_does_no_work(quick_demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in quick_demo.rglob("*") if path.is_file()}
    printed = run_demo(quick_demo, quick_demo)
    assert printed.count("up to date") == 8
    assert {path: path.stat().st_mtime_ns for path in quick_demo.rglob("*") if path.is_file()} == before


def test_failing_program_is_one_line_and_leaves_no_output(tmp_path: Path) -> None:
    broken = tmp_path / "demo"
    broken.mkdir()
    (broken / "classical").write_text("in the way")
    result = subprocess.run(
        [sys.executable, DEMO / "run.py", "--quick", "--output", broken], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("water demo: error: ")
    assert not (broken / "reference.xyz").exists()
