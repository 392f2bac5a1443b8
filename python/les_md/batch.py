"""Batches: frames with their neighbour lists as dictionaries of tensors (names in `fields`).

One dictionary holds one or many systems, periodic and isolated mixed. Neighbour lists come from vesin.
"""

from __future__ import annotations

import math
from typing import Any

import ase
import numpy as np
import torch
import vesin
from torch import Tensor

from les_md import fields
from les_md.errors import LESError

AtomsBatch = dict[str, Tensor]


def is_periodic(atoms: ase.Atoms) -> bool:
    """Periodic in all directions or in none; raises LESError for anything between and for an unusable cell."""
    pbc = np.asarray(atoms.pbc, dtype=bool)
    if pbc.all():
        check_cell(np.asarray(atoms.cell))
        return True
    if pbc.any():
        raise LESError(
            f"`pbc` must be periodic in all three directions or in none, got {pbc.tolist()}; "
            "set pbc='T T T' with vacuum in the cell, or 'F F F'"
        )
    return False


def check_cell(cell: Any) -> None:
    """Raises LESError unless `cell` (3, 3) is finite and has a volume."""
    cell = np.asarray(cell, dtype=float)
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        raise LESError(f"`cell` must be a finite 3x3 matrix, got {cell.tolist()}")
    lengths = np.linalg.norm(cell, axis=1)
    if abs(np.linalg.det(cell)) <= 1e-6 * max(float(np.prod(lengths)), 1e-300):
        raise LESError(f"`cell` of a periodic system must have a volume, got rows {cell.tolist()}")


def types_of(symbols_of_atoms: list[str], symbols: list[str]) -> np.ndarray:
    """Types (n_atoms,) int64 of atoms in a model with `symbols`; raises LESError naming a missing element."""
    index = {symbol: position for position, symbol in enumerate(symbols)}
    for symbol in symbols_of_atoms:
        if symbol not in index:
            raise LESError(f"element {symbol} is not in the model, which knows {' '.join(symbols)}")
    return np.array([index[symbol] for symbol in symbols_of_atoms], dtype=np.int64)


def neighbour_list(positions: np.ndarray, cell: np.ndarray, periodic: bool, cutoff: float) -> tuple[np.ndarray, ...]:
    """Full neighbour list: centres, neighbours (n_edges,) and cell_shifts (n_edges, 3), sorted by centre."""
    if len(positions) == 0:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, np.zeros((0, 3))
    builder = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    centres, neighbours, shifts = builder.compute(positions, cell, periodic, "ijS")
    return centres.astype(np.int64), neighbours.astype(np.int64), np.asarray(shifts, dtype=np.float64)


def frame_from_atoms(
    atoms: ase.Atoms,
    symbols: list[str],
    cutoff: float,
    total_charge: float | None = None,
    spin: float | None = None,
) -> AtomsBatch:
    """One frame as a batch of one system.

    Args:
        atoms: positions in angstrom; periodic in all directions or in none.
        symbols: chemical symbols in type order.
        cutoff: neighbour radius, angstrom.
        total_charge: e, used by models that neutralize or take it as input; None takes the model's own, stored as NaN.
        spin: multiplicity, used by models that take it as input; None is stored as NaN.
    """
    periodic = is_periodic(atoms)
    positions = np.asarray(atoms.positions, dtype=np.float64)
    if not np.isfinite(positions).all():
        raise LESError(
            f"`positions` must be finite, got {int((~np.isfinite(positions)).any(1).sum())} atoms that are not"
        )
    cell = np.asarray(atoms.cell, dtype=np.float64) if periodic else np.eye(3)
    centres, neighbours, shifts = neighbour_list(positions, cell, periodic, cutoff)
    return {
        fields.POSITIONS: torch.from_numpy(positions.copy()),
        fields.TYPES: torch.from_numpy(types_of(atoms.get_chemical_symbols(), symbols)),
        fields.CELL: torch.from_numpy(cell.copy()).unsqueeze(0),
        fields.PERIODIC: torch.tensor([periodic]),
        fields.SYSTEM_IDX: torch.zeros(len(atoms), dtype=torch.int64),
        fields.N_ATOMS: torch.tensor([len(atoms)]),
        fields.TOTAL_CHARGE: torch.tensor([math.nan if total_charge is None else total_charge], dtype=torch.float64),
        fields.SPIN: torch.tensor([math.nan if spin is None else spin], dtype=torch.float64),
        fields.EDGE_INDEX: torch.from_numpy(np.stack([centres, neighbours])),
        fields.CELL_SHIFTS: torch.from_numpy(shifts.copy()),
    }


def collate(frames: list[AtomsBatch]) -> AtomsBatch:
    """One batch of all `frames`. Further keys (labels) are concatenated along the first axis."""
    n_atoms = torch.cat([frame[fields.N_ATOMS] for frame in frames])
    first_atom = (torch.cumsum(n_atoms, 0) - n_atoms).tolist()
    batch: AtomsBatch = {}
    for key in frames[0]:
        if key == fields.EDGE_INDEX:
            batch[key] = torch.cat([f[key] + start for f, start in zip(frames, first_atom, strict=True)], dim=1)
        elif key != fields.SYSTEM_IDX:
            batch[key] = torch.cat([frame[key] for frame in frames])
    batch[fields.SYSTEM_IDX] = torch.repeat_interleave(torch.arange(len(frames)), n_atoms)
    return batch
