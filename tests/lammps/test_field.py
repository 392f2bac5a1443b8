"""External electric field, polarization and current of pair_style les: against independent numbers and in dynamics."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, assert_close, box_script, evaluate_script, model_script, virial_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))

from reference_cases import FIELD_CASES, load_case, write_case_model

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]
ENERGY_UNIT = {"metal": 1.0, "real": 23.060549}
#: ps in one unit of time
TIME_UNIT = {"metal": 1.0, "real": 1e-3}
ZBL = "pair_coeff 1 1 zbl 8 8\npair_coeff 1 2 zbl 8 1\npair_coeff 2 2 zbl 1 1\n"
FIELD = "field 0.05 -0.03 0.1"


def is_exact(case: dict) -> bool:
    """Whether the polarization of a case is defined."""
    return case["cell"] is None or case["model"]["long_range"]["charge_flux"]


@pytest.mark.parametrize(("ranks", "units"), [(1, "metal"), (3, "real"), (4, "metal")])
def test_reference_cases(lammps: Lammps, ranks: int, units: str) -> None:
    script = ""
    for name in FIELD_CASES:
        case = load_case(name)
        model = write_case_model(case, lammps.folder / f"{name}.les.pt")
        cell, symbols = case["cell"], case["model"]["symbols"]
        atoms = ase.Atoms(case["symbols"], case["positions"], cell=cell, pbc=cell is not None)
        keywords = "field {} {} {} current yes".format(*case["field"]) + (" polarization yes" if is_exact(case) else "")
        script += f"clear\nprint 'case {name}'\n{box_script(atoms, lammps.folder, units, name=name, symbols=symbols)}"
        script += f"pair_style les {DIRECT} {keywords}\npair_coeff * * {model} {' '.join(symbols)}\n"
        script += "velocity all set 2.0 -1.0 0.5\n"
        script += "fix born all pair 1 les born_charges 1\n"
        script += "compute all_values all pair les\nvariable n loop 9\n"
        script += evaluate_script(name)
        count = 9 if is_exact(case) else 6
        script += "".join(f"variable v{i} equal c_all_values[{i}]\n" for i in range(1, count + 1))
        script += "run 0\nprint 'values: " + " ".join(f"$(v_v{i}:%.16g)" for i in range(1, count + 1)) + "'\n"
        script += f"write_dump all custom {name}.born id f_born[*] modify sort id format float %.16g\n"
    outcomes = lammps.succeed(script, ranks).cases()
    unit = ENERGY_UNIT[units]
    for name in FIELD_CASES:
        case, outcome = load_case(name), outcomes[name]
        thermo = outcome.thermo()
        # isolated systems are moved to the middle of their box, and the one here has a net charge
        moved = np.zeros(3) if case["cell"] else 30.0 - np.mean(case["positions"], axis=0)
        dipole = np.sqrt(case["model"]["eps_inf"]) * np.sum(case["latent_charges"]) * moved
        field_energy = case["field_energy"] - float(np.dot(case["field"], dipole))
        total = case["short_range_energy"] + case["long_range_energy"] + field_energy
        assert_close(thermo["PotEng"][0], np.array(total) * unit, 1e-9, f"{name} energy")
        coulomb = (case["long_range_energy"] + field_energy) * unit
        assert_close(thermo["E_coul"][0], np.array(coulomb), 1e-6, f"{name} ecoul")
        assert_close(thermo["c_atom_sum"][0], thermo["PotEng"][0], 1e-12, f"{name} sum over atoms")
        assert_close(outcome.forces(f"{name}.txt"), np.array(case["forces"]) * unit, 1e-6, f"{name} forces")
        columns = outcome.dump(f"{name}.born")
        got = np.stack([columns[f"f_born[{i}]"] for i in range(1, 10)], axis=1).reshape(-1, 3, 3)
        born = np.array(case["born_charges"])
        assert_close(got, born, 1e-6, f"{name} Born charges")
        values = outcome.printed("values")[0]
        assert_close(values[2], np.array(field_energy) * unit, 1e-6, f"{name} field energy")
        current = np.einsum("iab,b->a", born, [2.0, -1.0, 0.5])
        assert_close(values[-3:], current, 1e-6, f"{name} current")
        if is_exact(case):
            assert_close(values[3:6], np.array(case["polarization"]) + dipole, 1e-6, f"{name} polarization")


def test_virial_in_a_field(lammps: Lammps) -> None:
    """At rest the pressure is that of the reference case, with the field."""
    case = load_case("field_transfers")
    model = write_case_model(case, lammps.folder / "case.les.pt")
    atoms = ase.Atoms(case["symbols"], case["positions"], cell=case["cell"], pbc=True)
    keywords = "field {} {} {}".format(*case["field"])
    script = box_script(atoms, lammps.folder, symbols=case["model"]["symbols"])
    script += f"pair_style les {DIRECT} {keywords}\npair_coeff * * {model} O H\n"
    script += "compute stress all stress/atom NULL\ncompute trace all reduce sum c_stress[*]\n"
    script += "thermo_style custom step pxx pyy pzz pxy pxz pyz vol c_trace[*]\n"
    script += "thermo_modify format float %.16g\nrun 0\n"
    thermo = lammps.succeed(script, 2).thermo()
    assert_close(virial_of(thermo), np.array(case["virial"]), 1e-6, "virial")
    pressure = np.array([thermo[name][0] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")])
    sums = np.array([thermo[f"c_trace[{i}]"][0] for i in range(1, 7)])
    assert_close(sums, -pressure * thermo["Volume"][0], 1e-10, "sum of per-atom stresses")


def dynamics(timestep: float, steps: int) -> str:
    return f"""
compute les all pair les
velocity all create 400 4928 loop geom
fix nve all nve
timestep {timestep}
thermo 1
thermo_style custom step time etotal c_les[*]
thermo_modify format float %.16g
run {steps}
"""


@pytest.mark.parametrize("name", ["two_layers", "two_layers_flux"])
def test_born_charges_of_message_passing(
    lammps: Lammps, model_file: ModelFile, structures: Structures, name: str
) -> None:
    """Several passes back through the layers: on four ranks that exchange messages as with all layers on one rank."""
    found = []
    for file, ranks in ((f"whole_{name}", 1), (name, 4)):
        script = box_script(structures["triclinic"], lammps.folder)
        script += (
            model_script(model_file(file), f"{DIRECT} {FIELD}") + "fix born all pair 1 les born_charges 1\nrun 0\n"
        )
        script += "write_dump all custom all.born id fx fy fz f_born[*] modify sort id format float %.16g\n"
        columns = lammps.succeed(script, ranks).dump("all.born")
        found.append(np.stack([values for key, values in columns.items() if key != "id"], axis=1))
    assert found[0].shape == (24, 12)
    assert_close(found[1], found[0], 1e-9, name)
    # moving all atoms moves no charge through the cell
    if name == "two_layers_flux":
        np.testing.assert_allclose(found[1][:, 3:].sum(0), 0.0, atol=1e-10)


@pytest.mark.parametrize("ranks", [1, 2])
def test_energy_is_conserved_and_current_is_the_slope(
    lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int
) -> None:
    """With charge transfers, and atoms that cross periodic boundaries on the way."""
    keywords = f"{DIRECT} {FIELD} polarization yes current yes"
    # random weights do not keep atoms apart
    script = box_script(structures["triclinic"], lammps.folder)
    script += f"pair_style hybrid/overlay les {keywords} zbl 1.0 2.0\n{ZBL}"
    script += f"pair_coeff * * les {model_file('charge_flux')} O H\ndisplace_atoms all move 3.9 4.1 3.9 units box\n"
    thermo = lammps.succeed(script + dynamics(5e-5, 150), ranks).thermo()
    field = np.array([0.05, -0.03, 0.1])
    polarization = np.stack([thermo[f"c_les[{i}]"] for i in (4, 5, 6)], axis=1)
    current = np.stack([thermo[f"c_les[{i}]"] for i in (7, 8, 9)], axis=1)
    np.testing.assert_allclose(thermo["c_les[3]"], -polarization @ field, rtol=1e-9, atol=1e-12)
    moved = np.ptp(thermo["c_les[3]"])
    # the fluctuation is that of the time step, a quarter for half of it
    assert np.ptp(thermo["TotEng"]) < 0.1 * moved
    # fourth order, so that velocities of half a step before would show
    slope = (8 * (polarization[3:-1] - polarization[1:-3]) - (polarization[4:] - polarization[:-4])) / (12 * 5e-5)
    assert np.abs(slope - current[2:-2]).max() < 2e-3 * np.abs(current).max()


def test_fix_that_would_read_an_old_current(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder)
    script += "fix early all ave/time 1 1 1 c_thermo_temp\n" + model_script(model_file("plain"), "current yes")
    outcome = lammps.succeed(script + dynamics(1e-4, 1) + "clear\n", 2)
    assert outcome.output.count("fix early was defined before pair_coeff; a current it reads is that of the step") == 1


def test_born_forces_say_that_energy_is_not_conserved(
    lammps: Lammps, model_file: ModelFile, structures: Structures
) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"), f"{DIRECT} {FIELD}")
    outcome = lammps.succeed(script + dynamics(2e-4, 3), 2)
    assert outcome.output.count("the field acts by Born effective charges of this model, so energy is not") == 1
    np.testing.assert_array_equal(outcome.thermo()["c_les[3]"], 0.0)


def test_variables_are_evaluated_every_step(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    start = box_script(structures["triclinic"], lammps.folder)
    variables = "variable x equal 0.05*cos(0.2*step)\nvariable z equal 0.001*step\n"
    script = (
        start + variables + model_script(model_file("charge_flux"), f"{DIRECT} field v_x 0.01 v_z polarization yes")
    )
    thermo = lammps.succeed(script + dynamics(2e-4, 10), 2).thermo()
    field = np.stack([0.05 * np.cos(0.2 * thermo["Step"]), 0.0 * thermo["Step"] + 0.01, 0.001 * thermo["Step"]], axis=1)
    polarization = np.stack([thermo[f"c_les[{i}]"] for i in (4, 5, 6)], axis=1)
    np.testing.assert_allclose(thermo["c_les[3]"], -(polarization * field).sum(1), rtol=1e-9)


def test_field_of_zero_changes_nothing(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    start = box_script(structures["orthogonal"], lammps.folder)
    energies = []
    for keywords in ("", "field 0 0 0"):
        script = start + model_script(model_file("charge_flux"), f"{DIRECT} {keywords}") + dynamics(2e-4, 5)
        energies.append(lammps.succeed(script, 2).thermo()["TotEng"])
    np.testing.assert_array_equal(energies[0], energies[1])


@pytest.mark.parametrize(
    ("model", "keywords", "match"),
    [
        ("plain", "field 0.1 0.2", "keyword field must be followed by three numbers in V/angstrom, .* got 0.1 0.2 "),
        ("plain", "field 0.1 east 0.2", "keyword field must be followed by three numbers in V/angstrom"),
        (
            "plain",
            "field 0 0 v_none",
            "variable none of keyword field does not exist; define it with `variable none ",
        ),
        ("plain", "field 0 0 v_atomic", "variable atomic of keyword field must be equal-style"),
        ("plain", "polarization yes", "defined for models trained with `charge_flux` only; use `current yes`"),
        ("plain", "current maybe", "keyword current must be followed by yes or no, got maybe"),
        ("short_range", "field 0 0 1", "short-range only; keywords field, polarization and current need a model with"),
    ],
)
def test_refused(
    lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, keywords: str, match: str
) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + "variable atomic atom x\n"
    lammps.refuse(script + model_script(model_file(model), keywords) + "run 0\n", match)
