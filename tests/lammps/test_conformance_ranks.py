"""The same numbers on any number and any arrangement of MPI ranks, more of them than cores: energies, forces, virial
and charges of one rank, and a trajectory in which atoms cross ranks many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, Outcome, assert_close, box_script, evaluate_script, model_script, water
from test_dynamics import repulsion
from test_long_range import numbers

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

MESH = "solver mesh"
#: Same mesh, other order of summation.
RELATIVE = 1e-9


@dataclass
class Case:
    """One evaluation: a structure, a model, and the commands that arrange the ranks."""

    structure: str
    keywords: str
    model: str = "plain"
    before_box: str = ""
    after_box: str = ""
    boundary: str | None = None
    empty: bool = False  #: some of the ranks own no atom


CASES = {
    "mesh": Case("orthogonal", MESH),
    "direct": Case("orthogonal", DIRECT),
    "tilted-mesh": Case("tilted", MESH),
    "tilted-direct": Case("tilted", DIRECT),
    "tilted-two-layers": Case("tilted", MESH, model="two_layers"),
    "tilted-flux": Case("tilted", f"{MESH} field 0.1 0 -0.2", model="two_layers_flux"),
    "plates": Case("tilted", MESH, before_box="processors * * 1"),
    "corner": Case("corner", MESH, empty=True),
    "corner-three-layers": Case("corner", MESH, model="three_layers", empty=True),
    "corner-tiled": Case("corner", MESH, after_box="comm_style tiled\nbalance 1.1 rcb"),
    "shrink-wrapped": Case("clusters", DIRECT, boundary="s s s", empty=True),
    "shrink-wrapped-two-layers": Case("clusters", DIRECT, model="two_layers", boundary="s s s", empty=True),
}


#: What runs on so many ranks. Every case is run on one rank too.
ON_RANKS = {
    3: ["mesh", "tilted-direct", "tilted-flux"],
    4: ["tilted-mesh", "tilted-two-layers"],
    6: ["direct", "tilted-mesh", "tilted-flux", "plates", "corner", "corner-three-layers"],
    8: ["mesh", "tilted-direct", "corner-tiled", "shrink-wrapped", "shrink-wrapped-two-layers"],
}


@pytest.fixture(scope="module")
def arranged() -> Structures:
    """A strongly tilted box, a box with all atoms in one corner, and two clusters far apart without a box."""
    corner = water([[7.8, 0.0, 0.0], [0.0, 8.2, 0.0], [0.0, 0.0, 8.0]])
    corner.set_cell(np.diag([22.0, 23.0, 21.0]))
    corner.positions += 0.5
    clusters = water(None)
    clusters.positions[3:6] += 25.0
    return {
        "orthogonal": water([[7.8, 0.0, 0.0], [0.0, 8.2, 0.0], [0.0, 0.0, 8.0]]),
        "tilted": water([[8.0, 0.0, 0.0], [3.6, 8.2, 0.0], [-3.4, 3.9, 7.9]]),
        "corner": corner,
        "clusters": clusters,
    }


@pytest.fixture(scope="module")
def on_ranks(
    tmp_path_factory: pytest.TempPathFactory, model_file: ModelFile, arranged: Structures
) -> Callable[[int], tuple[Lammps, dict[str, Outcome]]]:
    """The cases of so many ranks, in one process; each count runs once."""
    done: dict[int, tuple[Lammps, dict[str, Outcome]]] = {}

    def run(ranks: int) -> tuple[Lammps, dict[str, Outcome]]:
        if ranks not in done:
            lammps = Lammps(tmp_path_factory.mktemp(f"ranks{ranks}"))
            script = ""
            for name in ON_RANKS.get(ranks, CASES):
                case = CASES[name]
                box = box_script(arranged[case.structure], lammps.folder, name=name)
                if case.boundary:
                    box = box.replace("boundary f f f", f"boundary {case.boundary}")
                box = box.replace("boundary", f"{case.before_box}\nboundary")
                script += f"clear\nprint 'case {name}'\n{box}{case.after_box}\n"
                script += model_script(model_file(case.model), case.keywords) + evaluate_script(name)
            done[ranks] = lammps, lammps.succeed(script, ranks).cases()
        return done[ranks]

    return run


@pytest.mark.parametrize(("ranks", "name"), [(ranks, name) for ranks, names in ON_RANKS.items() for name in names])
def test_as_on_one_rank(on_ranks: Callable[[int], tuple[Lammps, dict[str, Outcome]]], name: str, ranks: int) -> None:
    expected = numbers(on_ranks(1)[1][name], name)
    outcome = on_ranks(ranks)[1][name]
    for quantity, values in numbers(outcome, name).items():
        assert_close(values, expected[quantity], RELATIVE, f"{name} on {ranks} ranks: {quantity}")
    owned = next(line for line in outcome.output.splitlines() if line.startswith("Nlocal:"))
    assert (" 0 min" in owned) == CASES[name].empty


CROSSING = """
neighbor 0.5 bin
velocity all create 1500 7 mom yes dist gaussian loop geom
fix integrate all nve
timestep 1e-4
thermo 20
thermo_style custom step pe etotal
thermo_modify format float %.16g
compute rank all property/atom proc
dump ranks all custom 50 ranks.txt id c_rank
dump_modify ranks sort id
"""


def ranks_of_atoms(folder: Path, n_atoms: int) -> np.ndarray:
    """(n_frames, n_atoms) rank of each atom."""
    frames = (folder / "ranks.txt").read_text().split("ITEM: ATOMS id c_rank\n")[1:]
    return np.array([[int(line.split()[1]) for line in frame.splitlines()[:n_atoms]] for frame in frames])


def test_drift_while_atoms_cross(
    tmp_path_factory: pytest.TempPathFactory, model_file: ModelFile, arranged: Structures
) -> None:
    """1000 steps at constant energy: the same total energies on two ranks as on one, while atoms change owners."""
    energies, drifts = [], []
    for ranks in (1, 2):
        lammps = Lammps(tmp_path_factory.mktemp(f"crossing{ranks}"))
        script = box_script(arranged["tilted"], lammps.folder) + repulsion(model_file("plain"), MESH) + CROSSING
        thermo = lammps.succeed(script + "run 1000\n", ranks).thermo()
        energies.append(thermo["TotEng"])
        drifts.append(np.polyfit(thermo["Step"], thermo["TotEng"], 1)[0] * 1000)
        assert np.ptp(thermo["TotEng"]) < 0.005 * np.ptp(thermo["PotEng"])
        owners = ranks_of_atoms(lammps.folder, len(arranged["tilted"]))
        crossings = np.count_nonzero(np.diff(owners, axis=0))
        assert crossings == 0 if ranks == 1 else crossings > 20
    np.testing.assert_allclose(energies[1][:10], energies[0][:10], rtol=1e-9)
    assert abs(drifts[1] - drifts[0]) < 0.1 * abs(drifts[0]) + 1e-4


BALANCING = {
    "none": "",
    "shift": "fix balance all balance 10 1.0 shift xyz 10 1.05",
    "tiled": "comm_style tiled\nfix balance all balance 10 1.0 rcb",
}


def test_balancing_during_a_run(
    tmp_path_factory: pytest.TempPathFactory, model_file: ModelFile, arranged: Structures
) -> None:
    """Domains move with the atoms, which start in one corner of the box, while layers exchange messages; energies stay
    those of one rank."""
    energies = {}
    for ranks, names in ((1, ["none"]), (4, ["shift", "tiled"])):
        lammps = Lammps(tmp_path_factory.mktemp(f"balance{ranks}"))
        script = ""
        for name in names:
            imbalance = "f_balance f_balance[3]" if ranks > 1 else ""
            script += f"clear\nprint 'case {name}'\n{box_script(arranged['corner'], lammps.folder)}{BALANCING[name]}\n"
            script += model_script(model_file("two_layers"), MESH) + CROSSING
            script += f"thermo 5\nthermo_style custom step pe {imbalance}\nthermo_modify format float %.16g\nrun 40\n"
        for name, outcome in lammps.succeed(script, ranks).cases().items():
            thermo = outcome.thermo()
            energies[name] = thermo["PotEng"]
            if ranks > 1:
                # now, and before the last time that domains moved
                assert thermo["f_balance"].max() < 1.4
                assert thermo["f_balance[3]"].max() > 1.5
    np.testing.assert_allclose(energies["shift"], energies["none"], rtol=RELATIVE)
    np.testing.assert_allclose(energies["tiled"], energies["none"], rtol=RELATIVE)
