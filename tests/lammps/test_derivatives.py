"""Forces and virial are the derivatives of the energy that LAMMPS itself prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, FIXED_MESH, Lammps, box_script, evaluate_script, model_script, virial_of

STEP = 1e-4  # angstrom, and relative strain

VOIGT = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}


@pytest.mark.parametrize(
    ("structure", "model", "units", "ranks", "solver"),
    [
        ("triclinic", "plain", "metal", 2, FIXED_MESH),
        ("triclinic", "two_layers", "real", 1, DIRECT),
        ("triclinic", "neutral", "metal", 1, FIXED_MESH),
        ("isolated", "two_channels", "real", 2, ""),
    ],
)
def test_forces(
    lammps: Lammps,
    model_file: Callable[[str], Path],
    structures: dict[str, ase.Atoms],
    structure: str,
    model: str,
    units: str,
    ranks: int,
    solver: str,
) -> None:
    """Central differences over every direction of an O and an H."""
    atoms = [1, 5]
    script = box_script(structures[structure], lammps.folder, units) + model_script(model_file(model), solver)
    script += evaluate_script()
    for atom in atoms:
        script += f"group moved id {atom}\n"
        for axis in range(3):
            for distance in (STEP, -2 * STEP, STEP):
                shift = " ".join(str(distance * (i == axis)) for i in range(3))
                script += f"displace_atoms moved move {shift}\nrun 0 post no\nprint 'energy: $(pe:%.17g)'\n"
        script += "group moved delete\n"
    outcome = lammps.succeed(script, ranks)
    energies = outcome.printed("energy").reshape(len(atoms), 3, 3)  # atom, axis, [forward, backward, back]
    expected = -(energies[:, :, 0] - energies[:, :, 1]) / (2 * STEP)
    forces = np.loadtxt(outcome.folder / "dump.txt", skiprows=9, max_rows=len(structures[structure]))[:, 5:8]
    np.testing.assert_allclose(forces[[atom - 1 for atom in atoms]], expected, rtol=0, atol=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize(
    ("structure", "model", "units", "ranks", "solver"),
    [
        ("triclinic", "plain", "metal", 2, FIXED_MESH),
        ("triclinic", "two_layers", "metal", 1, DIRECT),
        ("triclinic", "neutral", "real", 1, DIRECT),
        ("orthogonal", "two_channels", "metal", 2, FIXED_MESH),
    ],
)
def test_virial(
    lammps: Lammps,
    model_file: Callable[[str], Path],
    structures: dict[str, ase.Atoms],
    structure: str,
    model: str,
    units: str,
    ranks: int,
    solver: str,
) -> None:
    """Central differences over the six strains that keep the box in LAMMPS form."""
    cell = np.array(structures[structure].cell)
    script = box_script(structures[structure], lammps.folder, units) + model_script(model_file(model), solver)
    script += evaluate_script()
    if structure == "orthogonal":
        script += "undump all_atoms\nchange_box all triclinic\n"
    for row, column in VOIGT.values():
        for sign in (1, -1, 0):
            strain = np.eye(3)
            strain[row, column] += sign * STEP
            a, b, c = cell @ strain.T  # r' = strain r
            final = f"x final 0 {a[0]!r} y final 0 {b[1]!r} z final 0 {c[2]!r}"
            tilts = f"xy final {b[0]!r} xz final {c[0]!r} yz final {c[1]!r}"
            script += f"change_box all {final} {tilts} remap units box\n".replace("np.float64(", "").replace(")", "")
            script += "run 0 post no\nprint 'energy: $(pe:%.17g)'\n"
    outcome = lammps.succeed(script, ranks)
    energies = outcome.printed("energy").reshape(6, 3)
    expected = -(energies[:, 0] - energies[:, 1]) / (2 * STEP)
    virial = virial_of(outcome.thermo(), units)
    got = np.array([virial[index] for index in VOIGT.values()])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(got).max())
