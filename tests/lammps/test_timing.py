"""The line at the end of a run that says where the time in the style went."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import Lammps, Outcome, box_script, model_script

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

STAGES = ["neighbours and edges", "network forward", "long-range sum", "network backward", "communication", "rest"]
LINE = re.compile(r"pair_style les: (\d+) evaluations of (\S+) ms: (.*)")


def timing_lines(outcome: Outcome) -> list[tuple[int, float, dict[str, float]]]:
    """Evaluations, seconds of each and percent by stage, of every line in the output."""
    lines = []
    for line in outcome.output.splitlines():
        match = LINE.fullmatch(line)
        if match is None:
            continue
        parts = [re.fullmatch(r"(.*) (\S+) %", part) for part in match[3].split(", ")]
        shares = {part[1]: float(part[2]) for part in parts if part is not None}
        assert list(shares) == STAGES, line
        lines.append((int(match[1]), float(match[2]) * 1e-3, shares))
    return lines


def moving(structures: Structures, folder: Path, pair: str) -> str:
    """Water in motion, with all but the last `run` command."""
    script = box_script(structures["triclinic"], folder) + pair
    return script + "velocity all create 300 7 loop geom\ntimestep 2e-4\nfix integrate all nve\n"


@pytest.mark.parametrize("ranks", [1, 2])
def test_shares(lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int) -> None:
    """Shares add up, and evaluations times time is the `Pair` row of LAMMPS' own table."""
    outcome = lammps.succeed(moving(structures, lammps.folder, model_script(model_file("neutral"))) + "run 50\n", ranks)
    [(evaluations, seconds, shares)] = timing_lines(outcome)
    assert evaluations == 50
    assert min(shares.values()) >= 0.0
    assert shares["network forward"] > 0.0
    assert shares["network backward"] > 0.0
    assert shares["long-range sum"] > 0.0
    assert shares["communication"] < 0.5 if ranks == 1 else shares["communication"] > 0.0
    np.testing.assert_allclose(sum(shares.values()), 100.0, atol=0.31)
    table = re.search(r"^Pair +\| \S+ +\| (\S+)", outcome.output, re.MULTILINE)
    assert table is not None, outcome.output
    np.testing.assert_allclose(evaluations * seconds, float(table[1]), rtol=0.1)


def test_each_run_has_its_own(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Runs count from zero, with a setup or without; a run of no steps and `timer off` say nothing."""
    script = moving(structures, lammps.folder, model_script(model_file("plain")))
    script += "run 0\nrun 20\nrun 3 pre no\nrun 5\ntimer off\nrun 2\ntimer normal\nrun 4 post no\n"
    outcome = lammps.succeed(script, 2)
    assert [evaluations for evaluations, _, _ in timing_lines(outcome)] == [20, 3, 5, 4]


def test_minimisation(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = moving(structures, lammps.folder, model_script(model_file("plain"))) + "minimize 0 1e-3 5 20\n"
    outcome = lammps.succeed(script, 2)
    counted = re.search(r"force evaluations = \d+ (\d+)", outcome.output)
    assert counted is not None, outcome.output
    assert [evaluations for evaluations, _, _ in timing_lines(outcome)] == [int(counted[1])]


def test_stages(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """A large mesh is seen in the share of the long-range sum, and a model without one spends nothing there."""
    shares = []
    for model, keywords in (("plain", "solver mesh mesh 128 128 128"), ("short_range", "")):
        script = moving(structures, lammps.folder, model_script(model_file(model), keywords)) + "run 10\n"
        [(_, _, share)] = timing_lines(lammps.succeed(script))
        shares.append(share)
    assert shares[0]["long-range sum"] > 50.0
    assert shares[1]["long-range sum"] == 0.0


def test_two_styles(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Each style of a hybrid has its own line."""
    pair = f"pair_style hybrid/overlay les les\npair_coeff * * les 1 {model_file('plain')} O H\n"
    pair += f"pair_coeff * * les 2 {model_file('short_range')} O H\n"
    lines = timing_lines(lammps.succeed(moving(structures, lammps.folder, pair) + "run 10\n", 2))
    assert [evaluations for evaluations, _, _ in lines] == [10, 10]
    assert lines[0][2]["long-range sum"] > 0.0
    assert lines[1][2]["long-range sum"] == 0.0
