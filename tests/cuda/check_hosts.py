"""ASE, LAMMPS (also on several ranks that share the GPU) and OpenMM with device cuda against the engine on the CPU. Run
by scripts/gpu_check.sh; needs a GPU and a package that was built with CUDA.

python tests/cuda/check_hosts.py [ase] [lammps] [openmm]; all of them without one.
"""

import shutil
import subprocess
import sys
import tempfile
import warnings
from itertools import product
from pathlib import Path

import ase
import ase.io.lammpsdata
import numpy as np

import les_md
from les_md.ase import LESCalculator
from les_md.selftest import Check, lmp_program, make_check

TOLERANCE = 1e-5


#: What gave other numbers; the comparisons after it are made all the same.
FAILED: list[str] = []


def compare(host: str, got: np.ndarray, expected: np.ndarray) -> None:
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    print(f"{host}: differs by {error:.1e} of the largest")
    if not error < TOLERANCE:
        print(f"check_hosts: error: {host} with device cuda gives other numbers, {error:.1e} is more than {TOLERANCE}")
        FAILED.append(host)


def forces_of_ase(
    model: Path, atoms: ase.Atoms, device: str, field: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = LESCalculator(model, device=device, solver="mesh", accuracy=1e-6, field=field)
    forces: np.ndarray = atoms.get_forces()
    if device != "cpu" and "on the GPU" not in atoms.calc.engine.long_range_description:
        sys.exit(
            "check_hosts: error: les_md was built without CUDA, only the network is on the GPU; build it again where "
            "nvcc and a CUDA build of torch are found"
        )
    return forces


def run_lammps(folder: Path, atoms: ase.Atoms, script: str, ranks: int) -> str:
    """Output of `script` for `atoms`; ends the program if LAMMPS fails."""
    ase.io.lammpsdata.write_lammps_data(
        folder / "atoms.data", atoms, specorder=["H", "O"], masses=True, atom_style="atomic"
    )
    boundary = "p p p" if atoms.pbc.all() else "f f f"
    start = f"units metal\natom_style atomic\nboundary {boundary}\nread_data atoms.data\n"
    (folder / "in.lammps").write_text(start + script)
    launcher = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    result = subprocess.run(
        [*launcher, lmp_program(), "-in", "in.lammps", "-log", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if result.returncode != 0:
        sys.exit(f"check_hosts: error: LAMMPS on {ranks} ranks failed: " + (result.stdout + result.stderr)[-2000:])
    return result.stdout


def columns_of(path: Path) -> np.ndarray:
    """What a dump of one frame has of each atom (n_atoms, columns), without its number."""
    return np.array([[float(word) for word in line.split()[1:]] for line in path.read_text().splitlines()[9:]])


def check_divided(output: str, ranks: int) -> None:
    if ranks > 1 and not ("on the GPU" in output and f"divided among {ranks} domains" in output):
        sys.exit(f"check_hosts: error: the long-range sum of {ranks} ranks was not on the GPU")


def forces_of_lammps(folder: Path, model: Path, atoms: ase.Atoms, ranks: int) -> np.ndarray:
    """On the GPU that all ranks share; on several, the log must say that the mesh was divided, and that there are no
    graphs."""
    script = f"""pair_style les device cuda:0 solver mesh accuracy 1e-6 graphs on
pair_coeff * * {model} H O
dump 1 all custom 1 forces.txt id fx fy fz
dump_modify 1 sort id format float %20.15g
run 0
"""
    output = run_lammps(folder, atoms, script, ranks)
    check_divided(output, ranks)
    if ranks > 1 and "graphs has no effect on several processes" not in output:
        sys.exit("check_hosts: error: steps of several ranks are not captured, and nothing says so")
    return columns_of(folder / "forces.txt")


def responses_of_lammps(folder: Path, model: Path, atoms: ase.Atoms, ranks: int, device: str) -> dict[str, np.ndarray]:
    """What an electric field does, and what else of an atom can be asked for."""
    values = " ".join(f"$(c_les[{i}]:%.16g)" for i in range(1, 7))
    script = f"""pair_style les device {device} solver mesh accuracy 1e-6 field 0.05 -0.03 0.1 current yes
pair_coeff * * {model} H O
velocity all create 300 4928 loop geom
fix born all pair 1 les born_charges 1
compute stress all stress/atom NULL pair
compute les all pair les
thermo_style custom step pe c_les[1]
dump 1 all custom 1 stress.txt id c_stress[*]
dump_modify 1 sort id format float %20.15g
run 0
write_dump all custom responses.txt id fx fy fz f_born[*] modify sort id format float %20.15g
print 'values: {values}'
"""
    output = run_lammps(folder, atoms, script, ranks)
    if device != "cpu":
        check_divided(output, ranks)
    line = next(line for line in output.splitlines() if line.startswith("values: "))
    of_atoms, of_all = columns_of(folder / "responses.txt"), np.array(line.split()[1:], dtype=float)
    return {
        "forces in a field": of_atoms[:, :3],
        "Born effective charges": of_atoms[:, 3:],
        "virials of the atoms": columns_of(folder / "stress.txt"),
        "energies": of_all[:3],
        "current": of_all[3:],
    }


def check_responses_of_lammps(folder: Path, model: Path, atoms: ase.Atoms, ranks: int) -> None:
    got = responses_of_lammps(folder, model, atoms, ranks, "cuda")
    expected = responses_of_lammps(folder, model, atoms, 1, "cpu")
    for name, values in expected.items():
        compare(f"LAMMPS on {ranks} ranks, {name}", got[name], values)


def forces_of_openmm(
    model: Path,
    atoms: ase.Atoms,
    platform: str,
    device: str = "cuda",
    precision: str = "",
    steps: int = 0,
    surrounded: bool = False,
) -> np.ndarray:
    """Forces on a platform, after `steps` of dynamics, whose last positions are left in `atoms`; eV/angstrom.

    Weak pair forces with a cutoff are there as well: without a cutoff OpenMM neither sorts nor wraps its particles.
    `surrounded`: in an electric field and with two fixed external charges, whose forces come last.
    """
    import openmm
    from openmm import unit

    warnings.simplefilter("error")  # kernels that cannot be loaded would mean the way by the host
    from les_md.openmm import LESForce

    n_atoms = len(atoms)
    charges = [0.3, -0.3] if surrounded else []
    system = openmm.System()
    for mass in [*atoms.get_masses(), *[0.0 for _ in charges]]:
        system.addParticle(mass)
    system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / 10.0))
    symbols = atoms.get_chemical_symbols()
    force = LESForce(str(model), symbols, True, device, solver="mesh", accuracy=1e-6, particles=range(n_atoms))
    if surrounded:
        force.setExternalCharges([*[0.0] * n_atoms, *charges])
        force.setDefaultElectricField([96.5, -193.0, 289.5])  # kJ/mol/nm/e
    system.addForce(force)
    weak = openmm.NonbondedForce()
    weak.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    weak.setCutoffDistance(0.25)
    for _ in range(system.getNumParticles()):
        weak.addParticle(0.0, 0.05, 1e-3)
    system.addForce(weak)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0002)
    properties = {"Precision": precision} if precision else {}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
    places = np.array([[0.25, 0.5, 0.75], [0.75, 0.25, 0.5]])[: len(charges)] @ atoms.cell.array
    context.setPositions(np.vstack([atoms.positions, places]) / 10.0)
    integrator.step(steps)
    state = context.getState(positions=True, forces=True)
    atoms.positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)[:n_atoms]
    forces: np.ndarray = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return forces / 964.8533212331  # 10 times eV in kJ/mol


def check_openmm_on_the_device(model: Path, atoms: ase.Atoms) -> None:
    """The CUDA platform with its own kernels, before and after steps in which OpenMM sorts its atoms."""
    import openmm

    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if "CUDA" not in names:
        print("OpenMM has no CUDA platform here (`pip install 'openmm[cuda13]'`): its kernels are not checked")
        print(*openmm.Platform.getPluginLoadFailures(), sep="\n")
        return
    if not (Path(les_md.__file__).parent / "openmm_plugin" / "libOpenMMLESCUDA.so").is_file():
        sys.exit("check_hosts: error: les_md has no kernels for the CUDA platform; build it again with nvcc and OpenMM")
    for precision, steps, surrounded in product(("single", "mixed", "double"), (0, 500), (False, True)):
        moved = atoms.copy()
        got = forces_of_openmm(model, moved, "CUDA", precision=precision, steps=steps, surrounded=surrounded)
        expected = forces_of_openmm(model, moved, "Reference", device="cpu", surrounded=surrounded)
        where = ", in a field and among charges" if surrounded else ""
        compare(f"OpenMM on CUDA, {precision} precision, {steps} steps{where}", got, expected)


def check_ase(folder: Path, check: Check) -> None:
    for where, field in (("", (0.0, 0.0, 0.0)), (" in a field", (0.1, -0.2, 0.3))):
        expected = forces_of_ase(check.model, check.atoms, "cpu", field)
        compare("ASE" + where, forces_of_ase(check.model, check.atoms, "cuda", field), expected)


def check_lammps(folder: Path, check: Check) -> None:
    for ranks in (1, 2, 3, 4):
        compare(f"LAMMPS on {ranks} ranks", forces_of_lammps(folder, check.model, check.atoms, ranks), check.forces)
    for ranks in (1, 3):
        check_responses_of_lammps(folder, check.model, check.atoms, ranks)


def check_openmm(folder: Path, check: Check) -> None:
    expected = forces_of_openmm(check.model, check.atoms.copy(), "Reference", device="cpu")
    compare("OpenMM", forces_of_openmm(check.model, check.atoms.copy(), "Reference"), expected)
    check_openmm_on_the_device(check.model, check.atoms)


HOSTS = {"ase": check_ase, "lammps": check_lammps, "openmm": check_openmm}


def main() -> None:
    names = sys.argv[1:] or list(HOSTS)
    if unknown := set(names) - set(HOSTS):
        sys.exit(f"check_hosts: error: hosts are {', '.join(HOSTS)}, got {' '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp())
    check = make_check(folder)
    for name in names:
        HOSTS[name](folder, check)
    shutil.rmtree(folder)
    if FAILED:
        sys.exit(f"check_hosts: error: {len(FAILED)} comparisons failed: {', '.join(FAILED)}")


if __name__ == "__main__":
    main()
