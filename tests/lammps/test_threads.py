"""The keyword `threads`: network and mesh of a rank really use them, and give the same numbers; as many threads and
ranks give the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import Lammps, assert_close, box_script, evaluate_script, model_script

from les_md.lammps import plugin_directory

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

#: Nanoseconds on a processor of each thread of the process, after evaluations.
PROGRAM = """
import json, os
from lammps import lammps
instance = lammps(cmdargs=["-screen", "none", "-log", "none"])
instance.file("in.threads")
instance.command("run 30 post no")
tasks = sorted(os.listdir("/proc/self/task"), key=int)
print(json.dumps([int(open(f"/proc/self/task/{task}/schedstat").read().split()[0]) for task in tasks]))
instance.close()
"""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("model", "keywords"), [("short_range", ""), ("plain", "solver mesh mesh 64 64 64")])
def test_threads_of_the_process(
    lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, keywords: str, threads: int
) -> None:
    """The network of a model without charges, then one evaluation of few atoms on a mesh with work for several."""
    script = box_script(structures["orthogonal"], lammps.folder)
    script += "replicate 4 4 4\n" if model == "short_range" else ""
    script += model_script(model_file(model), f"{keywords} threads {threads}")
    (lammps.folder / "in.threads").write_text(script)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LAMMPS_PLUGIN_PATH": plugin_directory(),
        "LD_LIBRARY_PATH": sys.prefix + "/lib",
    }
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.run(command, cwd=lammps.folder, env=environment, capture_output=True, text=True, timeout=90)
    assert process.returncode == 0, process.stdout + process.stderr
    times = json.loads(process.stdout.splitlines()[-1])
    # torch keeps a second pool, which sleeps
    assert sum(time > 1_000_000 for time in times) == threads, times


@pytest.mark.parametrize("ranks", [1, 2])
def test_same_results(lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int) -> None:
    outcomes = []
    for threads in (1, 2):
        script = box_script(structures["triclinic"], lammps.folder) + "replicate 2 2 1\n"
        script += model_script(model_file("two_layers"), f"solver mesh threads {threads}") + evaluate_script()
        outcome = lammps.succeed(script, ranks)
        outcomes.append((outcome.thermo(), outcome.forces(), outcome.dump()["q"]))
        assert f"{threads} torch thread(s) a rank" in outcome.output
    one, two = outcomes
    for name in ("PotEng", "E_coul", "Pxx", "Pxy"):
        np.testing.assert_allclose(two[0][name], one[0][name], rtol=1e-12)
    assert_close(two[1], one[1], 1e-12, "forces")
    assert_close(two[2], one[2], 1e-12, "charges")


def test_same_bits(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Trajectories repeat to the last bit, and `deterministic` and `graphs`, which are for GPUs, change none."""
    frames = []
    for keywords in ("", "", "deterministic yes graphs off"):
        script = box_script(structures["triclinic"], lammps.folder) + "replicate 2 2 1\nfix 1 all nve\ntimestep 2e-4\n"
        script += model_script(model_file("two_layers"), f"solver mesh threads 2 {keywords}")
        script += "dump 1 all custom 10 dump.txt id x y z fx fy fz q\ndump_modify 1 sort id format float %.17g\n"
        script += "run 10\n"
        lammps.succeed(script, 2)
        frames.append((lammps.folder / "dump.txt").read_text())
    assert frames[0] == frames[1] == frames[2]
