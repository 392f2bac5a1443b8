"""Density of a liquid in OpenMM and in LAMMPS with one model, at one temperature and pressure.

    make demo                                                # a model of water and frames of it, in demo/
    .venv/bin/python benchmarks/openmm/density.py            # 100 ps a run, hours of one core
    .venv/bin/python benchmarks/openmm/density.py --report   # the table of the runs so far

OpenMM samples volumes by its Monte Carlo barostats, which know energies only; LAMMPS moves the box by the virial
(`fix npt`). They agree if energies, virial and the change of the mesh with the box do. Each run is a file of its own
in `--output`; runs that are there already are continued with the others left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import ase
import ase.io
import ase.units
import numpy as np

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent
MASSES = {"O": 15.9994, "H": 4.0}  # u; the density does not depend on masses, and heavy hydrogen allows 1 fs
TIME_STEP = 1.0  # fs
SAMPLE_EVERY = 20  # steps
RUNS = ["openmm-isotropic", "lammps-isotropic", "openmm-anisotropic", "lammps-anisotropic", "openmm-flexible",
        "lammps-flexible"]  # fmt: skip
LAMMPS_KEYWORDS = {"isotropic": "iso", "anisotropic": "aniso", "flexible": "tri"}
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
fix          barostat all npt temp {temperature} {temperature} 0.1 {keyword} {pressure} {pressure} 0.3 flip no
timestep     {time_step}
thermo       {every}
thermo_style custom step temp vol
thermo_modify norm no format float %.8g flush yes
run          {steps}
"""


def run_lammps(kind: str, atoms: ase.Atoms, options: argparse.Namespace, path: Path) -> None:
    """Steps of `fix npt`; (time in ps, temperature in K, volume in A^3) a line to `path`."""
    data, script = path.with_suffix(".data"), path.with_suffix(".in")
    ase.io.write(data, atoms, format="lammps-data", specorder=["O", "H"], masses=True, atom_style="atomic")
    script.write_text(
        LAMMPS_INPUT.format(
            data=data,
            triclinic="change_box all triclinic" if kind == "flexible" else "",
            model=options.model,
            temperature=options.temperature,
            pressure=options.pressure,
            keyword=LAMMPS_KEYWORDS[kind],
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
            if len(words) == 3 and words[0].isdigit():
                table.write(f"{int(words[0]) * TIME_STEP / 1000.0:.4f},{words[1]},{words[2]}\n")
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
        "isotropic": lambda: openmm.MonteCarloBarostat(pressure, temperature, 10),
        "anisotropic": lambda: openmm.MonteCarloAnisotropicBarostat(
            openmm.Vec3(1, 1, 1) * pressure, temperature, True, True, True, 10
        ),
        "flexible": lambda: openmm.MonteCarloFlexibleBarostat(pressure, temperature, 10),
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
    integrator = openmm.LangevinMiddleIntegrator(temperature, 2 / unit.picosecond, TIME_STEP * unit.femtosecond)
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
            volume = context.getState().getPeriodicBoxVolume().value_in_unit(unit.angstrom**3)
            table.write(f"{step * TIME_STEP / 1000.0:.4f},{kelvin:.8g},{volume:.8g}\n")
            table.flush()


def block_mean(values: np.ndarray, blocks: int) -> tuple[float, float]:
    """Mean and its standard error from `blocks` consecutive blocks."""
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(blocks))


def report(atoms: ase.Atoms, options: argparse.Namespace) -> str:
    """Table of temperatures and densities of all runs, with errors of the mean from blocks of 5 ps."""
    rows = ["| run | ps | temperature, K | density, g/cm^3 | against LAMMPS | in its errors |",
            "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    grams = atoms_mass_as_water(atoms) / ase.units.kg * 1000.0  # ase.units.kg in u
    results: dict[str, tuple[float, float]] = {}
    for name in sorted((name for name in RUNS if (options.output / f"{name}.csv").exists()), key=RUNS.index):
        table = np.genfromtxt(options.output / f"{name}.csv", delimiter=",", invalid_raise=False)
        table = table[~np.isnan(table).any(axis=1) & (table[:, 0] > options.equilibration)]
        length = table[-1, 0] - options.equilibration if len(table) else 0.0
        if length < 4 * options.block:
            continue
        blocks = int(length / options.block)
        kelvin, kelvin_error = block_mean(table[:, 1], blocks)
        results[name] = block_mean(grams / (table[:, 2] * 1e-24), blocks)
        density, error = results[name]
        peer = results.get(name.replace("openmm", "lammps"))
        rows.append(
            f"| {name.replace('-', ', ')} | {length:.0f} | {kelvin:.1f} +- {kelvin_error:.1f} "
            f"| {density:.4f} +- {error:.4f} | PEER {name} |"
        )
        del peer
    lines = []
    for row in rows:
        if "PEER" in row:
            name = row.split("PEER ")[1].split(" |")[0]
            peer = results.get(name.replace("openmm", "lammps"))
            text = "|"
            if name.startswith("openmm") and peer:
                difference, error = results[name][0] - peer[0], float(np.hypot(results[name][1], peer[1]))
                text = f"{difference:+.4f} +- {error:.4f} | {abs(difference) / error:.1f} |"
            row = row.split("PEER ")[0] + text
        lines.append(row)
    return "\n".join(lines)


def atoms_mass_as_water(atoms: ase.Atoms) -> float:
    """Mass of the box in u with the masses of the elements, for the density."""
    masses = {"O": 15.999, "H": 1.008}
    return sum(masses[symbol] for symbol in atoms.get_chemical_symbols())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    demo = HERE.parents[1] / "demo"
    parser.add_argument("--model", type=Path, default=demo / "water.les.pt", help="file of les-export")
    parser.add_argument("--frames", type=Path, default=demo / "reference.xyz", help="the last one is the start")
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "build" / "openmm_density")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--ps", type=float, default=100.0, help="length of a run")
    parser.add_argument("--equilibration", type=float, default=5.0, help="ps left out of the means")
    parser.add_argument("--block", type=float, default=5.0, help="ps of one block of the error estimate")
    parser.add_argument("--temperature", type=float, default=450.0, help="K")
    parser.add_argument("--pressure", type=float, default=2000.0, help="bar")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="the table only")
    options = parser.parse_args()
    options.model, options.output = options.model.resolve(), options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    atoms = ase.io.read(options.frames, index=-1)
    atoms.set_masses([MASSES[symbol] for symbol in atoms.get_chemical_symbols()])
    for name in options.runs if not options.report else []:
        host, kind = name.split("-")
        path = options.output / f"{name}.csv"
        if path.exists():
            continue
        (run_openmm if host == "openmm" else run_lammps)(kind, atoms, options, path)
    print(report(atoms, options))


if __name__ == "__main__":
    main()
