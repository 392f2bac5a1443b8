"""Time per step and memory of the mesh solver and its peers against the number of atoms, at equal measured force error.

    python benchmarks/mesh/run.py              # 10^3 to 10^6 atoms
    python benchmarks/mesh/run.py --quick      # 10^3 and 3 10^3 atoms, minutes

Every (solver, size) runs in a fresh process on one core; the solvers take turns, round after round, so that a slow
spell of the machine meets all of them. Peers are set to the fastest mesh whose measured error is at most the accuracy
asked of the package. README.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from callgrind import count_instructions
from catalogue import CATALOGUE
from machine import describe_machine
from reference import LARGEST_DIRECT
from report import write_report
from systems import water

HERE = Path(__file__).resolve().parent
SIZES = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
CALIBRATION_SIZE = 10_000
THREADED = ("les-f64", "les-f32", "les-f64-kc")
SMALLEST_THREADED = 9_900  # atoms
MANY_ROUNDS = 200_000  # atoms; beyond, two rounds (LAMMPS alone needs minutes of set-up)


class Benchmark:
    """One run: folder, options, and the results so far, which are on disk after every size."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.output.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cores = sorted(os.sched_getaffinity(0))
        self.core = options.core if options.core is not None else self.cores[-1]
        self.results: dict[str, Any] = {
            "command": " ".join(["python", "benchmarks/mesh/run.py", *sys.argv[1:]]),
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "accuracy": options.accuracy,
            "machine": describe_machine(),
            "solvers": {name: {"label": kind.label, "k_cutoff": k} for name, (kind, k) in CATALOGUE.items()},
            "calibration": {},
            "sizes": [],
        }
        for name, (kind, _) in CATALOGUE.items():
            self.results["solvers"][name]["provides"] = kind.provides
        self.settings: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}

    def work(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer of a fresh worker process."""
        command = [sys.executable, str(HERE / "worker.py"), json.dumps(task)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.options.timeout, check=False)
        except subprocess.TimeoutExpired:
            return {"failed": f"took longer than {self.options.timeout} s"}
        for line in reversed(done.stdout.splitlines()):
            if line.startswith("{"):
                return dict(json.loads(line))
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return {"failed": f"process ended with status {done.returncode}: {last[0][:200]}"}

    def prepare(self, n: int) -> dict[str, Any]:
        """Box and references of one size, as files; returns what the tasks of this size have in common."""
        box = water(n)
        path = self.folder / f"box-{len(box.charges)}.npz"
        box.save(path)
        references = {}
        for kernel, k_cutoff in sorted({(self.kernel(name), CATALOGUE[name][1]) for name in self.options.peers}):
            file = self.folder / f"reference-{len(box.charges)}-{kernel}.npz"
            answer = self.work(
                {
                    "mode": "reference",
                    "box": str(path),
                    "reference": str(file),
                    "k_cutoff": k_cutoff,
                    "cores": [self.core],
                    "compare": n == min(self.options.sizes) and n <= LARGEST_DIRECT,
                }
            )
            if "failed" in answer:
                raise SystemExit(
                    f"mesh benchmark: error: no reference for {len(box.charges)} atoms: {answer['failed']}"
                )
            references[kernel] = answer | {"file": str(file)}
        return {"atoms": len(box.charges), "box": str(path), "references": references}

    def kernel(self, name: str) -> str:
        """ "converged" or "truncated"."""
        return "converged" if CATALOGUE[name][1] is None else "truncated"

    def task(self, mode: str, name: str, size: dict[str, Any], threads: int = 1) -> dict[str, Any]:
        """A task for a worker."""
        reference = size["references"][self.kernel(name)]
        cores = [self.core] if threads == 1 else self.cores[:threads]
        return {
            "mode": mode,
            "solver": name,
            "box": size["box"],
            "reference": reference["file"],
            "random_force": reference["random_force"],
            "target": self.options.peer_error,
            "cores": cores,
            "seconds": self.options.seconds,
        }

    def calibrate(self, names: list[str], size: dict[str, Any]) -> None:
        """Sets the peers to the fastest settings that reach the accuracy at this size."""
        for name in names:
            if name.startswith("les"):
                self.settings[name] = {"accuracy": self.options.accuracy}
                continue
            if name == "direct":
                self.settings[name] = {}
                continue
            answer = self.work(self.task("calibrate", name, size))
            self.results["calibration"].setdefault(name, {})[str(size["atoms"])] = answer
            if "failed" in answer:
                self.failures[name] = answer["failed"]
                print(f"  {name:14s} {answer['failed']}", flush=True)
            else:
                self.settings[name] = answer["chosen"]["settings"]
                print(f"  {name:14s} {answer['chosen']['words']}, error {answer['chosen']['error']:.1e}", flush=True)

    def skip_slow(self, size: dict[str, Any]) -> None:
        """Gives up solvers whose step would take too long, as judged by the size before."""
        for row in self.results["sizes"][-1]["rows"] if self.results["sizes"] else []:
            expected = row.get("seconds", 0.0) * size["atoms"] / self.results["sizes"][-1]["atoms"]
            if row["threads"] == 1 and expected > self.options.longest_step:
                self.failures[row["solver"]] = f"a step would take about {expected:.0f} s (--longest-step)"

    def jobs(self, size: dict[str, Any]) -> list[tuple[str, int]]:
        """(solver, threads) of one size."""
        names = [name for name in self.options.peers if size["atoms"] <= CATALOGUE[name][0].largest]
        jobs = [(name, 1) for name in names]
        if len(self.cores) > 1 and size["atoms"] >= SMALLEST_THREADED:
            jobs += [(name, 2) for name in names if name in THREADED]
        return jobs

    def measure(self, size: dict[str, Any]) -> None:
        """All solvers of one size, in rounds."""
        self.skip_slow(size)
        every_size = [name for name in self.options.peers if CATALOGUE[name][0].calibrate_every_size]
        every_size = [name for name in every_size if name not in self.failures]
        if every_size:
            print(f"settings for {size['atoms']} atoms", flush=True)
            self.calibrate(every_size, size)
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        for _ in range(self.options.rounds if size["atoms"] <= MANY_ROUNDS else min(2, self.options.rounds)):
            for job in self.jobs(size):
                name, threads = job
                row = rows.setdefault(job, {"solver": name, "threads": threads, "rounds": []})
                if name in self.failures:
                    row["failed"] = self.failures[name]
                if "failed" in row:
                    continue
                answer = self.work(self.task("time", name, size, threads) | {"settings": self.settings[name]})
                if "failed" in answer:
                    row["failed"] = answer["failed"]
                    continue
                row["rounds"].append(answer)
        size["rows"] = [summary(row) for row in rows.values()]
        self.results["sizes"].append(size)
        for row in size["rows"]:
            text = row.get("failed") or (
                f"{1e6 * row['seconds'] / size['atoms']:8.3f} us/atom "
                f"(median {1e6 * row['median'] / size['atoms']:.3f}), error {row['error']:.1e}, "
                f"{row['memory'] / size['atoms']:7.0f} B/atom  {row['words']}"
            )
            print(f"{size['atoms']:9d} {row['solver']:14s} {row['threads']} thread(s) {text}", flush=True)

    def save(self) -> None:
        """Writes results.json."""
        (self.folder / "results.json").write_text(json.dumps(self.results, indent=1) + "\n")

    def run(self) -> None:
        """The whole benchmark."""
        sizes = sorted(self.options.sizes)
        calibration = max([n for n in sizes if n <= CALIBRATION_SIZE], default=sizes[0])
        print(f"settings for {calibration} atoms, error at most {self.options.peer_error:g}", flush=True)
        fixed = [name for name in self.options.peers if not CATALOGUE[name][0].calibrate_every_size]
        self.calibrate(fixed, self.prepare(calibration))
        for n in sizes:
            self.measure(self.prepare(n))
            self.save()
        if self.options.callgrind:
            self.results["instructions"] = count_instructions(
                self.options.callgrind, self.options.accuracy, self.folder
            )
            self.save()
        for file in self.folder.glob("*.npz"):
            file.unlink()
        write_report(self.results, self.folder)
        print(f"{self.folder}/report.md, times.png, results.json")


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """Minimum and median over all repetitions of all rounds, the largest error, the median memory."""
    rounds = row["rounds"]
    if "failed" in row or not rounds:
        return row
    seconds = sorted(value for entry in rounds for value in entry["seconds"])
    memory = sorted(entry["memory"] for entry in rounds)
    best = min(rounds, key=lambda entry: min(entry["seconds"]))
    return row | {
        "seconds": seconds[0],
        "median": seconds[len(seconds) // 2],
        "error": max(entry["error"] for entry in rounds),
        "memory": memory[len(memory) // 2],
        "others": min(entry["others"] for entry in rounds),
        "first_seconds": min(entry["first_seconds"] for entry in rounds),
        "stages": best["stages"],
        "words": best["words"],
    }


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description="Mesh solver and peers: time and memory against the number of atoms.")
    parser.add_argument("--sizes", type=int, nargs="+", help="atoms; default 10^3 to 10^6 in steps of about 3")
    parser.add_argument("--quick", action="store_true", help="10^3 and 3 10^3 atoms and short timings")
    parser.add_argument("--peers", nargs="+", choices=list(CATALOGUE), default=list(CATALOGUE), help="what to measure")
    parser.add_argument("--accuracy", type=float, default=1e-4, help="rms force error over that of random charges")
    parser.add_argument(
        "--peer-error", type=float, help="largest measured error of the peers' settings; default: the accuracy"
    )
    parser.add_argument("--rounds", type=int, help="turns of each solver; default 3, quick 2")
    parser.add_argument("--seconds", type=float, help="time for repetitions in each turn; default 1, quick 0.2")
    parser.add_argument("--core", type=int, help="core of the single-threaded measurements; default the last one")
    parser.add_argument("--longest-step", type=float, default=30.0, help="seconds; slower solvers are left out")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds after which a worker is given up")
    parser.add_argument(
        "--callgrind", type=int, metavar="ATOMS", help="count instructions too (valgrind), for this size"
    )
    parser.add_argument("--output", type=Path, default=Path("build/mesh_benchmark"), help="folder of the results")
    options = parser.parse_args()
    options.sizes = options.sizes or (SIZES[:2] if options.quick else SIZES)
    options.peer_error = options.peer_error or options.accuracy
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.seconds = options.seconds or (0.2 if options.quick else 1.0)
    if min(options.sizes) < 3:
        parser.error(f"--sizes must be 3 or more atoms, got {min(options.sizes)}")
    Benchmark(options).run()


if __name__ == "__main__":
    main()
