"""Time and memory of water in LAMMPS with pair style les: `python benchmarks/lammps/run.py`.

Sizes from 10^3 atoms up, with the model of the package's default size, the same model with its charges switched off
beside it, strong and weak scaling over the cores at hand, and the ASE calculator on the same boxes. Every case is
written to results.json as it ends; the program goes on where it was stopped. Table and plot are written at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase_run import run_ase
from lammps_run import RunError, run_lammps
from report import write_report
from systems import SIDE, water, write_box, write_model

sys.path.append(str(Path(__file__).resolve().parents[1] / "mesh"))
from machine import describe_machine

#: Copies of the box of 1029 atoms along each axis.
SIZES = [1, 2, 4, 5, 6, 8, 10]
QUICK_SIZES = [1, 2]
#: Of one rank at the default of `graph_memory`, and of an atom beside it.
GRAPH_BYTES, BYTES_WITHOUT_GRAPH = 2e9, 14e3
#: Microseconds an atom and step on one core, to choose how many steps a run has.
GUESS = 150.0


class Benchmark:
    """Cases done so far, in results.json."""

    def __init__(self, folder: Path, seconds: float, rounds: int) -> None:
        self.folder, self.seconds, self.rounds = folder, seconds, rounds
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.json"
        self.results: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        for name in ("default", "no_charges"):
            if not (folder / f"{name}.les.pt").exists():
                write_model(folder / f"{name}.les.pt", name)
        if not (folder / "water.data").exists():
            write_box(folder / "water.data", water((SIDE, SIDE, SIDE)))

    def steps_for(self, atoms: int, ranks: int) -> int:
        """Steps that take about `seconds`."""
        return max(3, min(300, round(self.seconds * ranks / (atoms * GUESS * 1e-6))))

    def case(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of the case `name`, made if it is not there."""
        if name not in self.results:
            print(f"{name} ...", flush=True)
            self.results[name] = make()
            temporary = self.path.with_name("results.json.part")
            temporary.write_text(json.dumps(self.results, indent=1) + "\n")
            os.replace(temporary, self.path)
        result: dict[str, Any] = self.results[name]
        return result

    def lammps(self, model: str, replicate: tuple[int, int, int], ranks: int, threads: int = 1) -> dict[str, Any]:
        """The fastest of some runs of LAMMPS."""
        copies = replicate[0] * replicate[1] * replicate[2]
        atoms = 3 * SIDE**3 * copies

        def make() -> dict[str, Any]:
            best: dict[str, Any] = {}
            for _ in range(self.rounds):
                try:
                    timing = run_lammps(
                        self.folder, ranks, data="water.data", replicate=replicate, model=f"{model}.les.pt",
                        keywords=f"threads {threads}", steps=self.steps_for(atoms, ranks * threads),
                    )  # fmt: skip
                except RunError as error:
                    return {"atoms": atoms, "ranks": ranks, "failed": str(error)}
                if not best or timing.seconds_per_step < best["seconds_per_step"]:
                    best = {"ranks": ranks, "threads": threads, **asdict(timing)}
            return best

        return self.case(f"lammps {model} {atoms} atoms {ranks} ranks {threads} threads", make)

    def ase(self, replicate: tuple[int, int, int], threads: int) -> dict[str, Any]:
        """The ASE calculator on the same box."""
        atoms = 3 * SIDE**3 * replicate[0] * replicate[1] * replicate[2]

        def make() -> dict[str, Any]:
            return run_ase(self.folder, "default.les.pt", replicate, threads, self.steps_for(atoms, threads))

        return self.case(f"ase default {atoms} atoms {threads} threads", make)


def run_all(benchmark: Benchmark, sizes: list[int], cores: int) -> None:
    """All cases, small ones first. A size that does not fit in memory ends the sizes, not the benchmark."""
    for side in sizes:
        cube = (side, side, side)
        result = benchmark.lammps("default", cube, cores)
        if "failed" in result:
            print(f"  failed: {result['failed']}")
            break
        benchmark.lammps("no_charges", cube, cores)
        if not fits(benchmark, side, sizes):
            break
    for side in sizes[: 2 if len(sizes) < 4 else 3]:
        for ranks in range(1, cores + 1):
            benchmark.lammps("default", (side, side, side), ranks)
        if cores > 1:
            benchmark.lammps("default", (side, side, side), 1, cores)
        benchmark.ase((side, side, side), 1)
        benchmark.ase((side, side, side), cores)
    for ranks in range(1, cores + 1):
        benchmark.lammps("default", (2, 2, ranks), ranks)


def fits(benchmark: Benchmark, side: int, sizes: list[int]) -> bool:
    """Whether the next size should fit in memory, by the bytes an atom of this one; says so if not.

    Graphs of the network are kept up to `graph_memory`, so they do not grow with the system beyond it.
    """
    index = sizes.index(side) + 1
    if index == len(sizes):
        return True
    cases = [result for name, result in benchmark.results.items() if name.startswith("lammps default")]
    done = max((case for case in cases if "failed" not in case), key=lambda case: case["atoms"])
    per_atom = done["peak_bytes"] / done["atoms"]
    atoms = 3 * SIDE**3 * sizes[index] ** 3
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = min(atoms * per_atom, done["ranks"] * GRAPH_BYTES + atoms * BYTES_WITHOUT_GRAPH)
    if needed < 0.9 * memory:
        return True
    benchmark.results["memory"] = {
        "bytes_per_atom": per_atom,
        "machine_bytes": memory,
        "largest_atoms": done["atoms"],
        "next_atoms": atoms,
        "next_bytes": needed,
    }
    print(f"  {atoms} atoms would need {needed / 2**30:.1f} GiB, this machine has {memory / 2**30:.1f} GiB")
    return False


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description="Water with pair style les: sizes, scaling, parts of a step.")
    parser.add_argument("--output", type=Path, default=Path("build/lammps_benchmark"), help="folder for results")
    parser.add_argument("--sizes", type=int, nargs="+", help="copies of the box of 1029 atoms along each axis")
    parser.add_argument("--seconds", type=float, default=20.0, help="aim of one timed run")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each case, of which the fastest counts")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), help="most ranks and threads")
    parser.add_argument("--quick", action="store_true", help="two sizes and short runs: shows that it runs")
    options = parser.parse_args()
    folder = options.output.resolve() / ("quick" if options.quick else "full")
    benchmark = Benchmark(folder, 2.0 if options.quick else options.seconds, 1 if options.quick else options.rounds)
    benchmark.case("machine", describe_machine)
    run_all(benchmark, options.sizes or (QUICK_SIZES if options.quick else SIZES), options.cores)
    print(write_report(folder, benchmark.results, options.cores))


if __name__ == "__main__":
    main()
