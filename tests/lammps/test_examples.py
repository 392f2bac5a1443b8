"""The inputs in examples/lammps run as they are, on data made by the script beside them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np
import pytest
import torch
from lammps_runs import Lammps

from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings
from les_md.spectra import read_series
from les_md.spectra.program import main as les_spectra

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "lammps"
Structures = dict[str, ase.Atoms]


def make_data(folder: Path, atoms: ase.Atoms, data: str, symbols: list[str]) -> None:
    ase.io.write(folder / "start.xyz", atoms)
    command = [sys.executable, EXAMPLES / "make_data.py", "start.xyz", data, *symbols]
    subprocess.run(command, cwd=folder, check=True)


def transfer_model(folder: Path) -> Path:
    """A small model of O and H with charge transfers and random weights."""
    torch.manual_seed(0)
    settings = ModelSettings(
        symbols=["O", "H"], cutoff=3.0, n_radial=3, l_max=1, channels=4, hidden=[4], body_order=3, dtype="float64",
        long_range=LongRangeSettings(charge_flux=True),
    )  # fmt: skip
    path = folder / "model.les.pt"
    write_model_file(LESModel(settings), path, {}, None, None)
    return path


def salt_model(folder: Path, symbols: list[str]) -> Path:
    """A small model of these elements with random weights."""
    torch.manual_seed(0)
    settings = ModelSettings(
        symbols=symbols, cutoff=3.0, n_radial=3, l_max=1, channels=4, hidden=[4], body_order=3, dtype="float64",
        long_range=LongRangeSettings(),
    )  # fmt: skip
    path = folder / "model.les.pt"
    write_model_file(LESModel(settings), path, {}, None, None)
    return path


@pytest.mark.parametrize(("name", "dump"), [("in.water", "water.dump"), ("in.relax_and_npt", "npt.dump")])
def test_example(
    lammps: Lammps, model_file: Callable[[str], Path], structures: Structures, name: str, dump: str
) -> None:
    make_data(lammps.folder, structures["orthogonal"], "water.data", ["O", "H"])
    arguments = ["-var", "model", str(model_file("plain")), "-var", "steps", "20"]
    lammps.succeed((EXAMPLES / name).read_text(), 2, arguments)
    assert (lammps.folder / dump).stat().st_size > 0


def test_molten_salt(lammps: Lammps) -> None:
    symbols = ["Na", "Cl"]
    make_data(lammps.folder, ase.build.bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 2), "nacl.data", symbols)
    arguments = ["-var", "model", str(salt_model(lammps.folder, symbols)), "-var", "steps", "20"]
    lammps.succeed((EXAMPLES / "in.molten_salt").read_text(), 2, arguments)
    averages = np.loadtxt(lammps.folder / "averages.txt")
    assert averages.shape == (21, 5)
    assert (averages[-1, 1:3] > 0).all()
    assert np.abs(averages[:, 3:]).min() > 0
    assert (lammps.folder / "salt.restart").exists()
    assert (lammps.folder / "rdf.txt").stat().st_size > 0


def test_electrolyte(lammps: Lammps, structures: Structures) -> None:
    symbols = ["O", "H", "Na", "Cl"]
    brine = structures["orthogonal"] + ase.Atoms("NaCl", [[3.9, 4.1, 4.0], [0.1, 0.1, 0.1]])
    make_data(lammps.folder, brine, "brine.data", symbols)
    arguments = ["-var", "model", str(salt_model(lammps.folder, symbols)), "-var", "steps", "20"]
    lammps.succeed((EXAMPLES / "in.electrolyte").read_text(), 2, arguments)
    charges = np.loadtxt(lammps.folder / "charges.txt")
    assert charges.shape == (21, 6)
    # one ion of each: its mean square is the square of its mean
    np.testing.assert_allclose(charges[:, [2, 4]], charges[:, [1, 3]] ** 2, rtol=1e-4)
    assert np.abs(charges[:, 5]).min() > 0
    assert (lammps.folder / "brine.dump").stat().st_size > 0


def test_npt_and_its_continuation(lammps: Lammps, model_file: Callable[[str], Path], structures: Structures) -> None:
    """The second call goes on where the first one stopped."""
    make_data(lammps.folder, structures["orthogonal"], "water.data", ["O", "H"])
    script = (EXAMPLES / "in.npt").read_text()
    arguments = ["-var", "model", str(model_file("plain")), "-var", "steps", "10"]
    first = lammps.succeed(script, 2, arguments).thermo()
    again = lammps.succeed(script, 2, [*arguments, "-var", "continue", "yes"]).thermo()
    assert again["Step"][0] == first["Step"][-1] == 10
    assert again["Step"][-1] == 20
    for column in ("PotEng", "Volume", "Econserve"):
        np.testing.assert_allclose(again[column][0], first[column][-1], rtol=1e-7)
    assert np.loadtxt(lammps.folder / "density.txt").shape == (22, 4)


def test_spectrum_and_the_program_that_reads_it(
    lammps: Lammps, model_file: Callable[[str], Path], structures: Structures
) -> None:
    make_data(lammps.folder, structures["orthogonal"], "water.data", ["O", "H"])
    arguments = ["-var", "model", str(model_file("plain")), "-var", "steps", "40", "-var", "every", "2"]
    lammps.succeed((EXAMPLES / "in.spectrum").read_text(), 2, arguments)
    series = read_series(lammps.folder / "current.txt")
    assert series.n_rows == 21
    assert series.time_step == pytest.approx(0.001)
    assert series.volume == pytest.approx(structures["orthogonal"].get_volume(), rel=1e-5)
    assert series.origins["temperature"] == "mean of column c_thermo_temp"
    assert series.origins["units"] == "LAMMPS metal, comment"
    assert series.current is not None
    assert np.abs(series.current).max() > 0
    options = [
        "--blocks",
        "2",
        "--resolution",
        "10000",
        "--max-wavenumber",
        "16000",
        "--output",
        str(lammps.folder / "water_spectrum"),
    ]
    assert les_spectra([str(lammps.folder / "current.txt"), *options]) == 0
    assert (lammps.folder / "water_spectrum" / "spectrum.png").exists()


def test_field(lammps: Lammps, structures: Structures) -> None:
    """Field and field energy of every line of response.txt, which is -E.P."""
    make_data(lammps.folder, structures["orthogonal"], "water.data", ["O", "H"])
    arguments = ["-var", "model", str(transfer_model(lammps.folder)), "-var", "steps", "20", "-var", "period", "0.03"]
    thermo = lammps.succeed((EXAMPLES / "in.field").read_text(), 2, arguments).thermo()
    response = np.loadtxt(lammps.folder / "response.txt")
    assert response.shape == (21, 5)
    field = 0.02 * np.sin(2 * np.pi * response[:, 0] * 0.0005 / 0.03)
    np.testing.assert_allclose(response[:, 1], field, atol=1e-6)
    np.testing.assert_allclose(thermo["c_les[3]"], -thermo["v_field"] * thermo["c_les[6]"], atol=1e-6)
    assert np.ptp(response[:, 4]) > 0
