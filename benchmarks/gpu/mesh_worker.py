"""One solver at all sizes in a process of its own, or the references; run.py starts it, benchmarks/mesh on the path.

    python mesh_worker.py '{"mode": "solver", "solver": "torch-pme", ...}'

The task is the JSON on the command line; every size is a line of JSON. A size that a solver fails at ends the process:
larger ones would fail as well.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from boxes import random_charges
from measured_solver import Settings
from mesh_solvers import SOLVERS
from reference import SMEARING, Reference, random_force, reference_for, rms, self_potential
from systems import ChargedBox
from timing import median_seconds, seconds_of
from worker import confine

#: Accuracies by which results may differ from the reference: forces (rms over that of random charges), energy (over the
#: self energy, 0.9 eV an atom here), potentials (rms over rms). A wrong constant or width is far outside.
FORCES, ENERGY, POTENTIALS = 2.0, 1.0, 10.0


class WrongResultError(Exception):
    """A solver does not give the numbers of the reference."""


def self_energy(box: ChargedBox) -> float:
    """Energy of the smeared charges in their own potential, eV."""
    return 0.5 * float(box.charges @ self_potential(box.charges, SMEARING))


class Size:
    """One box, and what is known of it: forces and potentials, or the energy alone."""

    def __init__(self, task: dict[str, Any], n: int) -> None:
        self.box = random_charges(n)
        known = task["references"].get(str(n), {})
        self.energy: float | None = known.get("energy")
        self.random_force: float | None = known.get("random_force")
        self.reference = Reference.load(Path(known["file"])) if "file" in known else None

    def force_error(self, forces: np.ndarray) -> float:
        """Rms error over the rms force of the same charges at random elsewhere."""
        assert self.reference is not None
        assert self.random_force is not None
        return rms(forces - self.reference.forces) / self.random_force

    def errors(self, solver: Any, accuracy: float) -> dict[str, float]:
        """Errors of the last evaluation; raises WrongResultError if they are not those of an error of the mesh."""
        found = {}
        if self.energy is not None:
            found["energy"] = abs(solver.energy() - self.energy) / self_energy(self.box), ENERGY
        if self.reference is not None:
            difference = solver.potentials() - self.reference.potentials.ravel()
            scale = np.linalg.norm(self.reference.potentials)
            found["forces"] = self.force_error(solver.forces()), FORCES
            found["potentials"] = float(np.linalg.norm(difference) / scale), POTENTIALS
        for name, (error, factor) in found.items():
            if not error <= factor * accuracy:
                raise WrongResultError(
                    f"wrong {name}: {error:.1e} off, at most {factor * accuracy:.0e} is an error of the mesh"
                )
        return {name: error for name, (error, _) in found.items()}


def calibrate(solver: Any, size: Size, task: dict[str, Any]) -> Settings:
    """The fastest settings whose measured force error is at most the accuracy."""
    target = solver.tolerance * task["accuracy"]
    tried: list[tuple[float, float, Settings]] = []

    def attempt(settings: Settings) -> float:
        solver.build(settings)
        seconds_of(lambda: solver.evaluate(size.box.positions), 1, task["device"])
        seconds = seconds_of(lambda: solver.evaluate(size.box.positions), 3, task["device"])
        tried.append((seconds, size.force_error(solver.forces()), settings))
        return tried[-1][1]

    for settings in solver.series(size.box, task["accuracy"]):
        low, high = 0, len(settings)
        while low < high:
            # as in benchmarks/mesh: bisection, or one by one where later meshes could be too large for the machine
            middle = low if solver.calibrate_every_size else (low + high) // 2
            if attempt(settings[middle]) <= target:
                high = middle
            else:
                low = middle + 1
    good = [(seconds, settings) for seconds, error, settings in tried if error <= target]
    if not good:
        raise WrongResultError(
            f"no mesh tried has an error of {target:.0e}; the best {min(e for _, e, _ in tried):.1e}"
        )
    return min(good, key=lambda entry: entry[0])[1]


def as_graph(run: Callable[[], None]) -> Callable[[], None]:
    """`run` captured as a CUDA graph."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


class Column:
    """A solver from size to size."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.entry = SOLVERS[task["solver"]]
        self.chosen: Settings | None = None
        self.coarsest = 0.0  # angstrom, of all meshes that were good enough

    def settings(self, solver: Any, size: Size) -> Settings:
        """Those of this size."""
        if self.entry.own:
            return {"accuracy": self.task["accuracy"]}
        if size.reference is not None and (solver.calibrate_every_size or self.chosen is None):
            self.chosen = calibrate(solver, size, self.task)
        if self.chosen is None:
            raise WrongResultError("no size is small enough for a reference to set it by")
        length = float(size.box.cell[0, 0])
        if "points" not in self.chosen:
            return self.chosen
        if size.reference is None:
            return {"points": 2 ** int(np.ceil(np.log2(length / self.coarsest)))}
        self.coarsest = max(self.coarsest, length / self.chosen["points"])
        return self.chosen

    def measure(self, n: int) -> dict[str, Any]:
        """Time and errors of one size."""
        task = self.task
        size = Size(task, n)
        solver = self.entry.make()(1, None)
        solver.dtype, solver.device = task["dtype"], task["device"]
        solver.prepare(size.box)
        solver.before_evaluation(size.box.positions)
        solver.build(self.settings(solver, size))

        def run() -> None:
            solver.evaluate(size.box.positions)

        called = as_graph(run) if self.entry.graph else run
        seconds = median_seconds(called, task["device"], task["seconds"])
        return {
            "atoms": n,
            "seconds": seconds,
            "words": solver.describe(),
            "errors": size.errors(solver, task["accuracy"]),
        }


def make_reference(task: dict[str, Any], n: int) -> dict[str, Any]:
    """Writes the reference of one size: the direct sum, or for larger ones a solver set to 1e-8 or better."""
    box = random_charges(n)
    reference = reference_for(box, None)
    path = Path(task["folder"]) / f"reference-{n}.npz"
    reference.save(path)
    return {
        "atoms": n,
        "file": str(path),
        "method": reference.method,
        "random_force": random_force(box),
        "energy": 0.5 * float(box.charges @ reference.potentials.ravel()),
    }


def check_own(task: dict[str, Any], n: int) -> dict[str, Any]:
    """Errors of forces and energy that mesh_times has left in the folder."""
    size = Size(task, n)
    energy = task["energies"][str(n)]
    path = Path(task["folder"]) / f"forces-{n}.bin"
    errors = {"energy": abs(energy - size.energy) / self_energy(size.box)} if size.energy is not None else {}
    if size.reference is not None and path.exists():
        errors["forces"] = size.force_error(np.fromfile(path).reshape(n, 3))
    for name, error in errors.items():
        if not error <= task["accuracy"]:
            raise WrongResultError(f"wrong {name}: {error:.1e} off, asked for {task['accuracy']:.0e}")
    return {"atoms": n, "errors": errors}


def main() -> None:
    """Does one task."""
    task = json.loads(sys.argv[1])
    if task["device"] == "cpu":
        confine(task["cores"])
    if task["mode"] == "solver":
        entry = SOLVERS[task["solver"]]
        if importlib.util.find_spec(entry.module) is None:
            print(json.dumps({"atoms": task["sizes"][0], "failed": f"{entry.package} is not installed"}))
            return
        work: Callable[[int], dict[str, Any]] = Column(task).measure
    else:
        work = {"reference": lambda n: make_reference(task, n), "own": lambda n: check_own(task, n)}[task["mode"]]
    for n in task["sizes"]:
        try:
            answer = work(n)
        except Exception as error:  # a peer may fail in any way; its column says how
            text = " ".join(str(error).split()) or type(error).__name__
            memory = isinstance(error, MemoryError) or any(
                words in text for words in ("out of memory", "can't allocate", "bad_alloc")
            )
            answer = {"atoms": n, "failed": "out of memory" if memory else text[:200]}
            answer["wrong"] = isinstance(error, WrongResultError)
        print(json.dumps(answer), flush=True)
        if "failed" in answer and task["mode"] == "solver":
            os._exit(0)  # libraries of a device that has failed may hang on their way out
        if task["device"] != "cpu" and task["mode"] == "solver":
            import torch

            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
