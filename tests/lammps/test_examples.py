"""The inputs in examples/lammps run as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import pytest
from lammps_runs import Lammps

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "lammps"


@pytest.mark.parametrize(("name", "dump"), [("in.water", "water.dump"), ("in.relax_and_npt", "npt.dump")])
def test_example(
    lammps: Lammps, model_file: Callable[[str], Path], structures: dict[str, ase.Atoms], name: str, dump: str
) -> None:
    ase.io.write(lammps.folder / "start.xyz", structures["orthogonal"])
    command = [sys.executable, EXAMPLES / "make_data.py", "start.xyz", "water.data", "O", "H"]
    subprocess.run(command, cwd=lammps.folder, check=True)
    arguments = ["-var", "model", str(model_file("plain")), "-var", "steps", "20"]
    lammps.succeed((EXAMPLES / name).read_text(), 2, arguments)
    assert (lammps.folder / dump).stat().st_size > 0
