"""The package's own solvers behind the interface of measured_solver.py; the peers are in peers.py."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from measured_solver import MeasuredSolver, Settings
from reference import K_E, SMEARING
from systems import ChargedBox


class LesMesh(MeasuredSolver):
    """`les_md.MeshSolver` as a user gets it."""

    dtype: ClassVar[str]
    provides = "energy, potentials, forces, virial"

    def prepare(self, box: ChargedBox) -> None:
        import torch

        import les_md

        super().prepare(box)
        torch.set_num_threads(self.threads)
        # what libraries allocate at their first use belongs to no box
        les_md.MeshSolver(SMEARING, dtype=self.dtype).compute(
            np.array([1.0, -1.0]), box.positions[:2], 10.0 * np.eye(3)
        )

    def build(self, settings: Settings) -> None:
        import les_md

        self.solver = les_md.MeshSolver(
            SMEARING, self.k_cutoff, settings["accuracy"], dtype=self.dtype, coulomb_constant=K_E
        )

    def evaluate(self, positions: np.ndarray) -> None:
        self.result = self.solver.compute(self.box.charges, positions, self.box.cell)

    def energy(self) -> float:
        """Of the last evaluation, eV."""
        return float(self.result.energy)

    def forces(self) -> np.ndarray:
        return np.asarray(self.result.forces)

    def potentials(self) -> np.ndarray:
        """(n,), V, of the last evaluation."""
        return np.asarray(self.result.potentials).ravel()

    def describe(self) -> str:
        plan = self.solver.plan
        mesh = " x ".join(str(points) for points in plan["mesh"])
        return f"p {plan['interpolation_nodes']}, {mesh}, h {max(plan['spacing']):.3f}"

    def stages(self) -> dict[str, float]:
        return dict(getattr(self.solver, "timings", None) or {})


class LesMeshFloat64(LesMesh):
    """In double precision."""

    label, dtype = "les_md float64", "float64"


class LesMeshFloat32(LesMesh):
    """In single precision."""

    label, dtype = "les_md float32", "float32"


class LesDirect(MeasuredSolver):
    """`les_md.EwaldSolver`, the O(N^2) sum."""

    label, largest = "les_md direct sum", 3_500
    provides = "energy, potentials, forces, virial"

    def build(self, settings: Settings) -> None:
        import torch

        import les_md

        torch.set_num_threads(self.threads)
        self.solver = les_md.EwaldSolver(SMEARING, self.k_cutoff, coulomb_constant=K_E)

    def evaluate(self, positions: np.ndarray) -> None:
        self.result = self.solver.compute(self.box.charges, positions, self.box.cell)

    def forces(self) -> np.ndarray:
        return np.asarray(self.result.forces)

    def describe(self) -> str:
        return "all wave vectors"
