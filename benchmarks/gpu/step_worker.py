"""Whole steps of water in ASE, one way at all sizes in a process of its own; run.py starts it, with
benchmarks/mesh on the path.

    python step_worker.py '{"way": "engine", "sizes": [1000], "device": "cuda", ...}'

Every size is a line of JSON; its forces at the first frame go to a file, which run.py compares.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ase
import numpy as np
from boxes import moving_water
from worker import confine

WARM_UP = 5  # steps, in which graphs are captured


def make_calculator(task: dict[str, Any]) -> Any:
    """`LESCalculator` on the exported file, or the reference way with the same weights."""
    import torch

    if task["device"] == "cpu":
        torch.set_num_threads(1)
    if task["way"] == "engine":
        from les_md.ase import LESCalculator

        return LESCalculator(task["model"], device=task["device"])
    from reference_calculator import ReferenceCalculator
    from water_model import water_model

    return ReferenceCalculator(water_model(), task["device"])


def measure(task: dict[str, Any], calculator: Any, n: int) -> dict[str, Any]:
    """Seconds of a step: the mean over whole ways through the frames, or over what the time allows."""
    atoms, frames = moving_water(n)
    atoms.calc = calculator
    forces = atoms.get_forces()
    path = Path(task["folder"]) / f"step-{task['way']}-{len(atoms)}.npy"
    np.save(path, forces)
    take_steps(atoms, frames[1 : 1 + WARM_UP], task["seconds"])
    seconds = take_steps(atoms, frames, task["seconds"])
    return {"atoms": len(atoms), "seconds": seconds, "forces": str(path)}


def take_steps(atoms: ase.Atoms, frames: np.ndarray, budget: float) -> float:
    """Seconds of a step through `frames`, or through the first of them if all would take more than `budget` seconds."""
    start, steps = time.perf_counter(), 0
    while steps < len(frames) and (steps == 0 or time.perf_counter() - start < budget):
        atoms.set_positions(frames[steps])
        atoms.get_forces()
        steps += 1
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Does one task."""
    task = json.loads(sys.argv[1])
    if task["device"] == "cpu":
        confine(task["cores"])
    calculator = None
    for n in task["sizes"]:
        try:
            calculator = calculator or make_calculator(task)
            answer = measure(task, calculator, n)
        except Exception as error:  # its column says how it failed
            text = " ".join(str(error).split()) or type(error).__name__
            memory = isinstance(error, MemoryError) or any(
                words in text for words in ("out of memory", "can't allocate", "bad_alloc")
            )
            answer = {"atoms": n, "failed": "out of memory" if memory else text[:200]}
        print(json.dumps(answer), flush=True)
        if "failed" in answer:
            os._exit(0)


if __name__ == "__main__":
    main()
