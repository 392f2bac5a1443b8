"""More than one LAMMPS at once: two instances in one Python process through the library interface, beside PyTorch and
the ASE calculator, and replicas of a nudged elastic band."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from lammps_runs import DIRECT, PROGRAMS, Lammps, assert_close, box_script, model_script

from les_md.batch import frame_from_atoms
from les_md.forces import evaluate
from les_md.lammps import plugin_directory
from les_md.model import LESModel

Models = dict[str, LESModel]
ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]


def expected(model: LESModel, atoms: ase.Atoms) -> dict[str, np.ndarray]:
    """Energy, forces and charges of the Python model."""
    results = evaluate(model, frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff))
    return {
        "energy": results["energy"].detach().numpy(),
        "forces": results["forces"].numpy(),
        "charges": results["latent_charges"].detach().sum(1).numpy(),
    }


#: Two instances side by side, used in turn; what each gives goes to results.json.
PROGRAM = """
import json
{imports}
from lammps import lammps

def state(instance):
    count = 3 * instance.get_natoms()
    return {{
        "energy": instance.get_thermo("pe"),
        "forces": list(instance.gather_atoms("f", 1, 3)),
        "charges": list(instance.gather_atoms("q", 1, 1)),
        "short_range": instance.numpy.extract_compute("parts", 0, 1).tolist(),
    }}

results = {{}}
first = lammps(cmdargs=["-screen", "none", "-log", "none"])
second = lammps(cmdargs=["-screen", "none", "-log", "none"])
first.file("in.first")
second.file("in.second")
for name, instance in (("first", first), ("second", second)):
    instance.command("run 0 post no")
    results[name] = state(instance)

moved = first.gather_atoms("x", 1, 3)
moved[0] += 0.1
first.scatter_atoms("x", 1, 3, moved)
first.command("run 0 post no")
results["moved"] = state(first)
first.close()
second.command("run 0 post no")
results["after"] = state(second)
rank = second.extract_setting("world_rank")
second.close()
if rank == 0:
    json.dump(results, open("results.json", "w"))
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_two_instances_in_one_process(
    lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures, ranks: int
) -> None:
    """Each has its own model, box and engine; one goes on after the other was closed. On one rank PyTorch and the
    compiled engine of Python are in the process too."""
    used = {"first": ("plain", structures["triclinic"]), "second": ("two_layers", structures["orthogonal"])}
    for name, (model, atoms) in used.items():
        script = box_script(atoms, lammps.folder, name=name) + model_script(model_file(model), DIRECT)
        script += "compute parts all pair les\n" + "thermo_style custom step pe c_parts[1]\n"
        (lammps.folder / f"in.{name}").write_text(script)
    imports = f"from les_md.ase import LESCalculator\nLESCalculator({str(model_file('plain'))!r})" if ranks == 1 else ""
    (lammps.folder / "program.py").write_text(PROGRAM.format(imports=imports))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LAMMPS_PLUGIN_PATH": plugin_directory(),
        "LD_LIBRARY_PATH": sys.prefix + "/lib",
    }
    command = [str(PROGRAMS / "mpiexec"), "-n", str(ranks), sys.executable, "program.py"]
    process = subprocess.run(command, cwd=lammps.folder, env=environment, capture_output=True, text=True, timeout=90)
    assert process.returncode == 0, process.stdout + process.stderr
    results = json.loads((lammps.folder / "results.json").read_text())
    moved = structures["triclinic"].copy()
    moved.positions[0, 0] += 0.1
    for name, (model, atoms) in {**used, "moved": ("plain", moved), "after": used["second"]}.items():
        reference = expected(models[model], atoms)
        forces = np.array(results[name]["forces"]).reshape(-1, 3)
        np.testing.assert_allclose(results[name]["energy"], reference["energy"].item(), rtol=1e-9)
        assert_close(forces, reference["forces"], 1e-6, f"{name} forces")
        assert_close(np.array(results[name]["charges"]), reference["charges"], 1e-6, f"{name} charges")


def test_elastic_band(lammps: Lammps, models: Models, model_file: ModelFile, structures: Structures) -> None:
    """`neb` on two partitions starts from the energies of the two ends."""
    start = structures["orthogonal"]
    end = start.copy()
    end.positions[4] += [0.1, -0.05, 0.08]
    rows = "\n".join(f"{i + 1} {x:.16g} {y:.16g} {z:.16g}" for i, (x, y, z) in enumerate(end.positions))
    (lammps.folder / "end.txt").write_text(f"{len(end)}\n{rows}\n")
    script = box_script(start, lammps.folder) + model_script(model_file("plain"), DIRECT)
    script += "atom_modify sort 0 0\ntimestep 1e-4\nfix band all neb 1.0\nmin_style quickmin\nthermo 1\n"
    lammps.succeed(script + "neb 0.0 1e-3 2 2 1 final end.txt\n", 2, ["-partition", "2x1"])
    log = (lammps.folder / "log.lammps").read_text()
    # ... RD1 PE1 RD2 PE2: reaction coordinate and energy of each replica
    row = next(line.split() for line in log.splitlines() if line.split()[:1] == ["0"])
    for energy, atoms in ((row[-3], start), (row[-1], end)):
        np.testing.assert_allclose(float(energy), expected(models["plain"], atoms)["energy"].item(), rtol=1e-6)
    assert "Climbing replica" in log
