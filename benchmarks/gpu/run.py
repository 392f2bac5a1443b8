"""Times of the mesh beside its peers, and of whole steps of water beside the reference way, in one run on one machine.

    python benchmarks/gpu/run.py                     # on a GPU, 10^3 to 10^7 atoms
    python benchmarks/gpu/run.py --device cpu        # the same peers on one core, small sizes

Every solver runs in a fresh process and is checked there: one that does not give the energies and forces of the
reference is not timed but named, as is one that is not installed, fails, or runs out of memory or time. The exit status
is 1 if a result is wrong. README.md says more.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MESH = HERE.parent / "mesh"
sys.path.append(str(MESH))

from machine import describe_machine, machine_sentence, version_of  # noqa: E402
from mesh_solvers import SOLVERS  # noqa: E402
from tables import Rows, report  # noqa: E402

PACKAGES = ("les-md", "torch", "torch-pme", "nvalchemi-toolkit-ops", "warp-lang", "ase", "vesin")
LARGEST_REFERENCE = 1_000_000  # atoms; beyond it peers are compared with the energy of the package alone
DIFFERENCE = 1e-3  # of forces of whole steps, rms over rms, of which the mesh may have a tenth
OWN = "les_md"
FLOOR = "bandwidth floor"
#: Rows of mesh_times: label, and its column. Without further words it is what hosts get without options.
OWN_ROWS = {
    OWN: "scattered_us",
    "les_md, deterministic": "graph_us",
    "les_md, deterministic, without a graph": "plain_us",
    FLOOR: "floor_us",
}


class Benchmark:
    """One run: options, folder, results."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.output.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.wrong: list[str] = []
        self.results: dict[str, Any] = {
            "command": " ".join(["python", "benchmarks/gpu/run.py", *options.words]),
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "device": options.device,
            "dtype": options.dtype,
            "accuracy": options.accuracy,
            "machine": [
                f"Machine: {machine_sentence(describe_machine())}.",
                f"Packages: {', '.join(f'{package} {version_of(package)}' for package in PACKAGES)}.",
            ],
        }

    def answers(self, label: str, command: list[str]) -> list[dict[str, Any]]:
        """Lines of JSON of a process, which is ended if one of them takes longer than the time limit."""
        found: list[dict[str, Any]] = []
        environment = os.environ | {"PYTHONPATH": path_list(str(MESH), os.environ.get("PYTHONPATH"))}
        late = threading.Event()
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
        ):
            assert process.stdout is not None

            def give_up() -> None:
                late.set()
                process.kill()

            line = "first"
            while line:
                timer = threading.Timer(self.options.timeout, give_up)
                timer.start()
                line = process.stdout.readline()
                timer.cancel()
                if line.startswith("{"):
                    found.append(json.loads(line))
                    self.say(label, found[-1])
            status = process.wait()
            errors.seek(0)
            last = errors.read().strip().splitlines()[-1:] or ["no message"]
        if late.is_set() or status != 0:
            why = (
                f"took longer than {self.options.timeout:g} s" if late.is_set() else f"status {status}: {last[0][:200]}"
            )
            found.append({"failed": why})
            self.say(label, found[-1])
        return found

    def say(self, label: str, answer: dict[str, Any]) -> None:
        """One line on the screen, and a note of results that are wrong."""
        text = answer.get("failed") or (f"{1e6 * answer['seconds']:.1f} us" if "seconds" in answer else "done")
        print(f"{label}, {answer.get('atoms', 'next size')}: {text} {answer.get('words', '')}", flush=True)
        if answer.get("wrong"):
            self.wrong.append(f"{label}, {answer['atoms']} atoms: {answer['failed']}")

    def worker(self, label: str, sizes: list[int], **task: Any) -> list[dict[str, Any]]:
        """Answers of mesh_worker.py."""
        task |= {
            "sizes": sizes,
            "device": "cpu" if task["mode"] != "solver" else self.options.device,
            "cores": self.cores() if task["mode"] != "solver" else self.cores()[-1:],
            "folder": str(self.folder),
            "accuracy": self.options.accuracy,
            "dtype": self.options.dtype,
            "seconds": self.options.seconds,
        }
        return self.answers(label, [sys.executable, str(HERE / "mesh_worker.py"), json.dumps(task)])

    def cores(self) -> list[int]:
        """Cores of the references: one for runs on the CPU, so that nothing else is disturbed."""
        cores = sorted(os.sched_getaffinity(0))
        return cores if self.options.device == "cuda" else cores[-1:]

    def program(self, name: str, *arguments: Any) -> tuple[list[dict[str, Any]], str]:
        """Lines that mesh_times or step_times wrote into the folder, and why there are no more ("" if that is all)."""
        path = self.options.programs / name
        if not path.exists():
            return [], f"{path} is not there; run scripts/gpu_check.sh compile"
        lines = self.folder / f"{name}.jsonl"
        lines.unlink(missing_ok=True)
        why = ""
        try:
            command = [str(path), *map(str, arguments), str(self.folder)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.options.timeout, check=False, env=with_libraries()
            )
            if done.returncode != 0:
                last = done.stderr.strip().splitlines()[-1:] or ["no message"]
                why = "out of memory" if "out of memory" in last[0] else last[0][:200]
            print(done.stdout, flush=True)
            if done.stdout:
                self.results["machine"].append(f"{name}: {done.stdout.splitlines()[0]}.")
        except subprocess.TimeoutExpired:
            why = f"took longer than {self.options.timeout:g} s"
        return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else [], why

    def own_on_gpu(self, references: dict[str, Any]) -> Rows:
        """Rows of mesh_times, whose energies and forces are compared with the references; adds its larger energies."""
        lines, why = self.program("mesh_times", max(self.options.sizes), self.options.dtype, self.options.accuracy)
        energies = {str(line["atoms"]): line["energy"] for line in lines}
        errors: dict[int, dict[str, Any]] = {}
        if lines:
            sizes = [line["atoms"] for line in lines]
            checked = self.worker(OWN, sizes, mode="own", references=references, energies=energies)
            errors = {answer["atoms"]: answer for answer in checked if "atoms" in answer}
            self.wrong += [f"{OWN}, {n} atoms: not compared with a reference" for n in sizes if n not in errors]
        rows: Rows = {}
        for label, column in OWN_ROWS.items():
            rows[label] = [{"atoms": line["atoms"], "seconds": 1e-6 * line[column]} for line in lines]
            if why:
                rows[label].append({"failed": why})
        for line, answer in zip(lines, rows[OWN], strict=False):
            mesh = " x ".join(map(str, line["mesh"]))
            answer |= {"words": f"p {line['nodes']}, {mesh}"} | errors.get(line["atoms"], {})
        for n, energy in energies.items():
            references.setdefault(n, {"energy": energy})
        return rows

    def mesh(self) -> None:
        """The mesh and its peers."""
        sizes, on_gpu = self.options.sizes, self.options.device == "cuda"
        small = [n for n in sizes if n <= LARGEST_REFERENCE]
        made = self.worker("reference", small, mode="reference", references={})
        failed = [answer["failed"] for answer in made if "failed" in answer]
        if failed:
            raise SystemExit(f"gpu benchmark: error: no reference: {failed[0]}")
        references = {str(answer["atoms"]): answer for answer in made}
        rows = self.own_on_gpu(references) if on_gpu else {}
        for name, entry in SOLVERS.items():
            if (on_gpu and entry.own) or (not on_gpu and entry.graph):
                continue
            rows[entry.label] = self.worker(entry.label, sizes, mode="solver", solver=name, references=references)
        self.results["mesh"] = {"sizes": sizes, "own": OWN, "floor": FLOOR, "rows": rows}

    def step(self) -> None:
        """Whole steps of water."""
        model, options = self.folder / "water.les.pt", self.options
        subprocess.run([sys.executable, str(HERE / "water_model.py"), str(model)], check=True)
        rows: Rows = {}
        for way, label in (("engine", "LESCalculator"), ("reference", "reference way")):
            task = {"way": way, "sizes": options.step_sizes, "device": options.device, "cores": self.cores()[-1:]}
            task |= {"model": str(model), "folder": str(self.folder), "seconds": 3 * options.seconds}
            rows[label] = self.answers(label, [sys.executable, str(HERE / "step_worker.py"), json.dumps(task)])
        differences = compare_forces(rows["LESCalculator"], rows["reference way"])
        for n, difference in zip(options.step_sizes, differences, strict=False):
            if not difference <= DIFFERENCE:
                self.wrong.append(f"step of {n} atoms: forces are {difference:.1e} from those of the reference way")
        if options.device == "cuda":
            lines, why = self.program("step_times", model, max(options.step_sizes))
            for label, column in (("DeviceEngine", "plain_ms"), ("DeviceEngine, as a graph", "graph_ms")):
                timed = [line for line in lines if line[column] is not None]
                rows[label] = [{"atoms": line["atoms"], "seconds": 1e-3 * line[column]} for line in timed]
                if why:
                    rows[label].append({"failed": why})
        self.results["step"] = {
            "sizes": options.step_sizes, "own": "LESCalculator", "rows": rows, "differences": differences,
        }  # fmt: skip

    def run(self) -> None:
        """All that was asked for; the report is written after each part."""
        for part in (self.mesh, self.step):
            if self.options.only in (None, part.__name__):
                part()
                (self.folder / "results.json").write_text(json.dumps(self.results, indent=1) + "\n")
                (self.folder / "report.md").write_text(report(self.results))
        for pattern in ("reference-*.npz", "forces-*.bin", "step-*.npy"):
            for file in self.folder.glob(pattern):
                file.unlink()
        print(report(self.results))
        print(f"{self.folder}/report.md, results.json")
        if self.wrong:
            raise SystemExit("gpu benchmark: error: wrong results: " + "; ".join(self.wrong))


def path_list(*parts: str | None) -> str:
    """Folders as in PATH, without empty ones."""
    return os.pathsep.join(part for part in parts if part)


def with_libraries() -> dict[str, str]:
    """The environment in which programs find the libraries of CUDA that torch brings along."""
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    package = Path(torch.origin).parent
    folders = [package / "lib", *package.parent.glob("nvidia/cu*/lib")]
    libraries = path_list(*map(str, folders), os.environ.get("LD_LIBRARY_PATH"))
    return os.environ | {"LD_LIBRARY_PATH": libraries}


def compare_forces(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[float]:
    """Rms difference over rms, for the sizes that both ways have."""
    import numpy as np

    found = []
    for a, b in zip(first, second, strict=False):
        if "failed" not in a | b:
            ours, theirs = np.load(a["forces"]), np.load(b["forces"])
            found.append(float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)))
    return found


def decades(largest: int) -> list[int]:
    """1000, 10000, ... up to `largest`."""
    return [10**power for power in range(3, len(str(largest)))]


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description="Mesh and whole steps on a device, beside peers in the same run.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", choices=["mesh", "step"], help="one part; default both")
    parser.add_argument("--largest", type=int, help="atoms; default 10^7, on the CPU 10^4")
    parser.add_argument("--largest-step", type=int, help="atoms in whole steps; default 10^6, on the CPU 10^3")
    parser.add_argument("--sizes", type=int, nargs="+", help="atoms, even numbers, on the CPU instead of powers of ten")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="of the mesh, peers too")
    parser.add_argument("--accuracy", type=float, default=1e-4, help="rms force error over that of random charges")
    parser.add_argument("--seconds", type=float, default=5.0, help="after which a timing is not repeated further")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for a size of a solver, set-up included")
    parser.add_argument("--programs", type=Path, default=Path("build/cuda/native"), help="of mesh_times, step_times")
    parser.add_argument("--output", type=Path, default=Path("build/gpu_benchmark"), help="folder of the results")
    options = parser.parse_args(arguments)
    options.words = sys.argv[1:] if arguments is None else arguments
    on_gpu = options.device == "cuda"
    for name, value in (("--largest", options.largest), ("--largest-step", options.largest_step)):
        if value is not None and value < 1000:
            parser.error(f"{name} must be 1000 or more, got {value}")
    if options.sizes and (on_gpu or min(options.sizes) < 30 or any(n % 2 for n in options.sizes)):
        parser.error("--sizes are even numbers of 30 or more, for --device cpu; on a GPU use --largest")
    largest = options.largest or (10_000_000 if on_gpu else 10_000)
    largest_step = options.largest_step or min(largest, 1_000_000 if on_gpu else 1_000)
    options.step_sizes = sorted(options.sizes) if options.sizes else decades(largest_step)
    options.sizes = options.step_sizes if options.sizes else decades(largest)
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("gpu benchmark: error: torch finds no GPU; run it where there is one, or use --device cpu")
    Benchmark(options).run()


if __name__ == "__main__":
    main()
