"""Memory of LAMMPS with pair style les over long runs: `python benchmarks/lammps/memory.py`.

Runs a small fluid with a tiny model on one and two ranks for many steps, with lists, ghosts and owners that change
every few steps, and the events that make and destroy the style: many short runs, pair_style again, `clear`, instances
of the library. Every rank samples what it holds; the growth after warm-up is printed in bytes a step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from systems import lattice, write_box, write_model

from les_md.lammps import plugin_directory

HERE = Path(__file__).resolve().parent
#: Samples of the first part do not count: buffers find their size, torch its caches.
WARM_UP = 0.3
#: Steps of the whole check and of --quick.
CASES = {
    "run": (100_000, 3000),
    "run_npt": (20_000, 1500),
    "run_field": (20_000, 1000),
    "run_layers": (20_000, 1000),
    "short_runs": (1000, 60),
    "styles": (200, 24),
    "clear": (200, 24),
    "instances": (200, 24),
}


@dataclass
class Growth:
    """What one rank of one case held after warm-up; growth is the median slope over quarters of the run.

    So a leak shows, and a buffer of MPI does not that is made once when the ranks drift apart on a busy machine.
    """

    case: str
    ranks: int
    rank: int
    steps: int
    used_bytes_per_step: float
    resident_bytes_per_step: float
    used_mb: float
    resident_mb: float
    owned: tuple[int, int]  # least and most atoms of the rank
    ghosts: tuple[int, int]


def measure(folder: Path, case: str, ranks: int, steps: int, control: bool = False) -> list[Growth]:
    """Runs one case, as a `control` without the style; one entry for each rank."""
    folder.mkdir(parents=True, exist_ok=True)
    model = "tiny_layers" if case.endswith("_layers") else "tiny"
    if not (folder / f"{model}.les.pt").exists():
        write_model(folder / f"{model}.les.pt", model)
    if not (folder / "atoms.data").exists():
        write_box(folder / "atoms.data", lattice(4))
    keywords = "solver mesh" + (" field 0 0 0.01 current yes" if case.endswith("_field") else "")
    settings = {
        "kind": "run" if case.startswith("run_") else case, "steps": steps, "every": max(1, steps // 100),
        "model": f"{model}.les.pt", "data": "atoms.data", "keywords": keywords, "pressure": case.endswith("_npt"),
        "control": control,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "LAMMPS_PLUGIN_PATH": plugin_directory(),
        "LD_LIBRARY_PATH": f"{sys.prefix}/lib",
    }
    program = [sys.executable, str(HERE / "memory_worker.py"), "settings.json"]
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), *program]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise SystemExit(f"memory: error: {case} on {ranks} ranks failed, see {folder}\n{process.stdout[-800:]}")
    return [growth_of(folder / f"samples.{rank}.txt", case, ranks, rank, steps) for rank in range(ranks)]


def growth_of(path: Path, case: str, ranks: int, rank: int, steps: int) -> Growth:
    """The samples of one rank, evaluated."""
    rows = [[float(word) for word in line.split()[1:]] for line in path.read_text().splitlines()]
    table = np.array([row for row in rows if row[0] > WARM_UP * steps])
    lag = max(1, len(table) // 4)
    slopes = (table[lag:, 1:3] - table[:-lag, 1:3]) / (table[lag:, :1] - table[:-lag, :1])
    used, resident = np.median(slopes, axis=0).tolist()
    ranges = [(int(column.min()), int(column.max())) for column in table.T[3:]] or [(0, 0), (0, 0)]
    held = table[-1, 1:3] / 2**20
    return Growth(case, ranks, rank, steps, used, resident, float(held[0]), float(held[1]), ranges[0], ranges[1])


def main() -> None:
    """Runs all cases."""
    parser = argparse.ArgumentParser(description="Memory of LAMMPS with pair style les over long runs.")
    parser.add_argument("--output", type=Path, default=Path("build/lammps_memory"), help="folder for results")
    parser.add_argument("--quick", action="store_true", help="few steps: shows that it runs")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--control", action="store_true", help="LAMMPS' lj/cut in place of the style")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    folder = options.output.resolve()
    results = []
    print("case        ranks rank  steps  in use B/step  resident B/step  in use MB  resident MB  owned  ghosts")
    for case in options.cases:
        for ranks in options.ranks:
            for g in measure(folder, case, ranks, CASES[case][1 if options.quick else 0], options.control):
                results.append(asdict(g))
                print(
                    f"{case:11s} {ranks:5d} {g.rank:4d} {g.steps:6d} {g.used_bytes_per_step:14.2f} "
                    f"{g.resident_bytes_per_step:16.1f} {g.used_mb:10.2f} {g.resident_mb:12.1f}  "
                    f"{g.owned[0]}-{g.owned[1]}  {g.ghosts[0]}-{g.ghosts[1]}",
                    flush=True,
                )
    (folder / "memory.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
