"""Density of a liquid in OpenMM and in LAMMPS with one model, at one temperature and pressure.

    make demo                                                # a model of water and frames of it, in demo/
    .venv/bin/python benchmarks/openmm/density.py            # 50 ps a run, hours of one core
    .venv/bin/python benchmarks/openmm/density.py --report   # the table of the runs so far

OpenMM's Monte Carlo barostats know energies only, LAMMPS's `fix nph` moves the box by the virial. They agree if
energies, virial and the change of the mesh with the box do. Both have Langevin thermostats: one Nose-Hoover chain for
all atoms leaves vibrations and translations of so small a box at different temperatures for long. Every run has a file
in `--output`, and a run that is there is not repeated; remove its file for another one. The pressure in the table is
that of the model's virial; its mean must be the barostat's. `--thermostat nose-hoover` is `fix npt`, for LAMMPS.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import ase
import ase.data
import ase.io
import ase.units
import numpy as np

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent
MASSES = {"O": 15.9994, "H": 4.0}  # u; the density does not depend on masses, and heavy hydrogen allows 1 fs
TIME_STEP = 1.0  # fs
SAMPLE_EVERY = 20  # steps
MOVE_EVERY = 2  # steps between moves of the Monte Carlo barostats
BAR = 16.6053907  # bar in kJ/mol/nm^3
LAMMPS_KEYWORDS = {"isotropic": "iso", "anisotropic": "aniso", "flexible": "tri"}
LAMMPS_FIXES = {
    "langevin": (
        "fix barostat all nph {box}\nfix thermostat all langevin {temperature} {temperature} 0.2 {seed} zero yes"
    ),
    "nose-hoover": "fix barostat all npt temp {temperature} {temperature} 0.1 {box}",
}
RUNS = [f"{host}-{kind}" for kind in LAMMPS_KEYWORDS for host in ("openmm", "lammps")]
LAMMPS_INPUT = """
units        metal
atom_style   atomic
boundary     p p p
box          tilt large
read_data    {data}
{triclinic}
pair_style   les
pair_coeff   * * {model} O H
velocity     all create {temperature} {seed} mom yes dist gaussian
{fixes}
timestep     {time_step}
thermo       {every}
thermo_style custom step temp vol press
thermo_modify norm no format float %.8g flush yes
run          {steps}
"""


def run_lammps(kind: str, atoms: ase.Atoms, options: argparse.Namespace, path: Path) -> None:
    """`fix nph` or `fix npt`; (time in ps, temperature in K, volume in A^3, pressure in bar) to `path`."""
    data, script = path.with_suffix(".data"), path.with_suffix(".in")
    ase.io.write(data, atoms, format="lammps-data", specorder=["O", "H"], masses=True, atom_style="atomic")
    box = f"{LAMMPS_KEYWORDS[kind]} {options.pressure} {options.pressure} 0.3 flip no"
    fixes = LAMMPS_FIXES[options.thermostat].format(box=box, temperature=options.temperature, seed=options.seed)
    script.write_text(
        LAMMPS_INPUT.format(
            fixes=fixes,
            data=data,
            triclinic="change_box all triclinic" if kind == "flexible" else "",
            model=options.model,
            temperature=options.temperature,
            seed=options.seed,
            time_step=TIME_STEP / 1000.0,
            every=SAMPLE_EVERY,
            steps=round(1000.0 * options.ps / TIME_STEP),
        )
    )
    command = [PROGRAMS / "lmp", "-in", script, "-log", "none"]
    with path.open("w") as table, path.with_suffix(".err").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            words = line.split()
            if len(words) == 4 and words[0].isdigit():
                table.write(",".join([f"{int(words[0]) * TIME_STEP / 1000.0:.4f}", *words[1:]]) + "\n")
                table.flush()
            last = line if "ERROR" in line else last
        if process.wait() != 0:
            sys.exit(f"density.py: error: lmp ended with status {process.returncode}: {last.strip()}")


def run_openmm(kind: str, atoms: ase.Atoms, options: argparse.Namespace, path: Path) -> None:
    """Langevin steps with a Monte Carlo barostat that scales molecules; the same columns."""
    import openmm
    from openmm import unit

    from les_md.openmm import LESForce

    pressure, temperature = options.pressure * unit.bar, options.temperature * unit.kelvin
    barostat = {
        "isotropic": lambda: openmm.MonteCarloBarostat(pressure, temperature, MOVE_EVERY),
        "anisotropic": lambda: openmm.MonteCarloAnisotropicBarostat(
            openmm.Vec3(1, 1, 1) * pressure, temperature, True, True, True, MOVE_EVERY
        ),
        "flexible": lambda: openmm.MonteCarloFlexibleBarostat(pressure, temperature, MOVE_EVERY),
    }[kind]()
    barostat.setRandomNumberSeed(options.seed)
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.setDefaultPeriodicBoxVectors(*(atoms.cell.array * 0.1))
    force = LESForce(options.model, atoms.get_chemical_symbols(), threads=1)
    for oxygen in range(0, len(atoms), 3):
        force.addBond(oxygen, oxygen + 1)
        force.addBond(oxygen, oxygen + 2)
    system.addForce(force)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(temperature, 5 / unit.picosecond, TIME_STEP * unit.femtosecond)
    integrator.setRandomNumberSeed(options.seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(atoms.positions * 0.1)
    context.setVelocitiesToTemperature(temperature, options.seed)
    boltzmann = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
    with path.open("w") as table:
        for step in range(0, round(1000.0 * options.ps / TIME_STEP) + 1, SAMPLE_EVERY):
            if step > 0:
                integrator.step(SAMPLE_EVERY)
            velocities = context.getState(velocities=True).getVelocities(asNumpy=True)._value
            kelvin = np.sum(atoms.get_masses()[:, None] * velocities**2) / (3 * len(atoms) * boltzmann)
            volume = context.getState().getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
            virial = np.trace(force.getVirial(context).value_in_unit(unit.kilojoule_per_mole)) / 3.0
            bar = (len(atoms) * boltzmann * options.temperature + virial) / volume * BAR
            table.write(f"{step * TIME_STEP / 1000.0:.4f},{kelvin:.8g},{1000.0 * volume:.8g},{bar:.8g}\n")
            table.flush()


def block_mean(values: np.ndarray, blocks: int) -> tuple[float, float]:
    """Mean and its standard error from `blocks` consecutive blocks."""
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(blocks))


def density_table(atoms: ase.Atoms, options: argparse.Namespace) -> str:
    """Means of all runs with at least four blocks, and the differences of hosts over their errors."""
    elements = ase.data.atomic_masses[atoms.numbers]
    densities: dict[str, tuple[float, float]] = {}
    lines = ["| run | ps | temperature, K | pressure, bar | density, g/cm^3 | OpenMM - LAMMPS | over its error |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in RUNS:
        path = options.output / f"{name}.csv"
        if not path.exists():
            continue
        complete = path.read_text().rpartition("\n")[0].splitlines()  # without a line that is being written
        rows = np.array([[float(word) for word in line.split(",")] for line in complete]).reshape(-1, 4)
        rows = rows[rows[:, 0] > options.equilibration]
        blocks = int(len(rows) * SAMPLE_EVERY * TIME_STEP / 1000.0 / options.block)
        if blocks < 4:
            continue
        kelvin, kelvin_error = block_mean(rows[:, 1], blocks)
        bar, bar_error = block_mean(rows[:, 3], blocks)
        density, error = block_mean(elements.sum() / rows[:, 2] / (ase.units.kg / 1000.0) * 1e24, blocks)
        densities[name] = density, error
        host, kind = name.split("-")
        compared = " | "
        if host == "lammps" and f"openmm-{kind}" in densities:
            other, other_error = densities[f"openmm-{kind}"]
            difference, both = other - density, float(np.hypot(error, other_error))
            compared = f"{difference:+.4f} +- {both:.4f} | {abs(difference) / both:.1f}"
        lines.append(
            f"| {host}, {kind} | {rows[-1, 0] - options.equilibration:.0f} | {kelvin:.1f} +- {kelvin_error:.1f} "
            f"| {bar:.0f} +- {bar_error:.0f} | {density:.4f} +- {error:.4f} | {compared} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    demo = HERE.parents[1] / "demo"
    parser.add_argument("--model", type=Path, default=demo / "water.les.pt", help="file of les-export")
    parser.add_argument("--frames", type=Path, default=demo / "reference.xyz", help="the last one is the start")
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "build" / "openmm_density")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--ps", type=float, default=50.0, help="length of a run")
    parser.add_argument("--equilibration", type=float, default=2.0, help="ps left out of the means")
    parser.add_argument("--block", type=float, default=2.0, help="ps of one block of the error estimate")
    parser.add_argument("--temperature", type=float, default=450.0, help="K")
    parser.add_argument("--pressure", type=float, default=10000.0, help="bar")
    parser.add_argument("--thermostat", choices=LAMMPS_FIXES, default="langevin", help="of LAMMPS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="the table only")
    options = parser.parse_args()
    options.model, options.output = options.model.resolve(), options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    atoms = ase.io.read(options.frames, index=-1)
    atoms.set_masses([MASSES[symbol] for symbol in atoms.get_chemical_symbols()])
    for oxygen in range(0, len(atoms), 3):  # whole molecules: barostats of OpenMM move them by their centres
        atoms.positions[oxygen + 1 : oxygen + 3] = atoms.positions[oxygen] + atoms.get_distances(
            oxygen, [oxygen + 1, oxygen + 2], mic=True, vector=True
        )
    for name in options.runs if not options.report else []:
        host, kind = name.split("-")
        path = options.output / f"{name}.csv"
        if path.exists():
            continue
        (run_openmm if host == "openmm" else run_lammps)(kind, atoms, options, path)
    print(density_table(atoms, options))


if __name__ == "__main__":
    main()
