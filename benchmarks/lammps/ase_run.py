"""The ASE calculator on a box of the benchmark, in a process of its own: time per evaluation and peak memory.

`python ase_run.py FOLDER MODEL NX NY NZ THREADS STEPS` prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def run_ase(folder: Path, model: str, replicate: tuple[int, int, int], threads: int, steps: int) -> dict[str, Any]:
    """Runs this file; the result of `measure`."""
    words = [str(folder), model, *map(str, replicate), str(threads), str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, *words]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        return {"failed": (process.stderr.strip().splitlines() or [f"status {process.returncode}"])[-1]}
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def measure(folder: Path, model: str, replicate: list[int], threads: int, steps: int) -> dict[str, Any]:
    """Velocity Verlet without ASE's own output: seconds a step, peak memory."""
    from ase import units
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet
    from systems import SIDE, water

    from les_md.ase import LESCalculator

    atoms = water((SIDE, SIDE, SIDE)).repeat(replicate)
    atoms.calc = LESCalculator(folder / model, threads=threads)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(7))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    dynamics.run(2)
    start = time.perf_counter()
    dynamics.run(steps)
    seconds = (time.perf_counter() - start) / steps
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"atoms": len(atoms), "threads": threads, "steps": steps, "seconds_per_step": seconds, "peak_bytes": peak}


if __name__ == "__main__":
    folder_, model_, *numbers = sys.argv[1:]
    values = [int(number) for number in numbers]
    print(json.dumps(measure(Path(folder_), model_, values[:3], values[3], values[4])))
