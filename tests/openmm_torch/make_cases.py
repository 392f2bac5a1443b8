"""Bound model files for OpenMM-Torch, each with the engine's energy and forces: `python make_cases.py FOLDER`.

The reference cases of tests/data, whose expected values are in closed form, and boxes of a few hundred water molecules
with the networks of the OpenMM tests, small ones and some large enough for blocks and the mesh.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ase
import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "data"), str(TESTS / "openmm")]

from openmm_systems import evaluate, make_context, make_model, waters  # noqa: E402
from reference_cases import CASES, load_case, write_case_model  # noqa: E402

from les_md.export import write_model_file  # noqa: E402
from les_md.openmm import LESForce  # noqa: E402

WATERS: dict[str, dict[str, Any]] = {
    "water_small": {"repeat": 2, "model": {"n_channels": 2, "neutrality": True}},
    "water_large": {"repeat": 3, "model": {"neutrality": True}},
    "water_large_float32": {"repeat": 3, "model": {"dtype": "float32", "k_cutoff": 3.0}},
    "water_short_range": {"repeat": 3, "model": {"n_channels": 0, "dtype": "float32"}},
}


def write(folder: Path, name: str, atoms: ase.Atoms, expected: dict[str, Any]) -> None:
    """One case; `tolerance` is that of forces over the largest force, energies are without element energies."""
    case = {
        "symbols": atoms.get_chemical_symbols(),
        "masses": atoms.get_masses().tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist() if atoms.pbc.all() else None,
        **expected,
    }
    (folder / f"{name}.json").write_text(json.dumps(case))
    print(f"{name}: {len(atoms)} atoms")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for name in CASES:
        case = load_case(name)
        if case.get("field"):  # TorchForce has none
            continue
        write_case_model(case, folder / f"{name}.les.pt", bound=True)
        atoms = ase.Atoms(case["symbols"], positions=case["positions"], cell=case["cell"], pbc=case["cell"] is not None)
        types = [case["model"]["symbols"].index(symbol) for symbol in case["symbols"]]
        offset = float(np.array(case["model"]["network"]["e0"])[types].sum())
        expected = {"energy": case["energy"], "offset": offset, "forces": case["forces"], "tolerance": 1e-6}
        write(folder, name, atoms, expected)
    for name, options in WATERS.items():
        atoms = waters(True).repeat(options["repeat"])
        atoms.positions += np.random.default_rng(2).normal(0.0, 0.02, atoms.positions.shape)
        symbols = atoms.get_chemical_symbols()
        write_model_file(make_model(**options["model"]), folder / f"{name}.les.pt", {}, None, symbols)
        settings = {} if options["model"].get("n_channels") == 0 else {"solver": "direct"}
        got = evaluate(make_context(atoms, LESForce(folder / f"{name}.les.pt", symbols, **settings)))
        expected = {
            "energy": got.energy,
            "offset": -len(atoms) / 3 * (2 * 13.6 + 432.5),
            "forces": got.forces.tolist(),
            "tolerance": 1e-4 if options["model"].get("dtype") == "float32" else 1e-5,
        }
        write(folder, name, atoms, expected)


if __name__ == "__main__":
    main()
