"""Message passing across ranks, with and without exchange of messages: `python benchmarks/lammps/layers.py`.

A model of two layers needs the first layer around the ghosts next to its atoms too, or an exchange of messages between
the layers. Bricks of a water box as 1 to 8 ranks have them are evaluated here on one core, forward and backward: all
layers at once with ghosts to the receptive field, and layer by layer with ghosts of one cutoff, as the pair style does
where the model file allows it. What would be exchanged is counted, not sent: any numbers stand for the messages of
ghosts. `--lammps` runs the pair style itself on as many ranks.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import ase
import numpy as np
import torch
import vesin
from lammps_run import Timing, run_lammps
from systems import EDGE, MODELS, SIDE, SYMBOLS, water, write_box, write_model

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


def edges_of(positions: np.ndarray, cutoff: float, n_owned: int, shells: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges around owned atoms and `shells` of their neighbours, as the pair style gives them."""
    builder = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, vectors = builder.compute(positions, np.zeros((3, 3)), False, "ijD")
    centres = np.arange(len(positions)) < n_owned
    for _ in range(shells):
        centres[j[centres[i]]] = True
    used = centres[i]
    index = torch.from_numpy(np.stack([i[used], j[used]]).astype(np.int64))
    return index, torch.from_numpy(vectors[used])


def fastest(evaluation: Callable[[], None]) -> float:
    """Processor time of the fastest of some evaluations."""
    best = float("inf")
    for _ in range(4):
        start = time.process_time()
        evaluation()
        best = min(best, time.process_time() - start)
    return best


def at_once(model: LESModel, types: torch.Tensor, index: torch.Tensor, vectors: torch.Tensor, n: int) -> None:
    """All layers forward and backward."""
    leaf = vectors.clone().requires_grad_(True)
    results = model(types, index, leaf, n)
    torch.autograd.grad(results["node_energies"].sum() + results["latent_charges"].sum(), leaf)


def layer_by_layer(model: LESModel, types: torch.Tensor, index: torch.Tensor, vectors: torch.Tensor, n: int) -> None:
    """One layer after the other forward and back again, as csrc/src/network_stages.cpp does."""
    tensors = {"types": types, "edge_index": index, "edge_vectors": vectors}
    stages = []
    for layer in range(model.n_layers):
        if layer > 0:
            messages = tensors["messages"]
            tensors["messages"] = messages[torch.arange(len(types)) % n]  # as many as owners would send
        inputs = {name: tensor.detach().requires_grad_(tensor.is_floating_point()) for name, tensor in tensors.items()}
        tensors = model.layer(layer, inputs, n)
        stages.append((inputs, dict(tensors)))
    cotangents = {name: torch.ones_like(tensors[name]) for name in ("node_energies", "latent_charges")}
    for inputs, outputs in reversed(stages):
        leaves = {name: tensor for name, tensor in inputs.items() if tensor.requires_grad}
        wanted = [
            name for name, cotangent in cotangents.items() if cotangent is not None and outputs[name].requires_grad
        ]
        gradients = torch.autograd.grad(
            [outputs[name] for name in wanted],
            list(leaves.values()),
            [cotangents[name] for name in wanted],
            allow_unused=True,
        )
        cotangents = dict(zip(leaves, gradients, strict=True))
        if "messages" in cotangents:
            cotangents["messages"] = cotangents["messages"][:n]


def in_lammps(folder: Path, copies: int, ranks: list[int], rounds: int) -> list[dict[str, object]]:
    """Time of a step of the pair style on `ranks`, with a file of both kinds in turn; the fastest of `rounds`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_box(folder / "box.data", water((SIDE,) * 3))
    for name in ("two_layers", "two_layers_at_once"):
        write_model(folder / f"{name}.les.pt", name)
    rows: list[dict[str, object]] = []
    for n in ranks:
        best: dict[str, Timing] = {}
        for _ in range(rounds):
            for name in ("two_layers_at_once", "two_layers"):
                timing = run_lammps(
                    folder, n, data="box.data", model=f"{name}.les.pt", replicate=(copies,) * 3, steps=10
                )
                if name not in best or timing.seconds_per_step < best[name].seconds_per_step:
                    best[name] = timing
        before, after = best["two_layers_at_once"], best["two_layers"]
        rows.append({"ranks": n, "at_once": asdict(before), "layer_by_layer": asdict(after)})
        print(
            f"{after.atoms:5d}  {n:5d}  {before.ghosts_per_rank:9.0f} {after.ghosts_per_rank:9.0f}  "
            f"{1e3 * before.seconds_per_step:9.1f} {1e3 * after.seconds_per_step:9.1f}  "
            f"{before.seconds_per_step / after.seconds_per_step:5.2f}  "
            f"{100 * after.stages['communication'] / after.seconds_per_step:5.1f}  "
            f"{before.peak_bytes / 2**20:7.0f} {after.peak_bytes / 2**20:7.0f}",
            flush=True,
        )
    return rows


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description="Two layers on bricks of a box, with and without exchange.")
    parser.add_argument("--output", type=Path, default=Path("build/lammps_layers"), help="folder for results")
    parser.add_argument(
        "--copies", type=int, nargs="+", default=[1, 2], help="copies of the box of 1029 atoms per axis"
    )
    parser.add_argument("--lammps", type=int, nargs="+", metavar="RANKS", help="run the pair style on so many ranks")
    parser.add_argument("--rounds", type=int, default=3, help="runs of LAMMPS of each kind, in turn")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    if options.lammps:
        print("atoms  ranks  ghosts/rank at once, by layer  ms/step at once, by layer  ratio  communication %  MB, MB")
        for copies in options.copies:
            rows += in_lammps(options.output.resolve(), copies, options.lammps, options.rounds)
        (options.output / "layers_lammps.json").write_text(json.dumps(rows, indent=1) + "\n")
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LESModel(ModelSettings(symbols=SYMBOLS, **MODELS["two_layers"]))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    cutoff = model.settings.cutoff
    print(
        "atoms  ranks  owned/rank  rows of layer 1 / owned  ghosts / owned at once, by layer  ms at once, by layer  "
        "ratio  exchanged kB"
    )
    for copies in options.copies:
        atoms = water((SIDE * copies,) * 3)
        atoms.positions += np.random.default_rng(0).normal(0.0, 0.2, atoms.positions.shape)
        atoms.wrap()
        for grid in GRIDS:
            seconds, ghosts = [], []
            for shells, evaluate in ((1, at_once), (0, layer_by_layer)):
                positions, kinds, n_owned = brick_of(atoms, grid, (shells + 1) * cutoff)
                types = torch.from_numpy(kinds)
                index, vectors = edges_of(positions, cutoff, n_owned, shells)
                if shells > 0:
                    n_centres = len(index[0].unique())
                seconds.append(fastest(functools.partial(evaluate, model, types, index, vectors, n_owned)))
                ghosts.append(len(types) - n_owned)
            # messages forward and their cotangents back, in float64
            exchanged = 2 * 8 * model.settings.n_messages * ghosts[1] / 1000
            ranks = int(np.prod(grid))
            rows.append({
                "atoms": len(atoms), "ranks": ranks, "owned": n_owned, "rows": n_centres, "ghosts": ghosts,
                "seconds_at_once": seconds[0], "seconds_by_layer": seconds[1], "exchanged_kb": exchanged,
            })  # fmt: skip
            print(
                f"{len(atoms):5d}  {ranks:5d}  {n_owned:10d}  {n_centres / n_owned:23.2f}  "
                f"{ghosts[0] / n_owned:14.2f} {ghosts[1] / n_owned:5.2f}  {1e3 * seconds[0]:7.1f} "
                f"{1e3 * seconds[1]:7.1f}  {seconds[0] / seconds[1]:5.2f}  {exchanged:8.0f}",
                flush=True,
            )
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "layers.json").write_text(json.dumps({"edge": EDGE, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
