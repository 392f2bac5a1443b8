"""Every ensemble and every kind of minimisation a LAMMPS user runs: conserved quantities that converge with the time
step, boxes that change as the barostat may change them, and forces and pressures that end below what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import Lammps, Outcome, box_script, water
from test_dynamics import repulsion

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

#: Box and fix. The energy of a barostat chain under `iso` and the work of scaled tilts under `aniso` are not in the
#: conserved quantity of LAMMPS, whatever the pair style: hence no chain there, and no tilt here.
ENSEMBLES = {
    "nvt": ("tilted", "nvt temp 300 300 0.02"),
    "npt-iso": ("tilted", "npt temp 300 300 0.05 iso 0 0 0.1 pchain 0"),
    "npt-aniso": ("orthogonal", "npt temp 300 300 0.05 aniso 0 0 0.1"),
    "npt-tri": ("tilted", "npt temp 300 300 0.05 tri 0 0 0.1"),
    "nph-tri": ("tilted", "nph tri 0 0 0.1"),
}

THERMO = """
thermo 5
thermo_style custom step temp pe etotal econserve vol lx ly lz xy xz yz press pxx pyy pzz pxy pxz pyz fnorm fmax
thermo_modify format float %.16g
"""


@pytest.fixture(scope="module")
def tilted() -> ase.Atoms:
    return water([[8.0, 0.0, 0.0], [3.6, 8.2, 0.0], [-3.4, 3.9, 7.9]])


@pytest.fixture(scope="module")
def ensembles(
    tmp_path_factory: pytest.TempPathFactory, model_file: ModelFile, tilted: ase.Atoms, structures: Structures
) -> dict[str, list[Outcome]]:
    """Each ensemble with a time step and with half of it."""
    lammps = Lammps(tmp_path_factory.mktemp("ensembles"))
    script = ""
    for name, (box, fix) in ENSEMBLES.items():
        for half, time_step in enumerate((1e-4, 5e-5)):
            script += f"clear\nprint 'case {name}-{half}'\n"
            script += box_script(tilted if box == "tilted" else structures[box], lammps.folder, name=box)
            script += repulsion(model_file("plain"), "solver mesh") + THERMO
            script += f"velocity all create 300 7 mom yes dist gaussian loop geom\nfix integrate all {fix}\n"
            script += f"timestep {time_step}\nrun {round(0.01 / time_step)}\n"
    outcomes = lammps.succeed(script).cases()
    return {name: [outcomes[f"{name}-{half}"] for half in (0, 1)] for name in ENSEMBLES}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_conserved_quantity(ensembles: dict[str, list[Outcome]], name: str) -> None:
    """A wrong force or virial would do work that no thermostat or barostat accounts for."""
    fluctuations = []
    for outcome in ensembles[name]:
        thermo = outcome.thermo()
        fluctuations.append(np.ptp(thermo["Econserve"]))
        assert fluctuations[-1] < 0.005 * np.ptp(thermo["PotEng"])
        assert np.ptp(thermo["TotEng"]) > 2 * fluctuations[-1]
    assert fluctuations[1] < 0.35 * fluctuations[0]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_box_changes_as_it_may(ensembles: dict[str, list[Outcome]], name: str) -> None:
    thermo = ensembles[name][0].thermo()
    lengths = np.array([thermo[axis] for axis in ("Lx", "Ly", "Lz")])
    scaled = lengths / lengths[:, :1]
    tilts = np.array([thermo["Xy"] / thermo["Ly"], thermo["Xz"] / thermo["Lz"], thermo["Yz"] / thermo["Lz"]])
    if name == "nvt":
        assert np.ptp(lengths, axis=1).max() == 0.0
        return
    assert np.ptp(thermo["Volume"]) > 0.1
    ratios = np.ptp(scaled, axis=0).max()
    if name == "npt-iso":
        assert ratios < 1e-12
    else:
        assert ratios > 1e-4
    changes = np.ptp(tilts, axis=1).max()
    if "tri" in name:
        assert changes > 1e-4
    else:
        assert changes < 1e-12


@pytest.mark.parametrize("style", ["cg", "fire"])
def test_minimize(lammps: Lammps, model_file: ModelFile, tilted: ase.Atoms, style: str) -> None:
    """Down to a force tolerance; under conjugate gradients the energy never rises."""
    script = box_script(tilted, lammps.folder) + repulsion(model_file("plain"), "solver mesh accuracy 1e-6") + THERMO
    script += f"thermo 1\ntimestep 1e-3\nmin_style {style}\nminimize 0 2e-2 2000 4000\n"
    outcome = lammps.succeed(script, 2)
    assert "Stopping criterion = force tolerance" in outcome.output
    thermo = outcome.thermo()
    assert thermo["Fnorm"][-1] < 2e-2
    assert thermo["PotEng"][-1] < thermo["PotEng"][0] - 0.1
    if style == "cg":
        assert np.diff(thermo["PotEng"]).max() < 1e-9


@pytest.mark.parametrize(
    ("relax", "components"),
    [
        ("iso 0.0 vmax 0.001", ["Press"]),
        ("aniso 0.0 vmax 0.001", ["Pxx", "Pyy", "Pzz"]),
        ("tri 0.0 vmax 0.001", ["Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz"]),
    ],
)
def test_box_relaxation(
    lammps: Lammps, model_file: ModelFile, tilted: ase.Atoms, relax: str, components: list[str]
) -> None:
    """Atoms first, then the box too: the pressure that was set free vanishes."""
    script = box_script(tilted, lammps.folder) + repulsion(model_file("plain"), "solver direct") + THERMO
    script += "min_style cg\nminimize 0 0.1 200 400\n"
    script += f"print 'start: $(press:%.17g)'\nfix box all box/relax {relax} nreset 10\nminimize 0 0 150 700\n"
    outcome = lammps.succeed(script, 2)
    thermo = outcome.thermo()
    for component in components:
        assert abs(thermo[component][-1]) < 0.1 * abs(outcome.printed("start").item())
