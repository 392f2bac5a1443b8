"""One measurement in a process of its own: `python worker.py '{"route": "les", ...}'`.

The task is the JSON on the command line; the last line of output is the answer as JSON. run.py starts the workers, the
one of TorchForce in the environment of OpenMM-Torch.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

BLOCKS = 10  # of successive steps, whose medians show whether a route slows down


def confine(cores: list[int], memory: float) -> None:
    """Pins this process to `cores` and to `memory` bytes; before any library with threads is loaded."""
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(len(cores))
    # a route too large for this machine fails here instead of taking the machine with it
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory), resource.RLIM_INFINITY))


def busy_seconds() -> float:
    """Time that all processors of the machine have spent on programs so far."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()
    return sum(int(word) for word in words[1:4]) / os.sysconf("SC_CLK_TCK")


def goes_on(task: dict[str, Any], seconds: list[float]) -> bool:
    """Whether a run with steps of `seconds` so far needs more: the steps or the time asked for, and three at least."""
    if task["steps"]:
        return len(seconds) < max(3, task["steps"])
    return len(seconds) < 3 or (sum(seconds) < task["seconds"] and len(seconds) < 2000)


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of a step, first energy and forces, stages and memory."""
    import numpy as np
    import openmm
    import openmm.app
    from openmm import unit
    from routes import ROUTES

    box = np.load(task["box"])
    topology = openmm.app.Topology()
    topology.setPeriodicBoxVectors(box["cell"] * unit.angstrom)
    residue = topology.addResidue("BOX", topology.addChain())
    for symbol in box["symbols"]:
        topology.addAtom(str(symbol), openmm.app.Element.getBySymbol(str(symbol)), residue)
    system, force = ROUTES[task["route"]][1](task, topology)

    integrator = openmm.VerletIntegrator(task["time_step"] * unit.femtosecond)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": str(len(task["cores"]))})
    context.setPositions(box["positions"] * unit.angstrom)
    context.setVelocitiesToTemperature(300.0, 1)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    np.save(task["forces"], np.asarray(forces))

    integrator.step(task["warm_up"])  # TorchScript compiles in its first calls
    stages = force.getStageTimes(context) if force else {}
    seconds: list[float] = []
    processors: list[float] = []  # of each step, as `seconds`; less disturbed by other programs
    busy, processor, start = busy_seconds() - time.process_time(), time.process_time(), time.perf_counter()
    while goes_on(task, seconds):
        before, before_processor = time.perf_counter(), time.process_time()
        integrator.step(1)
        seconds.append(time.perf_counter() - before)
        processors.append(time.process_time() - before_processor)
    elapsed, processor = time.perf_counter() - start, time.process_time() - processor
    others = (busy_seconds() - time.process_time() - busy) / elapsed
    if force:
        stages = {name: (value - stages[name]) / len(seconds) for name, value in force.getStageTimes(context).items()}
    tenth = max(1, len(seconds) // BLOCKS)
    return {
        "seconds": float(np.mean(seconds)),
        "processor": processor / len(seconds),
        "first": float(np.median(seconds[:tenth])),
        "last": float(np.median(seconds[-tenth:])),
        "steps": len(seconds),
        "blocks": [float(np.median(block)) for block in np.array_split(seconds, BLOCKS) if len(block)],
        "processor_blocks": [float(np.median(block)) for block in np.array_split(processors, BLOCKS) if len(block)],
        "stages": stages,
        "others": others,
        "energy": energy,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": f"OpenMM {openmm.__version__}",
    }


def main() -> None:
    task = json.loads(sys.argv[1])
    confine(task["cores"], task["memory"])
    try:
        answer = measure(task)
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        short = "out of memory" if isinstance(error, MemoryError) or "alloc" in text else text.splitlines()[-1][:200]
        answer = {"failed": short}
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
