"""What LAMMPS commands do to a system between evaluations: runs that go on, restarts, data files, copies of the box,
atoms that come and go, a changed periodicity. The style must give what a fresh start gives for the new system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, assert_close, box_script, evaluate_script, model_script, water

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

MESH = "solver mesh"
ENERGIES = """
thermo 5
thermo_style custom step pe evdwl ecoul etotal press vol
thermo_modify format float %.17g
"""
DYNAMICS = "fix integrate all nve\ntimestep 2e-4\n"
START = "velocity all create 300 7 mom yes dist gaussian loop geom\n"
NEIGHBOURS = "neighbor 1.0 bin\nneigh_modify delay 0 every 1 check yes\n"


def test_run_zero_again(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """The same numbers to the last bit; a tilted box is no case for it, since LAMMPS rounds positions there."""
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("two_layers"), MESH)
    script += "fix charges all pair 1 les q 0\n" + evaluate_script() + "run 0\nrun 0\nundump all_atoms\n"
    script += "write_dump all custom again.txt id type x y z fx fy fz q modify sort id format float %.16g\n"
    outcome = lammps.succeed(script, 2)
    for name, column in outcome.thermo().items():
        assert len(set(column.tolist())) == 1, name
    first = (lammps.folder / "dump.txt").read_text().split("ITEM: TIMESTEP")[1]
    assert first.split("ITEM: ATOMS")[1] == (lammps.folder / "again.txt").read_text().split("ITEM: ATOMS")[1]


def test_several_runs_are_one(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """A run in two parts, with and without a new setup, goes where one run goes."""
    script = ""
    for name, runs in {"one": "run 20", "two": "run 10\nrun 10", "kept": "run 10 post no\nrun 10 pre no"}.items():
        script += f"clear\nprint 'case {name}'\n" + box_script(structures["orthogonal"], lammps.folder)
        script += model_script(model_file("plain"), MESH) + ENERGIES + START + DYNAMICS + runs + "\n"
    outcomes = lammps.succeed(script, 2).cases()
    last = {name: outcome.thermo()["TotEng"][-1] for name, outcome in outcomes.items()}
    assert last["kept"] == last["one"]
    np.testing.assert_allclose(last["two"], last["one"], rtol=1e-12)


ZBL = "pair_style zbl 1.0 2.0\npair_coeff 1 1 8 8\npair_coeff 1 2 8 1\npair_coeff 2 2 1 1\n"


def test_restart(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Continued from a file the run gives every bit of the run that went on, as with a pair style of LAMMPS itself.
    Under a barostat LAMMPS itself continues to rounding only."""
    model = model_script(model_file("plain"), MESH)
    script = ""
    for name, pair, ensemble in (
        ("zbl", ZBL, "nve"),
        ("les", model, "nve"),
        ("npt", model, "npt temp 300 300 0.05 aniso 0 0 0.1"),
    ):
        integrate = f"fix integrate all {ensemble}\ntimestep 2e-4\n"
        script += f"clear\nprint 'case {name}-straight'\n" + box_script(structures["orthogonal"], lammps.folder)
        script += pair + ENERGIES + START + integrate + f"run 5\nwrite_restart {name}.restart\nrun 5\n"
        script += f"clear\nprint 'case {name}-again'\nread_restart {name}.restart\n" + NEIGHBOURS
        script += pair + ENERGIES + integrate + "run 5\n"
    outcomes = lammps.succeed(script, 2).cases()
    for name, relative in (("zbl", 0.0), ("les", 0.0), ("npt", 1e-11)):
        straight, again = outcomes[f"{name}-straight"].thermo(), outcomes[f"{name}-again"].thermo()
        for column, values in again.items():
            expected = straight[column][-len(values) :]
            np.testing.assert_allclose(values, expected, rtol=relative, atol=0, err_msg=f"{name} {column}")


def read_again(atoms: ase.Atoms, folder: Path, data: str, model: str) -> str:
    """Reads a data file that an earlier part of the script wrote, and evaluates it from the start."""
    return f"clear\n{box_script(atoms, folder).replace('atoms.data', data)}{model}{ENERGIES}run 0\n"


def test_data_file(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """A written data file gives the system again, with the charges of the model in it."""
    model = model_script(model_file("plain"), MESH)
    script = box_script(structures["triclinic"], lammps.folder) + model + ENERGIES
    script += "run 0\nprint 'charge: $(charge(all):%.17g)'\nwrite_data written.data nocoeff\n"
    again = read_again(structures["triclinic"], lammps.folder, "written.data", model)
    script += again.replace("pair_style", "print 'charge: $(charge(all):%.17g)'\npair_style")
    outcome = lammps.succeed(script, 2)
    energies = outcome.thermo()["PotEng"]
    np.testing.assert_allclose(energies[1], energies[0], rtol=1e-12)
    computed, read = outcome.printed("charge").ravel()
    np.testing.assert_allclose(read, computed, rtol=1e-9)
    assert abs(read) > 0.01


def test_replicate(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Copies of the box after the style was used: so many times the energy, the same pressure, the same forces."""
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"), DIRECT)
    script += evaluate_script("one") + "undump all_atoms\nreplicate 2 1 2\n"
    script += "dump copies all custom 1 four.txt id type x y z fx fy fz q\n"
    script += "dump_modify copies sort id format float %.16g\nrun 0\n"
    outcome = lammps.succeed(script, 2)
    thermo = outcome.thermo()
    np.testing.assert_allclose(thermo["PotEng"][1], 4 * thermo["PotEng"][0], rtol=1e-9)
    np.testing.assert_allclose(thermo["Pxy"][1], thermo["Pxy"][0], rtol=1e-8)
    assert_close(outcome.forces("four.txt"), np.tile(outcome.forces("one.txt"), (4, 1)), 1e-8, "forces")


def test_atoms_come_and_go(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Deleted and created atoms between runs: the energies that a fresh start gives for the system at hand."""
    atoms = structures["orthogonal"]
    model = model_script(model_file("neutral"), MESH)
    script = box_script(atoms, lammps.folder) + model + ENERGIES + START + DYNAMICS + "run 5\n"
    script += "group gone id 1 2 3\ndelete_atoms group gone compress yes\n"
    script += "run 0\nprint 'moving: $(pe:%.17g)'\nwrite_data fewer.data nocoeff\n"
    script += (
        "create_atoms 1 single 1.0 1.5 2.0\nrun 0\nprint 'moving: $(pe:%.17g)'\nwrite_data more.data nocoeff\nrun 5\n"
    )
    for name in ("fewer", "more"):
        script += read_again(atoms, lammps.folder, f"{name}.data", model) + "print 'fresh: $(pe:%.17g)'\n"
    outcome = lammps.succeed(script, 2)
    moving, fresh = outcome.printed("moving").ravel(), outcome.printed("fresh").ravel()
    np.testing.assert_allclose(moving, fresh, rtol=1e-11)
    assert abs(moving[1] - moving[0]) > 1.0


def test_periodicity_changes(lammps: Lammps, model_file: ModelFile) -> None:
    """A box that loses its periodicity between runs gets the sum over pairs, and back."""
    cluster = water([[16.0, 0.0, 0.0], [0.0, 16.0, 0.0], [0.0, 0.0, 16.0]], n_side=1)
    cluster.positions += 8.0 - cluster.positions.mean(0)
    isolated = cluster.copy()
    isolated.pbc = False
    script = box_script(cluster, lammps.folder) + model_script(model_file("plain"), MESH) + ENERGIES
    script += "run 0\nchange_box all boundary f f f\nrun 0\nchange_box all boundary p p p\nrun 0\n"
    script += "clear\n" + box_script(isolated, lammps.folder, name="isolated")
    script += model_script(model_file("plain"), MESH) + ENERGIES + "run 0\n"
    periodic, opened, again, expected = lammps.succeed(script, 2).thermo()["PotEng"]
    np.testing.assert_allclose(opened, expected, rtol=1e-12)
    np.testing.assert_allclose(again, periodic, rtol=1e-12)
    assert abs(opened - periodic) > 1e-4


def test_pressure_computes(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """`press` and its components, with and without the kinetic part, are those of compute pressure."""
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"), MESH)
    script += f"{START}compute virial all pressure NULL virial\ncompute full all pressure thermo_temp\n"
    script += "compute pairs all pressure NULL pair\nthermo_style custom step press pxx pyy pzz pxy vol c_virial c_full"
    script += " c_virial[1] c_virial[4] c_pairs[1] c_full[1] c_full[4] c_thermo_temp[1] c_thermo_temp[4]\n"
    script += "thermo_modify format float %.16g\nrun 0\n"
    now = {name: column.item() for name, column in lammps.succeed(script, 2).thermo().items()}
    kinetic = {k: now[f"c_thermo_temp[{k}]"] * 1.6021765e6 / now["Volume"] for k in (1, 4)}
    np.testing.assert_allclose(now["Press"], (now["Pxx"] + now["Pyy"] + now["Pzz"]) / 3)
    np.testing.assert_allclose(
        [now["c_full"], now["c_full[1]"], now["c_full[4]"]], [now["Press"], now["Pxx"], now["Pxy"]]
    )
    np.testing.assert_allclose(now["Pxx"] - now["c_virial[1]"], kinetic[1])
    np.testing.assert_allclose(now["Pxy"] - now["c_virial[4]"], kinetic[4])
    assert now["c_pairs[1]"] == now["c_virial[1]"]
    assert abs(now["c_virial"]) > 1.0


@pytest.mark.parametrize(
    ("command", "match"),
    [
        ("compute pairs all group/group all\nthermo_style custom step c_pairs", "does not support compute group/group"),
        ("pair_write 1 2 10 r 1.0 3.0 table.txt OH", "does not support pair_write"),
        ("run_style respa 2 2 inner 1 2.0 2.5 outer 2", "does not support rRESPA inner/middle/outer"),
    ],
    ids=["group", "write", "respa"],
)
def test_no_single_pairs(
    lammps: Lammps, model_file: ModelFile, structures: Structures, command: str, match: str
) -> None:
    """What needs the energy of one pair is refused by LAMMPS, because the style says that it has none."""
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain"))
    lammps.refuse(f"{script}{command}\nfix integrate all nve\nrun 0\n", match, ranks=1)
