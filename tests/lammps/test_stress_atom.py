"""Per-atom stress: it sums to the pressure, belongs to the atom whatever rank owns it, and is shared as documented."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, exp, pi, sqrt
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, Outcome, assert_close, box_script, model_script

from les_md.settings import COULOMB_CONSTANT

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

STRESS = """
compute stress all stress/atom NULL
compute virial_stress all stress/atom NULL virial
compute virial_pressure all pressure NULL virial
compute stress_sum all reduce sum c_stress[*]
compute virial_sum all reduce sum c_virial_stress[*]
thermo_style custom step vol pxx pyy pzz pxy pxz pyz c_virial_pressure[*] c_stress_sum[*] c_virial_sum[*]
thermo_modify format float %.16g
"""
DUMP = """
dump all_atoms all custom 1 {name}.txt id type q c_stress[*] c_virial_stress[*]
dump_modify all_atoms sort id format float %.16g
"""
ZBL = "pair_coeff 1 1 zbl 8 8\npair_coeff 1 2 zbl 8 1\npair_coeff 2 2 zbl 1 1\n"
NKTV2P = {"metal": 1.6021765e6, "real": 68568.415}

CASES = [
    ("plain", "triclinic", "metal"),
    ("plain", "isolated", "real"),
    ("float32", "orthogonal", "real"),
    ("two_layers", "triclinic", "real"),
    ("two_channels", "triclinic", "metal"),
    ("neutral", "isolated", "metal"),
    ("short_range", "triclinic", "metal"),
]


def columns_of(thermo: dict[str, np.ndarray], name: str) -> np.ndarray:
    """(n_rows, 6) of a compute with six numbers, in the order xx yy zz xy xz yz."""
    return np.stack([thermo[f"c_{name}[{i}]"] for i in range(1, 7)], axis=1)


def per_atom(outcome: Outcome, name: str, compute: str) -> np.ndarray:
    """(n_atoms, 6) from a dump."""
    columns = outcome.dump(f"{name}.txt")
    return np.stack([columns[f"c_{compute}[{i}]"] for i in range(1, 7)], axis=1)


def assert_sums_to_pressure(outcome: Outcome, what: str, relative: float = 1e-10) -> None:
    """Sums over atoms are the pressure times -V at every line of the table, with and without the kinetic part."""
    thermo = outcome.thermo()
    pressure = np.stack([thermo[name] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")], axis=1)
    volume = thermo["Volume"][:, None]
    assert_close(columns_of(thermo, "stress_sum"), -pressure * volume, relative, f"{what} with the kinetic part")
    virial = columns_of(thermo, "virial_pressure")
    assert_close(columns_of(thermo, "virial_sum"), -virial * volume, relative, f"{what} without the kinetic part")
    kinetic = columns_of(thermo, "stress_sum") - columns_of(thermo, "virial_sum")
    assert np.abs(kinetic).min() > 1e-6 * np.abs(virial * volume).max(), "atoms are at rest"


def test_sum_and_ranks(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Every kind of model in both unit styles: the sum on any number of ranks, and the same row for each atom."""
    rows: dict[str, list[np.ndarray]] = {}
    for ranks in (1, 2, 4):
        script = ""
        for model, structure, units in CASES:
            name = f"{model}-{structure}-{units}"
            script += f"clear\nprint 'case {name}'\n"
            script += box_script(structures[structure], lammps.folder, units, name=name)
            script += model_script(model_file(model), DIRECT) + "velocity all create 600 7 loop geom\n"
            script += STRESS + DUMP.format(name=name) + "run 0\n"
        for name, outcome in lammps.succeed(script, ranks).cases().items():
            assert_sums_to_pressure(outcome, f"{name} on {ranks} ranks")
            rows.setdefault(name, []).append(per_atom(outcome, name, "virial_stress"))
    assert len(rows) == len(CASES)
    for name, (one, *others) in rows.items():
        relative = 1e-4 if name.startswith("float32") else 1e-9
        for other in others:
            assert_close(other, one, relative, name)


@pytest.mark.parametrize("ranks", [1, 4])
def test_during_a_run(lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int) -> None:
    """Steps with and without per-atom stress take turns, on the mesh, while atoms move and lists are built."""
    script = box_script(structures["triclinic"], lammps.folder) + "neighbor 0.1 bin\n"
    script += model_script(model_file("plain"), "solver mesh") + "velocity all create 1500 7 loop geom\n" + STRESS
    outcome = lammps.succeed(script + "timestep 2e-4\nfix integrate all nve\nthermo 5\nrun 20\n", ranks)
    assert len(outcome.thermo()["Step"]) == 5
    assert_sums_to_pressure(outcome, "run")


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("name", ["plain", "two_layers"])
def test_hybrid_overlay(lammps: Lammps, model_file: ModelFile, structures: Structures, name: str, ranks: int) -> None:
    """Beside zbl, with atoms that the model leaves out and that do not come last in LAMMPS."""
    water = structures["triclinic"]
    generator = np.random.default_rng(5)
    everything = water + ase.Atoms("He3", generator.uniform(0, 1, (3, 3)) @ np.array(water.cell))
    atoms = everything[generator.permutation(len(everything))]
    script = box_script(atoms, lammps.folder, symbols=["O", "H", "He"])
    script += f"pair_style hybrid/overlay les {DIRECT} zbl 1.0 2.0 zero 2.0\npair_coeff * 3 zero\n"
    script += f"pair_coeff * * les {model_file(name)} O H NULL\n{ZBL}"
    script += "velocity all create 600 7 loop geom\n" + STRESS + DUMP.format(name="atoms") + "run 0\n"
    outcome = lammps.succeed(script, ranks)
    assert_sums_to_pressure(outcome, name)
    left_out = outcome.dump("atoms.txt")["type"] == 3
    assert (per_atom(outcome, "atoms", "virial_stress")[left_out] == 0.0).all()


@pytest.mark.parametrize("ranks", [1, 2])
def test_sharing(lammps: Lammps, model_file: ModelFile, ranks: int) -> None:
    """Two atoms, on one rank or on two: each has half of the pair's virial and its share q^2 of the Coulomb virial."""
    vector = np.array([1.1, 0.7, -0.4])
    atoms = ase.Atoms("OH", positions=[np.zeros(3), vector])
    script = "processors 2 1 1\n" if ranks == 2 else ""
    script = box_script(atoms, lammps.folder).replace("read_data", script + "read_data")
    script += model_script(model_file("plain")) + STRESS + DUMP.format(name="atoms") + "run 0\n"
    outcome = lammps.succeed(script, ranks)
    virial = -per_atom(outcome, "atoms", "virial_stress") / NKTV2P["metal"]  # eV

    q = outcome.dump("atoms.txt")["q"]
    r = float(np.linalg.norm(vector))
    slope = 2 / sqrt(pi) / sqrt(2) * exp(-(r**2) / 2) / r - erf(r / sqrt(2)) / r**2  # of erf(r / (sqrt(2) sigma)) / r
    outer = np.outer(vector, vector)[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    coulomb = -COULOMB_CONSTANT * q[0] * q[1] * slope / r * outer
    assert np.abs(coulomb).max() > 1e-4
    pair = virial.sum(0) - coulomb
    expected = 0.5 * pair + coulomb * (q**2 / (q**2).sum())[:, None]
    assert_close(virial, expected, 1e-6, "shares of two atoms")


@pytest.mark.parametrize("style", ["les", "hybrid/overlay les zero 3.0"])
def test_no_centroid_stress(lammps: Lammps, model_file: ModelFile, structures: Structures, style: str) -> None:
    """LAMMPS must know that it would not be the centroid form, also through a hybrid style."""
    script = box_script(structures["orthogonal"], lammps.folder) + f"pair_style {style}\n"
    script += f"pair_coeff * * les {model_file('plain')} O H\n" if "hybrid" in style else ""
    script += "pair_coeff * * zero\n" if "hybrid" in style else f"pair_coeff * * {model_file('plain')} O H\n"
    script += "compute stress all centroid/stress/atom NULL\ncompute sum all reduce sum c_stress[1]\n"
    lammps.refuse(script + "thermo_style custom step c_sum\nrun 0\n", "does not support compute centroid/stress/atom")
