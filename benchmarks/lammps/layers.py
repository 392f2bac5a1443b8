"""Redundant work of message passing across ranks: `python benchmarks/lammps/layers.py`.

A model of two layers needs the first layer around the ghosts next to its atoms too, or an exchange of messages between
the layers. Bricks of a water box as 1 to 8 ranks have them are evaluated here on one core, forward and backward: as the
pair style does, and with the rows of owned atoms only, which is what an exchange would leave.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import ase
import numpy as np
import torch
import vesin
from systems import EDGE, MODELS, SIDE, SYMBOLS, water

from les_md.model import LESModel
from les_md.settings import ModelSettings

#: Grids of ranks.
GRIDS = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)]


def brick_of(atoms: ase.Atoms, grid: tuple[int, int, int], reach: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Positions and types of the first brick of `grid`, owned first, then ghosts within `reach`; how many owned."""
    lengths = atoms.cell.lengths()
    size = lengths / grid
    owned_mask = (atoms.positions < size).all(1)
    types = np.array([SYMBOLS.index(symbol) for symbol in atoms.get_chemical_symbols()])
    parts, kinds = [atoms.positions[owned_mask]], [types[owned_mask]]
    for image in np.ndindex(3, 3, 3):
        shifted = atoms.positions + (np.array(image) - 1) * lengths
        near = ((shifted > -reach) & (shifted < size + reach)).all(1)
        if image == (1, 1, 1):
            near &= ~owned_mask
        parts.append(shifted[near])
        kinds.append(types[near])
    return np.vstack(parts), np.hstack(kinds), int(owned_mask.sum())


def edges_of(positions: np.ndarray, cutoff: float, n_owned: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges around owned atoms and their neighbours, as the pair style gives them."""
    builder = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, vectors = builder.compute(positions, np.zeros((3, 3)), False, "ijD")
    centres = np.arange(len(positions)) < n_owned
    centres[j[i < n_owned]] = True
    used = centres[i]
    index = torch.from_numpy(np.stack([i[used], j[used]]).astype(np.int64))
    return index, torch.from_numpy(vectors[used])


def seconds_of(model: LESModel, types: torch.Tensor, index: torch.Tensor, vectors: torch.Tensor, n: int) -> float:
    """Processor time of the fastest of some evaluations, forward and backward."""
    best = float("inf")
    for _ in range(4):
        leaf = vectors.clone().requires_grad_(True)
        start = time.process_time()
        results = model(types, index, leaf, n)
        torch.autograd.grad(results["node_energies"].sum() + results["latent_charges"].sum(), leaf)
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description="Redundant rows of a two-layer model on bricks of a box.")
    parser.add_argument("--output", type=Path, default=Path("build/lammps_layers"), help="folder for results")
    parser.add_argument(
        "--copies", type=int, nargs="+", default=[1, 2], help="copies of the box of 1029 atoms per axis"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LESModel(ModelSettings(symbols=SYMBOLS, **MODELS["two_layers"]))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    cutoff = model.settings.cutoff
    print("atoms  ranks  owned/rank  rows of layer 1 / owned  ghosts / owned   ms  ms owned rows only  redundant %")
    rows = []
    for copies in options.copies:
        atoms = water((SIDE * copies,) * 3)
        atoms.positions += np.random.default_rng(0).normal(0.0, 0.2, atoms.positions.shape)
        atoms.wrap()
        for grid in GRIDS:
            positions, kinds, n_owned = brick_of(atoms, grid, 2 * cutoff)
            types = torch.from_numpy(kinds)
            index, vectors = edges_of(positions, cutoff, n_owned)
            n_centres = len(index[0].unique())
            with_ghosts = seconds_of(model, types, index, vectors, n_owned)
            # the same atoms as a periodic box of their own have all rows and no ghosts
            sizes = np.array(atoms.cell.lengths()) / grid
            builder = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
            i, j, inner = builder.compute(positions[:n_owned], np.diag(sizes), True, "ijD")
            own_index = torch.from_numpy(np.stack([i, j]).astype(np.int64))
            own = seconds_of(model, types[:n_owned], own_index, torch.from_numpy(inner), n_owned)
            ranks = int(np.prod(grid))
            row = {
                "atoms": len(atoms), "ranks": ranks, "owned": n_owned, "rows": n_centres,
                "ghosts": len(types) - n_owned,
                "seconds": with_ghosts, "seconds_owned": own,
            }  # fmt: skip
            rows.append(row)
            print(
                f"{len(atoms):5d}  {ranks:5d}  {n_owned:10d}  {n_centres / n_owned:23.2f}  "
                f"{row['ghosts'] / n_owned:14.2f}  {1e3 * with_ghosts:7.1f}  {1e3 * own:18.1f}  "
                f"{100 * (1 - own / with_ghosts):11.1f}",
                flush=True,
            )
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "layers.json").write_text(json.dumps({"edge": EDGE, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
