"""What goes wrong in the middle of a run ends it on every rank within seconds, with one error line and a status."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ase
import pytest
import torch
from lammps_runs import Lammps, box_script, make_model, model_script

from les_md.export import write_model_file
from les_md.settings import LongRangeSettings

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

#: Seconds, most of them for loading torch on every rank of a busy machine.
LIMIT = 30.0
DYNAMICS = "timestep 2e-4\nfix integrate all nve\nthermo 1\n"
#: A number that is none, in a way that LAMMPS' variables let through.
NOT_A_NUMBER = "variable bad atom (id==2)*exp(1000)*0\n"


def fail(lammps: Lammps, script: str, match: str, ranks: int, rank: int | None = None) -> None:
    """The run must end with one error line, printed by `rank` if that is given."""
    outcome = lammps.run(script + "print 'came to its end'\n", ranks, timeout=LIMIT)
    assert outcome.returncode != 0, outcome.output
    assert "came to its end" not in outcome.output
    assert len(outcome.errors) == 1, outcome.output
    assert re.search(match, outcome.errors[0]), outcome.errors[0]
    assert "terminate called" not in outcome.output
    if rank is not None:
        assert outcome.errors[0].startswith(f"ERROR on proc {rank}: "), outcome.errors[0]


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("model", ["plain", "two_layers", "short_range"])
def test_positions_not_finite(
    lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, ranks: int
) -> None:
    """A force without a value takes an atom, and its ghosts on all ranks, nowhere."""
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file(model)) + DYNAMICS
    script += NOT_A_NUMBER + "run 2\nfix push all addforce v_bad 0 0\nrun 10\n"
    fail(lammps, script, "`positions` must be finite|[Nn]on-numeric", ranks)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("model", ["plain", "two_layers", "short_range"])
def test_coincident_atoms(
    lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, ranks: int
) -> None:
    """Two atoms of one rank in one place, which with message passing others see as ghosts."""
    atoms = structures["orthogonal"].copy()
    atoms.positions[4] = atoms.positions[3]
    script = box_script(atoms, lammps.folder) + model_script(model_file(model)) + "run 0\n"
    fail(lammps, script, "atoms must not coincide", ranks)


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("long_range", [True, False])
def test_energy_of_one_rank(
    lammps: Lammps, structures: Structures, tmp_path: Path, long_range: bool, ranks: int, half: int
) -> None:
    """Only the rank that owns the one hydrogen has no energy; the others go on until they need that rank."""
    model = make_model(long_range=LongRangeSettings() if long_range else None)
    model.set_offsets(torch.tensor([-10.0, torch.nan], dtype=torch.float64))
    path = tmp_path / "no_energy.les.pt"
    write_model_file(model, path, {}, None, None)
    atoms = structures["orthogonal"].copy()
    atoms.symbols[:] = "O"
    atoms.symbols[0] = "H"
    place = (0.25 + 0.5 * half, 0.25, 0.25)  # of the hydrogen, in either half of the box along x
    atoms.positions += place * atoms.cell.lengths() - atoms.positions[0]
    atoms.wrap()
    script = f"processors 2 {ranks // 2} 1\n"
    script = box_script(atoms, lammps.folder).replace("read_data", script + "read_data") + model_script(path)
    fail(lammps, script + DYNAMICS + "run 10\n", "energy and forces must be finite", ranks, half * ranks // 2)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("model", ["plain", "neutral"])
def test_lost_atom(lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, ranks: int) -> None:
    """An atom flies out of the box of an isolated system: LAMMPS stops all ranks, none waits in a sum of charges."""
    script = box_script(structures["isolated"], lammps.folder) + model_script(model_file(model)) + DYNAMICS
    script += "group lost id 5\nvelocity lost set 100000 0 0\nrun 100\n"
    fail(lammps, script, "Lost atoms: original 24 current 23", ranks)


@pytest.mark.parametrize("ranks", [2, 4])
def test_collapse(lammps: Lammps, model_file: ModelFile, structures: Structures, ranks: int) -> None:
    """A time step that is far too large."""
    script = box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"))
    script += "velocity all create 1e6 7 loop geom\ntimestep 1e5\nfix integrate all nve\nthermo 1\nrun 1000\n"
    outcome = lammps.run(script, ranks, timeout=LIMIT)
    assert outcome.returncode != 0, outcome.output
    assert len(outcome.errors) == 1, outcome.output
