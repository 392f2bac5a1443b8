"""nvalchemi-toolkit-ops behind the interface of benchmarks/mesh: the reciprocal part of its particle mesh Ewald."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
from measured_solver import MeasuredSolver, Settings, mesh_length, spacings
from peers import ALPHA
from reference import K_E
from systems import ChargedBox


class NvalchemiPME(MeasuredSolver):
    """`pme_reciprocal_space`, with forces and charge gradients as direct outputs, its cheapest way to both.

    Whatever depends on cell and mesh alone is made once and handed in, as its documentation advises.
    """

    dtype: ClassVar[str]
    device = "cpu"
    provides = "energy, potentials, forces"
    factors: ClassVar[tuple[int, ...]] = (2, 3, 5, 7)

    def series(self, box: ChargedBox, target: float) -> list[list[Settings]]:
        found = spacings(box, 1.0, 0.25, self.factors)
        return [[{"order": order, "spacing": h} for h in found] for order in (4, 5, 6)]

    def prepare(self, box: ChargedBox) -> None:
        import torch
        from nvalchemiops.torch.interactions.electrostatics import k_vectors, pme

        super().prepare(box)
        # direct charge gradients are to be replaced by autograd, which takes longer
        warnings.filterwarnings("ignore", message=".*compute_charge_gradients")
        self.torch, self.waves, self.module = torch, k_vectors, pme
        torch.set_num_threads(self.threads)
        self.type = getattr(torch, self.dtype)
        self.charges = torch.tensor(box.charges, dtype=self.type, device=self.device)
        self.cell = torch.tensor(box.cell, dtype=self.type, device=self.device)

    def build(self, settings: Settings) -> None:
        n, order = mesh_length(self.box, settings["spacing"], self.factors), settings["order"]
        self.words = f"order {order}, {n}^3, h {self.box.cell[0, 0] / n:.3f}"
        _, k_squared = self.waves.generate_k_vectors_pme(self.cell, (n, n, n))
        along = n * self.torch.fft.fftfreq(n, dtype=self.type, device=self.device)
        half = n * self.torch.fft.rfftfreq(n, dtype=self.type, device=self.device)
        moduli = [self.module.compute_bspline_moduli_1d(m, n, order) for m in (along, along, half)]
        self.keywords = {
            "alpha": self.torch.tensor([ALPHA], dtype=self.type, device=self.device),
            "mesh_dimensions": (n, n, n),
            "spline_order": order,
            "k_squared": k_squared,
            "cell_inv_t": self.torch.linalg.inv(self.cell).T.contiguous(),
            "volume": self.torch.linalg.det(self.cell).abs().reshape(1),
            "compute_forces": True,
            "compute_charge_gradients": True,
            "energy_reduction": "system",
        } | dict(zip(("moduli_x", "moduli_y", "moduli_z"), moduli, strict=True))

    def before_evaluation(self, positions: np.ndarray) -> None:
        self.positions = self.torch.tensor(positions, dtype=self.type, device=self.device)

    def evaluate(self, positions: np.ndarray) -> None:
        self.sum, *self.gradients = self.module.pme_reciprocal_space(
            self.positions, self.charges, self.cell, **self.keywords
        )

    def energy(self) -> float:
        """Of the last evaluation, eV."""
        return K_E * float(self.sum.double().sum())

    def forces(self) -> np.ndarray:
        return K_E * np.asarray(self.gradients[0].double().cpu())

    def potentials(self) -> np.ndarray:
        """(n,), V, of the last evaluation."""
        return K_E * np.asarray(self.gradients[1].double().cpu()).ravel()

    def describe(self) -> str:
        return self.words
