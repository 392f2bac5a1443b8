"""Stage 4: molecular dynamics with the exported models, in LAMMPS on two MPI ranks and in OpenMM.

Apart because this is how an exported model is used; both runs start from the same held-out configuration.
"""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from progress import StepProgress
from reference_data import HERE, PROGRAMS, read_dump
from settings import DemoSettings
from stages import replaced, replaced_folder, run_command
from water import MASSES, write_lammps_data

TEMPERATURE = 300.0  # K


def starting_frame(frames: Path) -> Atoms:
    """The last held-out frame of the classical liquid."""
    atoms = ase.io.read(frames / "held_out.xyz", index=-1)
    assert isinstance(atoms, Atoms)
    return atoms


def run_lammps(model: Path, frames: Path, settings: DemoSettings, folder: Path) -> None:
    """NVT and NVE in `lmp` on two ranks; leaves run.log, trajectory.npz (NVT) and energies.csv (NVE) in `folder`."""
    with replaced_folder(folder) as temporary, StepProgress() as progress:
        write_lammps_data(temporary / "water.data", starting_frame(frames), molecular=False)
        every = settings.trajectory_every
        variables = {
            "model": model,
            "data": "water.data",
            "dump": "positions.dump",
            "temperature": TEMPERATURE,
            "timestep": settings.timestep / 1000,
            "equilibration": settings.lammps_equilibration,
            "nvt": settings.lammps_nvt,
            "nve": settings.lammps_nve,
            "every": every,
            "seed": 21,
        }
        words = [word for name, value in variables.items() for word in ("-var", name, str(value))]
        steps = settings.lammps_equilibration + settings.lammps_nvt + settings.lammps_nve
        log = temporary / "run.log"
        run_command(
            [PROGRAMS / "mpiexec", "-n", "2", PROGRAMS / "lmp", "-in", HERE / "in.les_water", "-log", "none", *words],
            log,
            temporary,
            progress.lammps_lines("LAMMPS, 2 ranks", steps),
            threads=1,
        )
        dump = temporary / "positions.dump"
        tables = [(lengths, table) for _, lengths, table in read_dump(dump)]
        np.savez(
            temporary / "trajectory.npz",
            positions=[table[:, 2:5] for _, table in tables],
            charges=[table[:, 5] for _, table in tables],
            cell=np.diag(tables[0][0]),
        )
        dump.unlink()
        times, energies = nve_energies(log, settings.timestep)
        write_energies(temporary / "energies.csv", times, energies)


def nve_energies(log: Path, timestep: float) -> tuple[list[float], list[float]]:
    """Times (ps) and total energies (eV) of the last run in what LAMMPS printed; `timestep` in fs."""
    times: list[float] = []
    energies: list[float] = []
    for line in log.read_text().splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            times, energies = [], []
        elif len(words) == 7 and words[0].isdigit():
            times.append(int(words[0]) * timestep / 1000)
            energies.append(float(words[2]))
    return times, energies


def run_openmm(model: Path, frames: Path, settings: DemoSettings, folder: Path) -> None:
    """Langevin equilibration and NVE in OpenMM; leaves energies.csv and the XML of the system in `folder`."""
    import openmm
    from openmm import unit

    import les_md.openmm

    atoms = starting_frame(frames)
    system = openmm.System()
    for symbol in atoms.get_chemical_symbols():
        system.addParticle(MASSES[symbol])
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in atoms.cell.array / 10))  # nm
    system.addForce(les_md.openmm.LESForce(str(model), atoms.get_chemical_symbols()))
    timestep = settings.timestep * unit.femtosecond
    with replaced_folder(folder) as temporary, StepProgress() as progress:
        (temporary / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
        update = progress.steps("OpenMM", settings.openmm_equilibration + settings.openmm_nve)
        thermostat = openmm.LangevinMiddleIntegrator(TEMPERATURE * unit.kelvin, 5 / unit.picosecond, timestep)
        thermostat.setRandomNumberSeed(31)
        context = openmm.Context(system, thermostat, openmm.Platform.getPlatformByName("CPU"))
        context.setPositions(atoms.positions / 10)
        context.setVelocitiesToTemperature(TEMPERATURE * unit.kelvin, 32)
        done = 0
        while done < settings.openmm_equilibration:
            thermostat.step(settings.trajectory_every)
            done += settings.trajectory_every
            update(done)
        state = context.getState(positions=True, velocities=True)

        verlet = openmm.VerletIntegrator(timestep)
        context = openmm.Context(system, verlet, openmm.Platform.getPlatformByName("CPU"))
        context.setPositions(state.getPositions())
        context.setVelocities(state.getVelocities())
        times, energies = [], []
        for step in range(0, settings.openmm_nve + 1, settings.trajectory_every):
            if step > 0:
                verlet.step(settings.trajectory_every)
            state = context.getState(energy=True)
            total = state.getPotentialEnergy() + state.getKineticEnergy()
            times.append(step * settings.timestep / 1000)
            energies.append(total.value_in_unit(unit.kilojoule_per_mole) * ase.units.kJ / ase.units.mol)
            update(done + step)
        write_energies(temporary / "energies.csv", times, energies)


def write_energies(path: Path, times: list[float], energies: list[float]) -> None:
    """Writes times (ps) and total energies (eV) as CSV."""
    with replaced(path) as temporary:
        np.savetxt(
            temporary,
            np.column_stack([times, energies]),
            fmt="%.8f",
            delimiter=",",
            header="time_ps,energy_eV",
            comments="",
        )
