"""One measurement in a process of its own, so that no solver meets another's threads or memory.

    python worker.py '{"mode": "time", ...}'

The task is the JSON on the command line; the last line of output is the answer as JSON. run.py starts the workers.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

SLOW_STEP = 10.0  # seconds, beyond which a step is not repeated more than needed


def confine(cores: list[int]) -> None:
    """Pins this process to `cores` and says so to every OpenMP and BLAS; before any of them is loaded."""
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(len(cores))
    # a solver too large for this machine fails here instead of taking the machine with it
    available = memory_line("/proc/meminfo", "MemAvailable")
    resource.setrlimit(resource.RLIMIT_DATA, (int(0.9 * available), resource.RLIM_INFINITY))


def memory_line(path: str, name: str) -> int:
    """Bytes of one line of a file of /proc that counts in kB."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"{path} has no line {name}")


def busy_seconds() -> float:
    """Time that all processors of the machine have spent on programs so far."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system = (int(word) for word in words[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


class PeakMemory:
    """Growth of the resident memory of this process at its highest since the start, bytes."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        self.before = memory_line("/proc/self/status", "VmRSS")

    def growth(self) -> int:
        """Highest so far less the start."""
        return memory_line("/proc/self/status", "VmHWM") - self.before


def make_solver(task: dict[str, Any]) -> Any:
    """The solver of the task, with its box."""
    from catalogue import CATALOGUE
    from systems import ChargedBox

    kind, k_cutoff = CATALOGUE[task["solver"]]
    solver = kind(len(task["cores"]), k_cutoff)
    solver.prepare(ChargedBox.load(Path(task["box"])))
    return solver


def force_error(solver: Any, task: dict[str, Any]) -> float:
    """Rms error of the last forces over the rms force of the same charges placed at random."""
    from reference import Reference, rms

    return rms(solver.forces() - Reference.load(Path(task["reference"])).forces) / task["random_force"]


def make_reference(task: dict[str, Any]) -> dict[str, Any]:
    """Writes the reference; returns its method, norms and, for the smallest box, its distance from the direct sum."""
    from reference import direct_reference, nufft_reference, random_force, reference_for, rms
    from systems import ChargedBox

    box = ChargedBox.load(Path(task["box"]))
    reference = reference_for(box, task["k_cutoff"])
    reference.save(Path(task["reference"]))
    scale = random_force(box, k_cutoff=task["k_cutoff"])
    answer = {"method": reference.method, "random_force": scale, "rms_force": rms(reference.forces)}
    if task["compare"] and importlib.util.find_spec("finufft") is not None:
        difference = nufft_reference(box, task["k_cutoff"]).forces - direct_reference(box, task["k_cutoff"]).forces
        answer["nufft_against_direct"] = rms(difference) / scale
    return answer


def calibrate(task: dict[str, Any]) -> dict[str, Any]:
    """The fastest settings whose measured error is at most the target, and everything that was tried."""
    solver = make_solver(task)
    target = task["target"] * solver.tolerance
    tried: list[dict[str, Any]] = []

    def processor_seconds(settings: dict[str, Any], steps: int) -> float:
        """Processor time per evaluation, which other programs on the machine disturb less than they do wall time."""
        solver.build(settings)
        solver.time_steps(1)
        start = time.process_time()
        solver.time_steps(steps)
        return (time.process_time() - start) / steps

    def attempt(settings: dict[str, Any]) -> dict[str, Any]:
        seconds = processor_seconds(settings, 1 if solver.calibrate_every_size else 3)
        error = force_error(solver, task)
        tried.append({"settings": settings, "words": solver.describe(), "error": error, "seconds": seconds})
        return tried[-1]

    for settings in solver.series(solver.box, task["target"]):
        low, high = 0, len(settings)
        while low < high:
            # errors fall along a series: bisection for the first that is good enough, or one by one where the meshes
            # after it could be too large for the machine
            middle = low if solver.calibrate_every_size else (low + high) // 2
            if attempt(settings[middle])["error"] <= target:
                high = middle
            else:
                low = middle + 1
    good = [entry for entry in tried if entry["error"] <= target]
    if not good:
        best = min(tried, key=lambda entry: entry["error"])
        return {"failed": f"no setting reaches an error of {target:g}; best {best['error']:.1e} ({best['words']})"}
    # the fastest ones once more, since a slow moment of the machine may have met one of them
    finalists = sorted(good, key=lambda entry: float(entry["seconds"]))[:4]
    if len(finalists) == 1:
        return {"chosen": finalists[0], "tried": tried}
    for entry in finalists:
        entry["seconds"] = min(entry["seconds"], processor_seconds(entry["settings"], 5))
    return {"chosen": min(finalists, key=lambda entry: float(entry["seconds"])), "tried": tried}


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds per evaluation, error, memory and stages."""
    solver = make_solver(task)
    memory = PeakMemory()
    solver.build(task["settings"])
    first = max(solver.time_steps(1))
    busy, own, wall = busy_seconds(), time.process_time(), time.perf_counter()
    seconds = solver.time_steps(2 if first < SLOW_STEP else 1)
    repetitions = int(min(200, task["seconds"] / max(min(seconds), 1e-6)))
    if repetitions > 2:
        seconds = solver.time_steps(repetitions)
    others = (busy_seconds() - busy - (time.process_time() - own)) / (time.perf_counter() - wall)
    growth = memory.growth()
    return {
        "seconds": seconds,
        "others": max(0.0, others),
        "first_seconds": first,
        "error": force_error(solver, task),
        "memory": growth,
        "words": solver.describe(),
        "stages": solver.stages(),
    }


def main() -> None:
    """Does one task."""
    task = json.loads(sys.argv[1])
    confine(task["cores"])
    started = time.monotonic()
    try:
        answer = {"reference": make_reference, "calibrate": calibrate, "time": measure}[task["mode"]](task)
    except ImportError as error:
        answer = {"failed": f"not installed ({error.name or error})"}
    except Exception as error:  # a peer may fail in any way; its row says how
        text = " ".join(str(error).split()) or type(error).__name__
        memory = isinstance(error, MemoryError) or any(words in text for words in ("can't allocate", "bad_alloc"))
        answer = {"failed": "out of memory" if memory else text[:200]}
    answer["wall_seconds"] = time.monotonic() - started
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
