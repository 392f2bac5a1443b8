"""Instructions of one evaluation of the mesh solver, counted by valgrind's callgrind, by stage.

    python benchmarks/mesh/callgrind.py 10000

The same small program (callgrind_case.py) runs twice, with and without one more evaluation; the difference is that
evaluation. Valgrind's virtual processor has AVX2 but no AVX-512, so the counts are those of the AVX2 loops.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"  # where `make env` builds

#: Stage: pattern of function names, then of object files; the first match counts.
GROUPS = {
    "points_to_mesh": (r"points_to_mesh", None),
    "mesh_to_points": (r"mesh_to_points", None),
    "sorting": (r"MeshPoints<\w+>::|::sort\b", None),
    "filter": (r"filter_row|KspaceFilter", None),
    "Fourier transform": (r"mkl_|dft|fft|pocketfft|compute_\w*batch|MeshTransform", r"mkl|fftw"),
    "inner loops without names (stripped library)": (r"^0x", None),
    "other parts of the solver": (r"\bles::", r"_core|libles"),
    "copies and allocation": (r"mem(cpy|set|move)|malloc|free", None),
    "Python": (None, r"python|multiarray"),
    "torch": (None, r"torch|c10"),
}


def build_identity(library: Path) -> bytes:
    """The GNU build id of a shared library, empty if it has none."""
    content = library.read_bytes()
    at = content.find(b"\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00")
    return content[at + 16 : at + 36] if at >= 0 else b""


def named_library(build: Path) -> Path | None:
    """The library of the build tree, which still has names of functions, if the installed one was made from it."""
    specification = importlib.util.find_spec("les_md")
    if specification is None or specification.origin is None:
        return None
    installed = Path(specification.origin).parent / "lib" / "libles.so"
    if not installed.exists():
        return None
    identity = build_identity(installed)
    found = [library for library in build.glob("*/libles.so") if identity and build_identity(library) == identity]
    return found[0] if found else None


def self_costs(path: Path) -> dict[tuple[str, str], int]:
    """(object, function): instructions of the function itself, from a callgrind.out file."""
    costs: dict[tuple[str, str], int] = defaultdict(int)
    names: dict[tuple[str, str], str] = {}
    here, function, of_call = "", "", False

    def name(kind: str, text: str) -> str:
        """Undoes the compression "(id) name", given in full once."""
        match = re.match(r"\((\d+)\)(?: (.*))?$", text)
        if match is None:
            return text
        if match[2] is not None:
            names[kind, match[1]] = match[2]
        return names.get((kind, match[1]), "")

    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("ob="):
            here = name("ob", line[3:])
        elif line.startswith("fn="):
            function = name("fn", line[3:])
        elif line.startswith("cob="):
            name("ob", line[4:])
        elif line.startswith("cfn="):
            name("fn", line[4:])
        elif line.startswith("calls="):
            of_call = True  # the next line of costs is that of the callee
        elif line[:1] in "0123456789+-*":
            words = line.split()
            if len(words) >= 2 and not of_call:
                costs[here, function] += int(words[1])
            of_call = False
    return costs


def stage_of(function: str, library: str) -> str:
    """The group of a function."""
    for stage, (functions, libraries) in GROUPS.items():
        if functions is not None and re.search(functions, function):
            return stage
        if libraries is not None and re.search(libraries, Path(library).name):
            return stage
    return "other"


def count_instructions(atoms: int, accuracy: float, folder: Path, build: Path = BUILD) -> dict[str, Any]:
    """Instructions of one evaluation for `atoms` atoms of water: total, by stage, and the 25 largest functions."""
    if shutil.which("valgrind") is None:
        return {"failed": "valgrind is not installed (apt-get install valgrind)"}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    named = named_library(build)
    if named is not None:
        environment["LD_PRELOAD"] = str(named)
    costs = []
    for evaluations in (2, 3):
        output = folder / f"callgrind.{evaluations}.out"
        output.unlink(missing_ok=True)
        program = [sys.executable, str(HERE / "callgrind_case.py"), str(atoms), str(accuracy), str(evaluations)]
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", "--smc-check=all-non-file", *program],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode != 0 or not output.exists():
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            return {"failed": f"valgrind ended with status {done.returncode}: {last[0][:200]}"}
        costs.append(self_costs(output))
        output.unlink()
    difference = {key: costs[1].get(key, 0) - costs[0].get(key, 0) for key in costs[0].keys() | costs[1].keys()}
    groups: dict[str, int] = defaultdict(int)
    for (library, function), value in difference.items():
        groups[stage_of(function, library)] += value
    largest = sorted(difference.items(), key=lambda item: -item[1])[:25]
    return {
        "atoms": atoms,
        "total": sum(difference.values()),
        "groups": dict(sorted(groups.items(), key=lambda item: -item[1])),
        "functions": [[Path(library).name, function, value] for (library, function), value in largest],
    }


def main() -> None:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description="Instructions of one evaluation of the mesh solver.")
    parser.add_argument("atoms", type=int)
    parser.add_argument("--accuracy", type=float, default=1e-4)
    parser.add_argument("--output", type=Path, default=Path("build/mesh_benchmark"), help="folder of callgrind.json")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder of build trees, for the names of functions")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    counts = count_instructions(options.atoms, options.accuracy, options.output.resolve(), options.build.resolve())
    if "failed" in counts:
        raise SystemExit(f"callgrind: error: {counts['failed']}")
    (options.output / "callgrind.json").write_text(json.dumps(counts, indent=1) + "\n")
    print(f"{counts['total']} instructions, {counts['total'] / counts['atoms']:.0f} an atom")
    for name, value in counts["groups"].items():
        print(f"{name:28s} {value / counts['atoms']:9.1f} an atom  {100.0 * value / counts['total']:5.1f} %")
    for library, function, value in counts["functions"][:15]:
        print(f"  {value / counts['atoms']:9.1f}  {library}: {function[:120]}")


if __name__ == "__main__":
    main()
