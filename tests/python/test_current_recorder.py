"""The current of an ASE run in a file, and that it is the time derivative of the polarization."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.build
import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

from les_md.ase import LESCalculator
from les_md.errors import LESError
from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings
from les_md.spectra import read_series
from les_md.spectra.recorder import CurrentRecorder


def model_file(folder: Path, long_range: LongRangeSettings | None) -> Path:
    """A small model of salt with random weights."""
    torch.manual_seed(0)
    settings = ModelSettings(
        symbols=["Na", "Cl"], cutoff=3.5, n_radial=3, l_max=1, channels=4, hidden=[4], body_order=3, dtype="float64",
        long_range=long_range,
    )  # fmt: skip
    path = folder / "model.les.pt"
    write_model_file(LESModel(settings), path, {}, None, None)
    return path


def salt() -> ase.Atoms:
    atoms = ase.build.bulk("NaCl", "rocksalt", 5.64, cubic=True)
    atoms.rattle(0.1, seed=1)
    widths = np.sqrt(atoms.get_masses() * 300.0 * units.kB)
    atoms.set_momenta(widths[:, None] * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    return atoms


def test_file_and_derivative_of_the_polarization(tmp_path: Path) -> None:
    """Models with charge transfers have a polarization; its central difference is the current of the file."""
    atoms = salt()
    atoms.calc = LESCalculator(model_file(tmp_path, LongRangeSettings(charge_flux=True)), solver="direct")
    engine = atoms.calc.engine
    dynamics = VelocityVerlet(atoms, 0.05 * units.fs)
    dynamics.attach(CurrentRecorder(dynamics, tmp_path / "current.csv"))
    polarizations = []
    types = engine.types_of(atoms.get_chemical_symbols())
    dynamics.attach(
        lambda: polarizations.append(
            engine.compute(atoms.positions, types, np.asarray(atoms.cell), True)["polarization"]
        )
    )
    dynamics.run(6)
    series = read_series(tmp_path / "current.csv")
    assert series.n_rows == 7
    assert series.time_step == pytest.approx(5e-5)
    assert series.volume == pytest.approx(5.64**3)
    assert series.temperature == pytest.approx(atoms.get_temperature(), rel=0.3)
    assert series.current is not None
    derivative = (np.array(polarizations)[2:] - np.array(polarizations)[:-2]) / (2 * series.time_step)
    np.testing.assert_allclose(series.current[1:-1], derivative, rtol=0, atol=2e-3 * np.abs(derivative).max())


def test_refusals(tmp_path: Path) -> None:
    atoms = salt()
    atoms.calc = LennardJones()
    with pytest.raises(LESError, match=r"needs atoms with a LESCalculator, got LennardJones"):
        CurrentRecorder(VelocityVerlet(atoms, units.fs), tmp_path / "current.csv")
    atoms.calc = LESCalculator(model_file(tmp_path, None))
    with pytest.raises(LESError, match=r"needs a model with charges"):
        CurrentRecorder(VelocityVerlet(atoms, units.fs), tmp_path / "current.csv")
    atoms.pbc = False
    with pytest.raises(LESError, match=r"needs a periodic system"):
        CurrentRecorder(VelocityVerlet(atoms, units.fs), tmp_path / "current.csv")
    assert not (tmp_path / "current.csv").exists()
