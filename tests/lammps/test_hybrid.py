"""The style beside others: pair_style hybrid and hybrid/overlay, with atoms that the model leaves out (NULL)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, Outcome, assert_close, box_script, evaluate_script, model_script
from test_ranks import assert_as_in_python

from les_md.model import LESModel

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

ZBL = "pair_coeff 1 1 zbl 8 8\npair_coeff 1 2 zbl 8 1\npair_coeff 2 2 zbl 1 1\n"


def run_pair_style(lammps: Lammps, atoms: ase.Atoms, pair: str, ranks: int, computes: bool = True) -> Outcome:
    evaluate = evaluate_script()
    if not computes:
        evaluate = evaluate.replace("compute pair_energies all pair les\n", "")
        evaluate = evaluate.replace("c_pair_energies[1] c_pair_energies[2]", "")
    return lammps.succeed(box_script(atoms, lammps.folder) + pair + evaluate, ranks)


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("name", ["plain", "two_layers"])
def test_overlay_adds_up(lammps: Lammps, model_file: ModelFile, structures: Structures, name: str, ranks: int) -> None:
    """les and zbl together give the sum of each alone: energies, per-atom energies, forces, virial."""
    atoms = structures["triclinic"]
    path = model_file(name)
    both = f"pair_style hybrid/overlay les threads 1 zbl 1.0 2.0\npair_coeff * * les {path} O H\n{ZBL}"
    zbl = "pair_style zbl 1.0 2.0\n" + ZBL.replace("zbl ", "")
    results = []
    for pair, has_les in ((both, True), (model_script(path), True), (zbl, False)):
        outcome = run_pair_style(lammps, atoms, pair, ranks, has_les)
        thermo = outcome.thermo()
        numbers = [thermo[column][0] for column in ("PotEng", "c_atom_sum", "Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]
        results.append((np.array(numbers), outcome.forces(), thermo))
    together, les, alone = results
    assert np.abs(alone[1]).max() > 1.0
    assert_close(together[0], les[0] + alone[0], 1e-12, "energy and pressure")
    assert_close(together[1], les[1] + alone[1], 1e-12, "forces")
    np.testing.assert_allclose(together[2]["c_pair_energies[1]"], les[2]["E_vdwl"])
    np.testing.assert_allclose(together[2]["c_pair_energies[2]"], les[2]["E_coul"])


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("style", ["hybrid", "hybrid/overlay"])
@pytest.mark.parametrize("name", ["plain", "two_layers", "neutral"])
def test_null_types(
    lammps: Lammps,
    models: dict[str, LESModel],
    model_file: ModelFile,
    structures: Structures,
    name: str,
    style: str,
    ranks: int,
) -> None:
    """Atoms of a NULL type are not seen by the model: the rest gives what it gives without them."""
    water = structures["triclinic"]
    generator = np.random.default_rng(5)
    positions = generator.uniform(0, 1, (6, 3)) @ np.array(water.cell)
    everything = water + ase.Atoms("He6", positions)
    # interleaved, so that owned atoms of the model do not come first in LAMMPS
    order = generator.permutation(len(everything))
    mixed = everything[order]
    script = box_script(mixed, lammps.folder, symbols=["He", "O", "H"]) + f"pair_style {style} les {DIRECT} zero 3.0\n"
    script += f"pair_coeff * * les {model_file(name)} NULL O H\npair_coeff 1 * zero\n"
    script += "fix charges all pair 1 les q 0\n" + evaluate_script()
    script += "write_dump all custom charges.txt id type q f_charges modify sort id format float %.16g\n"
    outcome = lammps.succeed(script, ranks)

    charges = outcome.dump("charges.txt")
    helium = charges["type"] == 1
    assert (charges["f_charges"][helium] == 0).all()
    assert (charges["q"] == charges["f_charges"]).all()
    assert (outcome.forces()[helium] == 0).all()

    # the water in the order of the file without helium
    is_water = np.array([symbol != "He" for symbol in mixed.get_chemical_symbols()])
    columns = (lammps.folder / "dump.txt").read_text().splitlines()
    kept = [line for line in columns[9:] if line.split()[1] != "1"]
    (lammps.folder / "water.txt").write_text("\n".join([columns[8], *kept]))
    assert_as_in_python(outcome, models[name], mixed[is_water], dump="water")


def test_charges_beside_fixed_ones(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """`q` of atoms left out of the model keeps what the input gave."""
    atoms = structures["orthogonal"] + ase.Atoms("He", [[4.0, 4.1, 4.0]])
    script = box_script(atoms, lammps.folder, symbols=["O", "H", "He"]) + "set type 3 charge 0.25\n"
    script += f"pair_style hybrid/overlay les zero 3.0\npair_coeff * * les {model_file('plain')} O H NULL\n"
    script += "pair_coeff * 3 zero\n" + evaluate_script()
    columns = lammps.succeed(script, 2).dump()
    assert (columns["q"][columns["type"] == 3] == 0.25).all()
    assert (columns["q"][columns["type"] == 1] != 0.0).all()


def test_two_models(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Two models side by side, each its own engine."""
    atoms = structures["triclinic"]
    both = "pair_style hybrid/overlay les les\n"
    both += f"pair_coeff * * les 1 {model_file('plain')} O H\npair_coeff * * les 2 {model_file('two_layers')} O H\n"
    results = []
    for pair in (both, model_script(model_file("plain")), model_script(model_file("two_layers"))):
        outcome = run_pair_style(lammps, atoms, pair, 2, computes=False)
        results.append((outcome.thermo()["PotEng"][0], outcome.forces()))
    np.testing.assert_allclose(results[0][0], results[1][0] + results[2][0], rtol=1e-12)
    assert_close(results[0][1], results[1][1] + results[2][1], 1e-12, "forces")


def test_kspace_of_another_style(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Under a hybrid style a kspace_style may serve the other style, and `q` is left to it."""
    atoms = structures["orthogonal"] + ase.Atoms("HeHe", [[4.0, 4.1, 4.0], [1.0, 6.1, 5.0]])
    script = box_script(atoms, lammps.folder, symbols=["O", "H", "He"]) + "set type 3 charge 0.25\n"
    script += "pair_style hybrid/overlay les coul/long 3.5\nkspace_style ewald 1e-4\nkspace_modify gewald 0.5\n"
    script += f"pair_coeff * * les {model_file('plain')} O H NULL\npair_coeff * 3 coul/long\n"
    script += "fix les all pair 1 les q 0\n" + evaluate_script()
    script += "write_dump all custom charges.txt id type q f_les modify sort id\n"
    outcome = lammps.succeed(script, 2)
    assert "the charges q are left to kspace_style ewald" in outcome.output
    columns = outcome.dump("charges.txt")
    np.testing.assert_array_equal(columns["q"], np.where(columns["type"] == 3, 0.25, 0.0))
    assert np.abs(columns["f_les"][columns["type"] == 1]).min() > 0.0
