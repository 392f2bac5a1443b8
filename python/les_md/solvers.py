"""The long-range sums on their own: charges, positions and a cell in; energy, potentials, forces and virial out.

`MeshSolver` and `EwaldSolver` are the solvers that the engine runs under every host, for use without a model. Numbers
go to the compiled code; tensors that ask for gradients go through torch operations that can be differentiated twice.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from les_md.constants import COULOMB_CONSTANT, converged_k_cutoff
from les_md.engine import load_core
from les_md.errors import LESError
from les_md.ewald import periodic_energy
from les_md.mesh_operator import MeshPlan, mesh_energy


@dataclass(frozen=True)
class LongRangeResult:
    """One evaluation, as numpy arrays or as tensors, as the input was.

    Attributes:
        energy: eV; a float for numpy input, a scalar tensor for torch.
        potentials: shaped like the charges, V; dE/dq.
        forces: (n_atoms, 3), eV/angstrom; -dE/dr at fixed charges.
        virial: (3, 3), eV; -dE/d(strain) at fixed charges, symmetric.
        net_force: (3,), eV/angstrom; the sum of the forces before it was taken out of them in equal parts, which
            conserves momentum. Zero for direct sums. Where torch differentiates it is not taken out.
    """

    energy: Any
    potentials: Any
    forces: Any
    virial: Any
    net_force: Any


class _PeriodicSolver:
    """What both solvers share: input checks, and the way to the compiled code or to torch."""

    def __init__(
        self,
        solver: str,
        smearing: float,
        k_cutoff: float | None,
        remove_self_interaction: bool,
        coulomb_constant: float,
        options: dict[str, Any],
    ) -> None:
        for name, value in (("smearing", smearing), ("k_cutoff", k_cutoff), ("coulomb_constant", coulomb_constant)):
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise LESError(f"`{name}` must be positive and finite, got {value}")
        self.smearing = float(smearing)
        self.k_cutoff = None if k_cutoff is None else float(k_cutoff)
        self.remove_self_interaction = bool(remove_self_interaction)
        self.coulomb_constant = float(coulomb_constant)
        self._solver = solver
        self._options = options
        self._core = load_core()
        self._compiled: dict[int, Any] = {}  # by number of channels
        self._last: Any = None
        self._solver_for(1)  # refuses unusable options now

    def compute(
        self, charges: np.ndarray | Tensor, positions: np.ndarray | Tensor, cell: np.ndarray | Tensor
    ) -> LongRangeResult:
        """Evaluates one periodic system.

        Args:
            charges: (n_atoms,) or (n_atoms, n_channels), e; the energies of channels add up. The total need not vanish:
                k = 0 is left out and nothing is added for it.
            positions: (n_atoms, 3), angstrom, in any periodic image.
            cell: (3, 3), rows are lattice vectors, angstrom, of any orientation and handedness.

        Returns:
            the result, in float64. If one of the arguments is a tensor that requires a gradient, its energy,
            potentials, forces and virial can be differentiated again.

        Raises:
            LESError: for shapes that do not fit, numbers that are not finite, a cell without volume, or a mesh that
                would not fit in memory.
        """
        is_torch = any(isinstance(argument, Tensor) for argument in (charges, positions, cell))
        tensors = [torch.as_tensor(argument).to(torch.float64) for argument in (charges, positions, cell)]
        _check(*tensors)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return self._differentiable(*tensors)
        arrays = [tensor.detach().cpu().numpy() for tensor in tensors]
        flat = arrays[0].reshape(len(arrays[0]), -1)
        try:
            solver = self._solver_for(flat.shape[1])
            raw = solver.compute(flat, arrays[1], arrays[2])
        except self._core.EngineError as error:
            raise LESError(str(error)) from None
        for text in solver.take_warnings():
            warnings.warn(text, UserWarning, stacklevel=2)
        self._last = solver
        raw["potentials"] = raw["potentials"].reshape(arrays[0].shape)
        if is_torch:
            raw = {name: torch.as_tensor(value, device=tensors[1].device) for name, value in raw.items()}
        return LongRangeResult(**raw)

    @property
    def description(self) -> str:
        """One line on what was summed in the last evaluation, and how accurately."""
        return "nothing evaluated yet" if self._last is None else str(self._last.description)

    def _solver_for(self, n_channels: int) -> Any:
        if n_channels not in self._compiled:
            try:
                self._compiled[n_channels] = self._core.LongRangeSolver(
                    self._solver,
                    n_channels,
                    smearing=self.smearing,
                    k_cutoff=self.k_cutoff,
                    coulomb_constant=self.coulomb_constant,
                    remove_self_interaction=self.remove_self_interaction,
                    **self._options,
                )
            except self._core.EngineError as error:
                raise LESError(str(error)) from None
        return self._compiled[n_channels]

    def _energy(self, charges: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        raise NotImplementedError

    def _differentiable(self, charges: Tensor, positions: Tensor, cell: Tensor) -> LongRangeResult:
        """Energy and its first derivatives by autograd, with a graph behind them."""
        leaves = (charges, positions, cell)
        q, r, h = (leaf if leaf.requires_grad else leaf.detach().requires_grad_() for leaf in leaves)
        energy = self._energy(q.reshape(len(q), -1), r, h)
        potentials, by_position, by_cell = torch.autograd.grad(energy, (q, r, h), create_graph=True)
        # positions and cell scale together: dE/d(strain)_ab = sum_i r_ia dE/dr_ib + sum_c h_ca dE/dh_cb
        virial = -(r.transpose(0, 1) @ by_position + h.transpose(0, 1) @ by_cell)
        return LongRangeResult(
            energy, potentials, -by_position, 0.5 * (virial + virial.transpose(0, 1)), -by_position.sum(0).detach()
        )


class EwaldSolver(_PeriodicSolver):
    """Direct sum over wave vectors: exact, at a cost of O(N^2).

    Source: Cheng, npj Comput. Mater. 11, 80 (2025).

    Args:
        smearing: sigma of exp(-sigma^2 k^2 / 2), angstrom.
        k_cutoff: largest |k|, 1/angstrom; None sums until the kernel has converged.
        remove_self_interaction: take out the energy of each smeared charge with itself.
        coulomb_constant: 1/(4 pi eps0), eV angstrom / e^2.
        freeze_k_set: with a `k_cutoff`, keep the integer wave vectors of the first cell while the cell changes.
    """

    def __init__(
        self,
        smearing: float = 1.0,
        k_cutoff: float | None = None,
        *,
        remove_self_interaction: bool = True,
        coulomb_constant: float = COULOMB_CONSTANT,
        freeze_k_set: bool = False,
    ) -> None:
        options = {"freeze_k_set": freeze_k_set}
        super().__init__("direct", smearing, k_cutoff, remove_self_interaction, coulomb_constant, options)

    def _energy(self, charges: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        if self._options["freeze_k_set"]:
            raise LESError("`freeze_k_set` has no differentiable form; pass numpy arrays or leave the option out")
        k_cutoff = converged_k_cutoff(self.smearing) if self.k_cutoff is None else self.k_cutoff
        return periodic_energy(
            charges, positions, cell, self.smearing, k_cutoff, self.coulomb_constant, self.remove_self_interaction
        )


class MeshSolver(_PeriodicSolver):
    """Particle mesh: the same sum in O(N log N), to the accuracy asked for.

    Args:
        smearing: sigma of exp(-sigma^2 k^2 / 2), angstrom.
        k_cutoff: largest |k|, 1/angstrom; None for the converged kernel.
        accuracy: rms force error over the rms force of the same charges placed at random, 1e-8 to 1e-2. Potentials keep
            the same relative accuracy, the virial five times that.
        remove_self_interaction: take out the energy of each smeared charge with itself.
        coulomb_constant: 1/(4 pi eps0), eV angstrom / e^2.
        window: "kaiser_bessel", or "b_spline" for comparison with other codes.
        interpolation_nodes: mesh points per axis that one charge touches, 4 to 16; None: chosen.
        mesh_spacing: largest spacing along a cell vector, angstrom; None: chosen.
        mesh: points along the cell vectors; excludes `mesh_spacing`. Lengths with factors 2, 3, 5 are fastest.
        dtype: "float64", or "float32" for mesh and transforms (accuracy 1e-6 at best).
        freeze_k_set: with a `k_cutoff`, keep the integer wave vectors of the first cell while the cell changes.

    Mesh and window are chosen in the first evaluation; the mesh follows the cell after that. Raises LESError for an
    option out of range.
    """

    def __init__(
        self,
        smearing: float = 1.0,
        k_cutoff: float | None = None,
        accuracy: float = 1e-4,
        *,
        remove_self_interaction: bool = True,
        coulomb_constant: float = COULOMB_CONSTANT,
        window: str = "kaiser_bessel",
        interpolation_nodes: int | None = None,
        mesh_spacing: float | None = None,
        mesh: tuple[int, int, int] | None = None,
        dtype: str = "float64",
        freeze_k_set: bool = False,
    ) -> None:
        options = {
            "accuracy": accuracy,
            "window": window,
            "interpolation_nodes": interpolation_nodes,
            "mesh_spacing": mesh_spacing,
            "mesh": mesh,
            "dtype": dtype,
            "freeze_k_set": freeze_k_set,
        }
        super().__init__("mesh", smearing, k_cutoff, remove_self_interaction, coulomb_constant, options)

    def plan_for(self, cell: np.ndarray | Tensor, n_atoms: int) -> dict[str, Any]:
        """What the solver would choose for `n_atoms` in `cell` (3, 3): see `plan`."""
        options = {name: value for name, value in self._options.items() if name != "freeze_k_set"}
        box = torch.as_tensor(cell).detach().to("cpu", torch.float64)
        _check(torch.zeros(1), torch.zeros(1, 3), box)
        try:
            return dict(
                self._core.mesh_plan(box.numpy(), n_atoms, smearing=self.smearing, k_cutoff=self.k_cutoff, **options)
            )
        except self._core.EngineError as error:
            raise LESError(str(error)) from None

    @property
    def plan(self) -> dict[str, Any] | None:
        """Choice of the last evaluation: mesh, interpolation_nodes, window, shape (beta of the Kaiser-Bessel window),
        spacing (angstrom), k_cutoff (1/angstrom), dtype, asked_accuracy, estimated_error; None before the first."""
        return None if self._last is None else self._last.plan

    @property
    def timings(self) -> dict[str, float] | None:
        """Seconds of the stages of the last evaluation: sort, points_to_mesh, transform_and_filter, mesh_to_points."""
        return None if self._last is None else self._last.timings

    def _energy(self, charges: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        if self._options["freeze_k_set"]:
            raise LESError("`freeze_k_set` has no differentiable form; pass numpy arrays or leave the option out")
        chosen = self.plan_for(cell, len(positions))
        plan = MeshPlan(
            mesh=tuple(chosen["mesh"]),
            window=chosen["window"],
            interpolation_nodes=chosen["interpolation_nodes"],
            shape=chosen["shape"],
            k_cutoff=chosen["k_cutoff"],
            converged=self.k_cutoff is None,
        )
        return mesh_energy(
            charges, positions, cell, plan, self.smearing, self.coulomb_constant, self.remove_self_interaction
        )


def _check(charges: Tensor, positions: Tensor, cell: Tensor) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise LESError(f"`positions` must have shape (n_atoms, 3), got {tuple(positions.shape)}")
    if charges.ndim not in (1, 2) or len(charges) != len(positions):
        n = len(positions)
        raise LESError(f"`charges` must have shape ({n},) or ({n}, n_channels), got {tuple(charges.shape)}")
    if charges.ndim == 2 and charges.shape[1] == 0:
        raise LESError("`charges` must have at least one channel, got none")
    if cell.shape != (3, 3):
        raise LESError(f"`cell` must have shape (3, 3), got {tuple(cell.shape)}")
    for name, values in (("charges", charges), ("positions", positions), ("cell", cell)):
        if not bool(torch.isfinite(values).all()):
            raise LESError(f"`{name}` must be finite, got NaN or infinity")
    volume = float(torch.linalg.det(cell.detach()).abs())
    if not volume > 1e-6 * float(torch.linalg.vector_norm(cell.detach(), dim=1).prod()):
        raise LESError(f"`cell` must have a volume, got {volume:.3g} cubic angstrom from {cell.tolist()}")
