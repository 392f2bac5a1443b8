"""What other LAMMPS commands can get from the style: energies, charges, potentials, and what it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, assert_close, box_script, evaluate_script, model_script

from les_md.batch import frame_from_atoms
from les_md.forces import evaluate
from les_md.model import LESModel

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]


@pytest.mark.parametrize("units", ["metal", "real"])
@pytest.mark.parametrize("ranks", [1, 4])
def test_energies(lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int, units: str) -> None:
    """`compute pair` repeats evdwl and ecoul, and per-atom energies sum to the total."""
    script = box_script(structures["triclinic"], lammps.folder, units) + model_script(model_file("two_channels"))
    script += "compute short all pair les evdwl\ncompute long all pair les ecoul\ncompute total all pair les\n"
    script += evaluate_script() + "print 'parts: $(c_short:%.17g) $(c_long:%.17g) $(c_total:%.17g)'\n"
    outcome = lammps.succeed(script.replace("c_atom_sum", "c_atom_sum c_short c_long c_total"), ranks)
    thermo = outcome.thermo()
    short, long, total = outcome.printed("parts")[0]
    np.testing.assert_allclose([short, long, total], [thermo["E_vdwl"][0], thermo["E_coul"][0], thermo["PotEng"][0]])
    np.testing.assert_allclose(thermo["c_pair_energies[1]"], thermo["E_vdwl"])
    np.testing.assert_allclose(thermo["c_pair_energies[2]"], thermo["E_coul"])
    np.testing.assert_allclose(thermo["c_atom_sum"], thermo["PotEng"], rtol=1e-12)
    assert abs(long) > 0.1


@pytest.mark.parametrize("name", ["plain", "two_channels"])
def test_charges(
    lammps: Lammps, models: dict[str, LESModel], model_file: ModelFile, structures: Structures, name: str
) -> None:
    """`fix pair` gives charges and potentials per channel and the atomic charge, which is in `q` too."""
    n_channels = models[name].n_channels
    script = box_script(structures["triclinic"], lammps.folder, "real") + model_script(model_file(name), DIRECT)
    script += "fix les all pair 1 les latent_charges 0 potentials 1 q 1\n" + evaluate_script()
    script += "write_dump all custom charges.txt id q f_les[*] modify sort id format float %.16g\n"
    outcome = lammps.succeed(script, 2)
    columns = outcome.dump("charges.txt")
    charges = np.stack([columns[f"f_les[{1 + c}]"] for c in range(n_channels)], axis=1)
    potentials = np.stack([columns[f"f_les[{1 + n_channels + c}]"] for c in range(n_channels)], axis=1)
    atomic = columns[f"f_les[{1 + 2 * n_channels}]"]

    frame = frame_from_atoms(structures["triclinic"], ["O", "H"], 3.0)
    expected = evaluate(models[name], frame)
    assert_close(charges, expected["latent_charges"].detach().numpy(), 1e-9, "latent charges")
    assert_close(atomic, charges.sum(1), 1e-12, "atomic charge")
    assert_close(columns["q"], atomic, 1e-12, "q")
    # volts in both unit styles, so that q phi / 2 is in eV
    assert_close(0.5 * (charges * potentials).sum(), expected["long_range_energy"].detach().numpy(), 1e-9, "potentials")


def test_atom_style_without_charge(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder, atom_style="atomic") + model_script(model_file("plain"))
    script += "fix les all pair 1 les q 0\nthermo_style custom step pe\nrun 0\n"
    script += "write_dump all custom charges.txt id f_les modify sort id\n"
    assert np.abs(lammps.succeed(script, 2).dump("charges.txt")["f_les"]).max() > 0.1


def test_charges_follow_their_atoms(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """After atoms moved between ranks, `q` and `fix pair` still belong to the right atoms."""
    columns = []
    for ranks in (1, 4):
        script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain"))
        script += "fix les all pair 1 les q 0\nfix integrate all nve\nneighbor 0.1 bin\n"
        script += "velocity all create 1500 7 mom yes dist gaussian loop geom\ntimestep 2e-4\nrun 40\n"
        script += "write_dump all custom charges.txt id q f_les modify sort id format float %.16g\n"
        columns.append(lammps.succeed(script, ranks).dump("charges.txt"))
    np.testing.assert_allclose(columns[1]["q"], columns[1]["f_les"], rtol=1e-12)
    np.testing.assert_allclose(columns[0]["q"], columns[1]["q"], rtol=1e-7)


def test_what_is_printed_once(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("float32"))
    outcome = lammps.succeed(script + "run 0\nrun 0\n", 2)
    lines = [line for line in outcome.output.splitlines() if line.startswith("pair_style les:")]
    assert len(lines) == 2, lines
    assert lines[0].endswith("atom types 1 O, 2 H, cutoff 3 angstrom, float32 on cpu, 1 torch thread(s) a rank")
    assert lines[1].startswith("pair_style les: long-range energy: ")
    assert "10.1038/s41524-025-01577-7" in (lammps.folder / "log.lammps").read_text()


def test_memory_usage_and_info(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"))
    outcome = lammps.succeed(script + "run 0\ninfo memory coeffs\nplugin list\n", 2)
    assert "pair style plugin les" in outcome.output
