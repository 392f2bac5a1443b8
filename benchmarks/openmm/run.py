"""Speed of MD with one LES model in OpenMM: LESForce, Python routes as in openmm-ml, and TorchForce.

    python benchmarks/openmm/run.py              # 10^3 to 10^5 atoms
    python benchmarks/openmm/run.py --quick      # 300 and 10^3 atoms, minutes
    python benchmarks/openmm/run.py --sizes 300 --rounds 1 --steps 20000   # does a step slow down in a long run?

Every (route, size, round) is a fresh process on the same cores; the routes take turns, so that a slow spell of the
machine meets all of them. TorchForce takes part if its environment exists (`make test-openmm-torch` makes it).
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

import numpy as np
import torch
from report import write_report
from routes import ROUTES

from les_md.export import load_exported, write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "mesh"))

from machine import describe_machine  # noqa: E402
from systems import water  # noqa: E402

SIZES = [1_000, 3_000, 10_000, 30_000, 100_000]
OPENMM_TORCH = HERE.parents[1] / ".venv-openmm-torch" / "bin" / "python"


def untrained_model() -> LESModel:
    """The default network for water with random weights, whose forces are too small to disturb the thermal motion."""
    torch.manual_seed(1)
    settings = ModelSettings(symbols=["O", "H"], dtype="float32", long_range=LongRangeSettings(neutrality=True))
    model = LESModel(settings).eval()
    with torch.no_grad():
        model.energy_head.output_scale.fill_(1e-4)
        model.charge_head.output_scale.fill_(1e-3)
    return model


def memory_available() -> int:
    """Bytes that a process may use now."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


class Benchmark:
    """One run: folder, options, and the results so far, which are on disk after every size."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.output.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = load_exported(options.model)[0] if options.model else untrained_model()
        self.cores = sorted(os.sched_getaffinity(0))[-options.threads :]
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.results: dict[str, Any] = {
            "command": " ".join(["python", "benchmarks/openmm/run.py", *sys.argv[1:]]),
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "machine": describe_machine(),
            "threads": options.threads,
            "time_step": options.time_step,
            "accuracy": options.accuracy,
            "model": f"{options.model or 'untrained'}: cutoff {self.model.settings.cutoff} angstrom, {parameters} "
            f"parameters, {self.model.settings.dtype}",
            "labels": {name: label for name, (label, _) in ROUTES.items()},
            "sizes": [],
        }

    def prepare(self, n: int) -> dict[str, Any]:
        """Box and model files of one size."""
        box = water(n)
        symbols = ["O" if charge < 0.0 else "H" for charge in box.charges]
        files = {name: self.folder / f"{name}-{len(symbols)}" for name in ("box", "model", "bound")}
        np.savez(files["box"], positions=box.positions, cell=box.cell, symbols=symbols)
        write_model_file(self.model, files["model"], {}, None, None)
        write_model_file(self.model, files["bound"], {}, None, symbols)
        return {
            "atoms": len(symbols),
            "box": f"{files['box']}.npz",
            "model": str(files["model"]),
            "bound_model": str(files["bound"]),
        }

    def work(self, route: str, size: dict[str, Any]) -> dict[str, Any]:
        """The answer of a fresh worker process."""
        python = str(self.options.openmm_torch) if route == "torchforce" else sys.executable
        if not Path(python).exists():
            return {"failed": "no environment (make test-openmm-torch makes it)"}
        task = size | {
            "route": route,
            "cores": self.cores,
            "accuracy": self.options.accuracy,
            "time_step": self.options.time_step,
            "seconds": self.options.seconds,
            "steps": self.options.steps,
            "warm_up": 6 if route == "torchforce" else 2,
            "memory": 0.9 * memory_available(),
            "forces": str(self.folder / f"forces-{size['atoms']}-{route}.npy"),
        }
        command = [python, str(HERE / "worker.py"), json.dumps(task)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.options.timeout, check=False)
        except subprocess.TimeoutExpired:
            return {"failed": f"took longer than {self.options.timeout} s"}
        for line in reversed(done.stdout.splitlines()):
            if line.startswith("{"):
                return dict(json.loads(line))
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return {"failed": f"process ended with status {done.returncode}: {last[0][:200]}"}

    def differences(self, route: str, size: dict[str, Any]) -> float:
        """Largest difference of the first forces from LESForce's, over the largest force."""
        mine, theirs = (np.load(self.folder / f"forces-{size['atoms']}-{name}.npy") for name in ("les", route))
        return float(np.abs(theirs - mine).max() / np.abs(mine).max())

    def expected_seconds(self, route: str, n: int) -> float:
        """A step of `route` with `n` atoms, as judged by the last size."""
        for row in self.results["sizes"][-1]["rows"] if self.results["sizes"] else []:
            if row["route"] == route:
                if "failed" in row:
                    return float("inf")
                return float(row["seconds"]) * n / self.results["sizes"][-1]["atoms"]
        return 0.0

    def measure(self, size: dict[str, Any]) -> None:
        """All routes of one size, in rounds; a row keeps its fastest round."""
        rows: dict[str, dict[str, Any]] = {}
        for _ in range(self.options.rounds):
            for route in self.options.routes:
                row = rows.setdefault(route, {"route": route})
                if "failed" in row:
                    continue
                expected = self.expected_seconds(route, size["atoms"])
                if expected > self.options.longest_step:
                    too_long = f"a step would take about {expected:.0f} s (--longest-step)"
                    row["failed"] = "failed at a smaller size" if expected == float("inf") else too_long
                    continue
                answer = self.work(route, size)
                if "failed" in answer or answer["seconds"] < row.get("seconds", float("inf")):
                    row.update(answer)
                if "failed" not in answer and route not in ("les", "none") and "les" in rows:
                    row["difference"] = self.differences(route, size)
        size["rows"] = list(rows.values())
        self.results["sizes"].append(size)
        for row in size["rows"]:
            text = row.get("failed") or f"{1e3 * row['seconds']:10.3f} ms a step ({row['steps']} steps)"
            print(f"{size['atoms']:8d} {row['route']:12s} {text}", flush=True)
        (self.folder / "results.json").write_text(json.dumps(self.results, indent=1) + "\n")

    def run(self) -> None:
        """The whole benchmark."""
        for n in sorted(self.options.sizes):
            self.measure(self.prepare(n))
        write_report(self.results, self.folder)
        print((self.folder / "report.md").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "build" / "openmm_benchmark")
    parser.add_argument("--model", help="file of les-export that knows O and H; without it an untrained one is made")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="atoms")
    parser.add_argument("--routes", nargs="+", choices=list(ROUTES), default=list(ROUTES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="measured in each round, three steps at least")
    parser.add_argument("--steps", type=int, default=0, help="measured in each round, instead of --seconds")
    parser.add_argument("--time-step", type=float, default=0.5, help="fs")
    parser.add_argument("--accuracy", type=float, default=1e-4, help="of the mesh, where a route has one")
    parser.add_argument("--longest-step", type=float, default=60.0, help="seconds; slower routes skip larger sizes")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds of one process")
    parser.add_argument("--openmm-torch", type=Path, default=OPENMM_TORCH, help="python of an environment of its own")
    parser.add_argument("--quick", action="store_true", help="300 and 1000 atoms, one short round")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.rounds, options.seconds = [300, 1_000], 1, 1.0
    Benchmark(options).run()


if __name__ == "__main__":
    main()
