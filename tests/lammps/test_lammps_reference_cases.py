"""The reference cases of tests/data through LAMMPS: every number against an independent calculation."""

from __future__ import annotations

import sys
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, assert_close, box_script, evaluate_script, virial_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))

from reference_cases import CASES, load_case, write_case_model

#: kcal/mol in one eV as LAMMPS converts
ENERGY_UNIT = {"metal": 1.0, "real": 23.060549}


@pytest.mark.parametrize(
    ("dtype", "ranks", "units", "keywords"),
    [
        ("float64", 1, "metal", DIRECT),
        ("float64", 2, "metal", DIRECT),
        ("float64", 4, "metal", DIRECT),
        ("float64", 1, "real", DIRECT),
        ("float64", 4, "real", DIRECT),
        ("float32", 1, "metal", DIRECT),
        ("float32", 2, "metal", DIRECT),
        ("float32", 4, "real", DIRECT),
        ("float64", 1, "metal", "solver mesh accuracy 1e-7"),
        ("float64", 4, "real", "solver mesh accuracy 1e-7"),
        ("float32", 2, "metal", "solver mesh accuracy 1e-5"),
    ],
)
def test_reference_cases(lammps: Lammps, dtype: str, ranks: int, units: str, keywords: str) -> None:
    """All cases in one process, with `clear` between them; those with a cell for the mesh."""
    script = ""
    cases = [name for name in CASES if "mesh" not in keywords or load_case(name)["cell"] is not None]
    for name in cases:
        case = load_case(name)
        model = write_case_model(case, lammps.folder / f"{name}.les.pt", dtype)
        cell = case["cell"]
        atoms = ase.Atoms(case["symbols"], case["positions"], cell=cell, pbc=cell is not None)
        symbols = case["model"]["symbols"]
        script += f"clear\nprint 'case {name}'\n"
        script += box_script(atoms, lammps.folder, units, name=name, symbols=symbols)
        script += f"pair_style les {keywords}\npair_coeff * * {model} {' '.join(symbols)}\n"
        script += f"fix charges all pair 1 les latent_charges 0\n{evaluate_script(name)}"
        field = "f_charges" if case["model"]["n_channels"] == 1 else "f_charges[*]"
        script += f"write_dump all custom {name}.charges id {field} modify sort id format float %.16g\n"

    outcomes = lammps.succeed(script, ranks).cases()
    relative = {"float64": 1e-6, "float32": 1e-4}[dtype]
    unit = ENERGY_UNIT[units]
    for name in cases:
        case, outcome = load_case(name), outcomes[name]
        thermo = outcome.thermo()
        for column, key in {"PotEng": "energy", "E_vdwl": "short_range_energy", "E_coul": "long_range_energy"}.items():
            assert_close(thermo[column][0], np.array(case[key]) * unit, relative, f"{name} {key}")
        assert_close(outcome.forces(f"{name}.txt"), np.array(case["forces"]) * unit, relative, f"{name} forces")
        assert_close(virial_of(thermo, units), np.array(case["virial"]) * unit, relative, f"{name} virial")
        charges = outcome.dump(f"{name}.charges")
        columns = [charges[column] for column in charges if column.startswith("f_charges")]
        assert_close(np.stack(columns, axis=1), np.array(case["latent_charges"]), relative, f"{name} charges")
