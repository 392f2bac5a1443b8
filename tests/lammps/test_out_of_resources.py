"""Full disks and exhausted memory under LAMMPS: one error line, no rank left waiting, earlier files stay whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ase
import pytest
from lammps_runs import Lammps, Outcome, box_script, make_model, model_script

from les_md.export import write_model_file
from les_md.settings import LongRangeSettings

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

LIMIT = 60.0
DYNAMICS = "velocity all create 300 7 loop geom\ntimestep 2e-4\nfix integrate all nve\nthermo 1\n"


def one_error(outcome: Outcome, match: str) -> None:
    """One error line, and an end."""
    assert outcome.returncode != 0, outcome.output
    assert len(outcome.errors) == 1, outcome.output
    assert re.search(match, outcome.errors[0]), outcome.errors[0]
    assert "terminate called" not in outcome.output
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("ranks", [1, 4])
def test_dump_on_a_full_disk(lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int) -> None:
    """The rank that writes ends all; the checkpoint that was written before is whole and can be gone on from."""
    start = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain")) + DYNAMICS
    start += "restart 5 checkpoint.*\nrun 5\ndump full all custom 8 /dev/full id x y z q\nrun 40\n"
    one_error(lammps.run(start, ranks, timeout=LIMIT), "Error writing dump full: No space left on device")
    assert [path.name for path in lammps.folder.glob("checkpoint.*")] == ["checkpoint.5"]
    again = f"read_restart checkpoint.5\n{model_script(model_file('plain'))}fix integrate all nve\nrun 5\n"
    lammps.succeed(again, ranks)


def test_log_on_a_full_disk(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """LAMMPS goes on without its log, and the style with it."""
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain")) + DYNAMICS
    assert len(lammps.succeed("log /dev/full\n" + script + "run 20\n", 2).thermo()["Step"]) == 21


@pytest.mark.parametrize("ranks", [1, 2])
def test_memory_of_the_network(lammps: Lammps, structures: Structures, ranks: int) -> None:
    """An address space that holds LAMMPS and torch, but not the network's intermediate values."""
    model = make_model(long_range=LongRangeSettings(), channels=64, l_max=4)
    write_model_file(model, lammps.folder / "large.les.pt", {}, None, None)
    script = box_script(structures["orthogonal"], lammps.folder) + "replicate 8 8 16\n"
    script += model_script(Path("large.les.pt")) + DYNAMICS + "run 2\n"
    outcome = lammps.run(script, ranks, timeout=LIMIT, address_space=1024 * 2**20)
    one_error(outcome, "out of memory in the evaluation; use more MPI ranks or fewer atoms")
