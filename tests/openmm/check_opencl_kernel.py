"""What GPU platforms share of LESForce, run on OpenMM's OpenCL platform, where that has a device.

An opt-in check, `check_opencl_kernel.py`: Debian's package pocl-opencl-icd makes a processor a device, without a GPU.
OpenMM compiles the kernels, sorts its atoms, keeps positions in three precisions, and passes on forces
of virtual sites. The engine behind the kernels is that of the CPU. Energy, its derivatives, forces, charges,
polarization, its current and Born charges are compared with the Reference platform at the same positions, for a plain
model without and with a field, and for one with charge transfers in a field and among external charges. Exit status 0
if all agree.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm_systems import make_model, waters

import les_md
from les_md.export import write_model_file
from les_md.openmm import LESForce

HERE = Path(__file__).resolve().parent
PLUGIN = HERE.parents[1] / "openmm_plugin"
OPENMM = Path(openmm.version.openmm_library_path)
CMAKE_LISTS = f"""
cmake_minimum_required(VERSION 3.24)
project(opencl_kernel LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(les_openmm 0.1 REQUIRED)
file(READ {PLUGIN}/platforms/common/kernels/les_force.cu LES_KERNEL_SOURCE)
configure_file({PLUGIN}/platforms/common/kernel_source.h.in LESKernelSource.h @ONLY)
add_library(opencl_kernel SHARED {HERE}/opencl_kernel.cpp {PLUGIN}/platforms/common/CommonLESKernel.cpp)
target_include_directories(opencl_kernel PRIVATE {PLUGIN} {PLUGIN}/openmmapi/include ${{CMAKE_BINARY_DIR}})
target_link_libraries(opencl_kernel PRIVATE les::openmm {OPENMM}/plugins/libOpenMMOpenCL.so)
target_link_options(opencl_kernel PRIVATE -Wl,--allow-shlib-undefined)
"""
#: Precision: largest error of a force over the largest force, of energy and derivatives over themselves, and so on.
TOLERANCES = {"single": 1e-6, "mixed": 1e-6, "double": 1e-10}
ATOMS = waters(periodic=True)
#: Model, with a field, with external charges.
KINDS = {"plain": (False, False), "plain in a field": (True, False), "charge_flux": (True, True)}
FIELD = [15.0, -30.0, 20.0]  # kJ/mol/nm/e


def load_plugin(folder: Path) -> None:
    """Compiles and loads the kernel."""
    (folder / "CMakeLists.txt").write_text(CMAKE_LISTS)
    tools = Path(sys.executable).parent
    configure = [tools / "cmake", "-S", ".", "-B", "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
                 f"-DCMAKE_PREFIX_PATH={Path(les_md.__file__).parent}", f"-DOPENMM_DIR={OPENMM.parent}"]  # fmt: skip
    for command in (configure, [tools / "cmake", "--build", "build"]):
        subprocess.run([str(part) for part in command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    openmm.Platform.loadPluginLibrary(str(folder / "build" / "libopencl_kernel.so"))


def make_context(
    model: Path, kind: str, platform: str, device: str, precision: str = ""
) -> tuple[openmm.Context, LESForce]:
    """Waters without their first atom, a virtual site in its place, and bystanders, so that OpenMM has what to sort."""
    in_field, among_charges = KINDS[kind]
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(ATOMS.cell.array * 0.1))
    for mass in [*ATOMS.get_masses(), *[40.0] * 100]:
        system.addParticle(mass)
    site = system.addParticle(0.0)
    system.setVirtualSite(site, openmm.TwoParticleAverageSite(1, 2, 0.4, 0.6))
    bystanders = openmm.NonbondedForce()
    bystanders.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    bystanders.setCutoffDistance(0.25)
    for _ in range(system.getNumParticles()):
        bystanders.addParticle(0.0, 0.1, 0.0)
    system.addForce(bystanders)
    symbols = [*ATOMS.get_chemical_symbols()[1:], "O"]
    force = LESForce(model, symbols, particles=[*range(1, len(ATOMS)), site], device=device, solver="direct", threads=1)
    force.setForceGroup(3)
    force.setDefaultLambda(0.4)
    force.addEnergyParameterDerivative("LESForceLambda")
    if in_field:
        force.setDefaultElectricField(FIELD)
        force.addEnergyParameterDerivative("LESForceFieldY")
    if among_charges:
        force.setExternalCharges([*[0.0] * len(ATOMS), *[0.2, -0.1, 0.0, -0.1] * 25, 0.0])
    system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005)
    properties = {"Precision": precision} if precision else {}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
    box = ATOMS.cell.array * 0.1
    spread = np.random.default_rng(1).uniform(-1.0, 2.0, (100, 3)) @ box
    context.setPositions(np.vstack([ATOMS.positions * 0.1, spread, np.zeros((1, 3))]))
    context.computeVirtualSites()
    context.setVelocitiesToTemperature(300.0, 1)
    return context, force


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-6))


def answers(force: LESForce, context: openmm.Context, kind: str) -> list[np.ndarray]:
    """Beside energy and forces."""
    quantities = [force.getLatentCharges, force.getPolarizationCurrent, force.getBornCharges, force.getEmbeddingEnergy]
    if kind == "charge_flux":
        quantities.append(force.getPolarization)
    values = [quantity(context) for quantity in quantities]
    return [np.array(getattr(value, "_value", value)) for value in values]


def compare(model: Path, kind: str, precision: str, steps: int) -> float:
    """Largest relative error after `steps`."""
    context, force = make_context(model, kind, "OpenCL", "cuda", precision)
    context.getIntegrator().step(steps)
    reference, reference_force = make_context(model, kind, "Reference", "cpu")
    state = context.getState(positions=True, velocities=True)
    reference.setPositions(state.getPositions())
    reference.setVelocities(state.getVelocities())
    errors = []
    for groups in (-1, {3}):
        states = [
            one.getState(energy=True, forces=True, parameterDerivatives=True, groups=groups)
            for one in (context, reference)
        ]
        errors.append(relative_error(*(state.getForces(asNumpy=True)._value for state in states)))
        errors.append(relative_error(*(np.array(state.getPotentialEnergy()._value) for state in states)))
        slopes = [dict(state.getEnergyParameterDerivatives()) for state in states]
        errors += [relative_error(np.array(slopes[0][name]), np.array(slopes[1][name])) for name in slopes[1]]
    pairs = zip(answers(force, context, kind), answers(reference_force, reference, kind), strict=True)
    errors += [relative_error(got, expected) for got, expected in pairs]
    return float(max(errors))


def main() -> None:
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if "OpenCL" not in names:
        sys.exit(
            "check_opencl_kernel: error: OpenMM has no OpenCL platform; install an OpenCL driver, as pocl-opencl-icd"
        )
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load_plugin(folder)
        for kind in KINDS:
            model = folder / "model.les.pt"
            write_model_file(make_model(charge_flux=kind == "charge_flux"), model, {}, None, None)
            for precision, tolerance in TOLERANCES.items():
                for steps in (0, 600):
                    error = compare(model, kind, precision, steps)
                    print(f"{kind}, {precision} precision, {steps} steps: largest relative error {error:.1e}")
                    if not error < tolerance:
                        sys.exit(f"check_opencl_kernel: error: {error:.1e} is more than {tolerance}")


if __name__ == "__main__":
    main()
