"""Stage 1: classical runs in LAMMPS, and the labelled frames `reference.xyz` made from them.

Apart because it needs nothing of les-md: it is what a user's own reference calculations would be. Units change here,
from LAMMPS `real` to eV and angstrom.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import ase.io
import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray
from progress import StepProgress
from settings import DemoSettings, StatePoint
from stages import DemoError, replaced, replaced_folder, run_command
from water import BOX_LENGTH, CHARGES, SYMBOLS, molecular_crystal, write_lammps_data

HERE = Path(__file__).resolve().parent
KCAL_PER_MOL = ase.units.kcal / ase.units.mol  # eV
PROGRAMS = Path(sys.executable).parent  # lmp, mpiexec and les-* are installed beside this python


def make_reference_data(settings: DemoSettings, folder: Path, reference: Path, parts: Path) -> None:
    """Runs every state point into `folder` and writes all frames to `reference` and by their use to the folder `parts`.

    The info entries of a frame name its `state_point` and its `use`: training, validation or held_out.
    """
    points = settings.state_points
    # one process each: for a hundred atoms, two runs at once use two cores better than two ranks of one run
    with (
        replaced_folder(folder) as temporary,
        StepProgress() as progress,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        longest_first = sorted(points, key=lambda point: -point.n_frames * point.steps_between)
        jobs = {
            point.name: pool.submit(sample, point, settings.timestep, temporary, progress) for point in longest_first
        }
        frames = {name: job.result() for name, job in jobs.items()}
    labelled: dict[str, list[Atoms]] = {"training": [], "validation": [], "held_out": []}
    for point in points:
        chosen = select_frames(frames[point.name], point)
        if point.use == "training":
            every = round(1 / settings.validation_fraction)
            validation = chosen[every // 2 :: every]
            mark(validation, "validation")
            labelled["validation"] += validation
            chosen = [atoms for atoms in chosen if atoms.info.get("use") != "validation"]
        mark(chosen, point.use)
        labelled[point.use] += chosen
    for use, part in labelled.items():
        write_frames(parts / f"{use}.xyz", part)
    write_frames(reference, [atoms for part in labelled.values() for atoms in part])


def sample(point: StatePoint, timestep: float, folder: Path, progress: StepProgress) -> list[Atoms]:
    """Runs the classical potential at one state point; returns every dumped frame with energy and forces.

    If the point keeps a trajectory, its positions are left in `folder` as NAME_trajectory.npz.
    """
    data, dump = folder / f"{point.name}.data", folder / f"{point.name}.dump"
    write_lammps_data(data, molecular_crystal(BOX_LENGTH * point.length_scale, point.seed), molecular=True)
    every = point.trajectory_every or point.steps_between
    steps = point.n_frames * point.steps_between
    variables = {
        "folder": HERE,
        "data": data.name,
        "dump": dump.name,
        "temperature": point.temperature,
        "timestep": timestep,
        "equilibration": point.equilibration,
        "steps": steps,
        "every": every,
        "seed": point.seed,
    }
    words = [word for name, value in variables.items() for word in ("-var", name, str(value))]
    log = folder / f"{point.name}.log"
    run_command(
        [PROGRAMS / "lmp", "-in", HERE / "in.spc_water", "-log", "none", *words],
        log,
        folder,
        progress.lammps_lines(f"classical, {point.name}", point.equilibration + steps),
        threads=1,
    )
    energies = potential_energies(log)
    frames = [labelled_frame(*frame, energies) for frame in read_dump(dump)]
    for atoms in frames:
        atoms.info["state_point"] = point.name
    if point.trajectory_every is not None:
        with replaced(folder / f"{point.name}_trajectory.npz") as path:
            np.savez(path, positions=[atoms.positions for atoms in frames], cell=frames[0].cell.array)
    dump.unlink()
    return frames


def potential_energies(log: Path) -> dict[int, float]:
    """Potential energy (kcal/mol) by step, from the last run in what LAMMPS printed."""
    table: dict[int, float] = {}
    for line in log.read_text().splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            table = {}
        elif len(words) == 5 and words[0].isdigit():
            table[int(words[0])] = float(words[1])
    return table


def read_dump(path: Path) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Frames of a LAMMPS dump of an orthogonal box: step, box lengths `(3,)`, table `(n_atoms, n_columns)`."""
    with path.open() as file:
        while file.readline():
            yield read_dump_frame(file)


def read_dump_frame(file: TextIO) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """One frame, from the line after `ITEM: TIMESTEP`."""
    step = int(file.readline())
    file.readline()
    n_atoms = int(file.readline())
    file.readline()
    bounds = np.array([file.readline().split() for _ in range(3)], dtype=float)
    file.readline()
    table = np.array([file.readline().split() for _ in range(n_atoms)], dtype=float)
    return step, bounds[:, 1] - bounds[:, 0], table


def labelled_frame(
    step: int, lengths: NDArray[np.float64], table: NDArray[np.float64], energies: dict[int, float]
) -> Atoms:
    """One dumped frame as ASE atoms with energy (eV), forces (eV/angstrom) and the true charges (e)."""
    if step not in energies:
        raise DemoError(f"LAMMPS printed no energy for step {step} of its dump")
    symbols = [SYMBOLS[int(number) - 1] for number in table[:, 1]]
    atoms = Atoms(symbols, positions=table[:, 2:5], cell=lengths, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=energies[step] * KCAL_PER_MOL, forces=table[:, 5:8] * KCAL_PER_MOL)
    atoms.set_array("reference_charges", np.array([CHARGES[symbol] for symbol in symbols]))
    atoms.info["step"] = step
    return atoms


def select_frames(frames: list[Atoms], point: StatePoint) -> list[Atoms]:
    """The frames of one run that are kept: one every `steps_between` steps, without the first."""
    return [atoms for atoms in frames if atoms.info["step"] > 0 and atoms.info["step"] % point.steps_between == 0]


def mark(frames: list[Atoms], use: str) -> None:
    """Notes in each frame what it is used for."""
    for atoms in frames:
        atoms.info["use"] = use


def write_frames(path: Path, frames: list[Atoms]) -> None:
    """Writes `frames` as extended XYZ, whole or not at all."""
    with replaced(path) as temporary:
        ase.io.write(temporary, frames, format="extxyz")
