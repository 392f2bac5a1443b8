"""Time of a step on many ranks, from measured parts: `python benchmarks/lammps/cost_model.py`.

Times per atom of network and mesh come from results.json of run.py (`--results`) or from the options. What the cluster
adds is modelled: each message costs a latency and its bytes over a bandwidth. Bytes and messages follow the layout of
csrc/src/mesh_division.cpp: bricks to pencils, two turns each way, and pencils to bricks. Prints the table and writes
it with a figure.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@dataclass
class Machine:
    """Of the cluster; seconds, bytes a second."""

    latency: float  # of a message, its overhead at both ends included
    bandwidth: float  # of one rank while all ranks of its node send
    network_per_atom: float  # seconds of one core an owned atom and step, all of the style but the mesh
    mesh_per_atom: float  # seconds of one core an atom and step


@dataclass
class Model:
    """What the counts follow from; defaults of the package and water."""

    density: float = 0.1  # atoms / angstrom^3
    cutoff: float = 4.5
    skin: float = 1.0
    n_layers: int = 1
    n_messages: int = 8  # numbers of an atom between layers, float64
    spacing: float = 0.604  # of the mesh, angstrom
    nodes: int = 7  # of the window
    real_bytes: int = 4  # float32 mesh
    kept: float = 0.92  # share of third modes below the cutoff of the kernel
    channels: int = 1


@dataclass
class Step:
    """One step; seconds of the slowest rank."""

    ranks: int
    atoms_per_rank: float
    ghosts_per_rank: float
    network: float
    mesh: float
    halo: float  # LAMMPS' own exchange: positions out and forces back, messages between layers
    bricks: float  # charges to pencils and potentials back
    turns: float  # the four transposes
    sums: float
    messages: int  # sent by a rank for the mesh
    mesh_bytes: float  # sent by a rank for the mesh

    @property
    def total(self) -> float:
        return self.network + self.mesh + self.halo + self.bricks + self.turns + self.sums


def pencil_grid(points: int, ranks: int) -> tuple[int, int]:
    """Rows and columns of ranks, as csrc/src/mesh_box.h has them."""
    planes = max(1, points // 2)
    columns = -(-ranks // planes)
    return max(1, ranks // columns), columns


def step_of(atoms: float, ranks: int, machine: Machine, model: Model) -> Step:
    """Cost of `atoms` in a cubic box on `ranks` with cubic bricks."""
    owned = atoms / ranks
    box = (atoms / model.density) ** (1.0 / 3.0)
    brick = box / ranks ** (1.0 / 3.0)
    reach = model.cutoff + model.skin
    ghosts = model.density * ((brick + 2 * reach) ** 3 - brick**3)
    points = max(1, math.ceil(box / model.spacing))
    total_points = float(points) ** 3
    busy = min(ranks, max(1, points // 2) * points)

    def message(count: float, size: float) -> float:
        return count * machine.latency + size / machine.bandwidth

    # three dimensions, both directions; 24 bytes an atom there and back, and messages between layers likewise
    shells = max(1, math.ceil(reach / brick))
    halo = message(12 * shells, 2 * 24 * ghosts)
    halo += (model.n_layers - 1) * message(12 * shells, 2 * 8 * model.n_messages * ghosts)
    # a brick with its window lies on some rows and columns of pencils, which run through the whole box along z
    rows_of_ranks, columns = pencil_grid(points, ranks)
    side = brick / model.spacing + model.nodes
    brick_points = min(side, points) ** 3
    partners = min(ranks - 1, math.ceil(side * rows_of_ranks / points + 1) * math.ceil(side * columns / points + 1))
    # a pencil hears from the bricks along z, and from those beside it whose windows reach it
    apart = brick / model.spacing
    beside = [math.ceil((points / parts + model.nodes) / apart) + 1 for parts in (rows_of_ranks, columns)]
    senders = min(ranks - 1, math.ceil(ranks ** (1.0 / 3.0)) * beside[0] * beside[1])
    bricks_bytes = model.channels * model.real_bytes * brick_points
    bricks = 2 * message(model.channels * max(partners, senders), bricks_bytes) if ranks > 1 else 0.0
    # a turn among columns (z to y) and one among rows (y to x), complex, forward and back
    part = 2 * model.real_bytes * model.kept * total_points / 2 / (rows_of_ranks * columns) * model.channels
    turns, messages, turned = 0.0, 2 * model.channels * partners if ranks > 1 else 0, 0.0
    for group in (columns, rows_of_ranks):
        if group > 1:
            turns += 2 * message(model.channels * (group - 1), part * (group - 1) / group)
            messages += 2 * model.channels * (group - 1)
            turned += 2 * part * (group - 1) / group
    # bricks of all ranks are known to all (6 numbers each), and three sums of few numbers
    sums = 4 * math.log2(ranks) * machine.latency + 48 * ranks / machine.bandwidth if ranks > 1 else 0.0
    mesh = machine.mesh_per_atom * atoms / busy
    return Step(
        ranks, owned, ghosts, machine.network_per_atom * owned, mesh, halo, bricks, turns, sums,
        messages, 2 * bricks_bytes + turned,
    )  # fmt: skip


def measured(path: Path) -> tuple[float, float]:
    """Seconds an atom of the network (all but mesh and waiting) and of the mesh, of the largest run of one rank."""
    results = json.loads(path.read_text())
    runs = [case for name, case in results.items() if name.startswith("lammps default") and "stages" in case]
    best = max((c for c in runs if c["ranks"] == 1 and c["threads"] == 1), key=lambda case: case["atoms"])
    mesh = best["stages"]["long-range sum"] / best["atoms"]
    waiting = best["stages"]["communication"] / best["atoms"]
    return best["seconds_per_step"] / best["atoms"] - mesh - waiting, mesh


def main() -> None:
    """Prints and draws the model."""
    parser = argparse.ArgumentParser(description="Model of the time of a step on many ranks.")
    parser.add_argument("--results", type=Path, help="results.json of run.py")
    parser.add_argument("--network", type=float, default=80.0, help="microseconds an atom without the mesh, one core")
    parser.add_argument("--mesh", type=float, default=0.5, help="microseconds an atom of the mesh, one core")
    parser.add_argument("--latency", type=float, default=2.0, help="microseconds a message")
    parser.add_argument("--bandwidth", type=float, default=0.4, help="GB/s of one rank while its whole node sends")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--atoms", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--ranks", type=int, nargs="+", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--output", type=Path, default=Path("build/lammps_cost_model"), help="folder for table, figure")
    options = parser.parse_args()
    network, mesh = (1e-6 * options.network, 1e-6 * options.mesh)
    if options.results:
        network, mesh = measured(options.results)
    machine = Machine(1e-6 * options.latency, 1e9 * options.bandwidth, network, mesh)
    model = Model(n_layers=options.layers)
    lines = [
        f"network {1e6 * network:.1f} us/atom, mesh {1e6 * mesh:.2f} us/atom, latency {options.latency} us, "
        f"{options.bandwidth} GB/s a rank, {options.layers} layer(s)\n",
        "| atoms | ranks | atoms / rank | ghosts / rank | network ms | mesh ms | halo ms | bricks ms | turns ms "
        "| sums ms | messages / rank | mesh kB / rank | step ms | efficiency % | mesh and its messages % |",
        "|" + " ---: |" * 15,
    ]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for atoms in options.atoms:
        alone = step_of(atoms, 1, machine, model).total
        steps = [step_of(atoms, ranks, machine, model) for ranks in options.ranks]
        for s in steps:
            parts = (s.network, s.mesh, s.halo, s.bricks, s.turns, s.sums)
            share = 100 * (s.mesh + s.bricks + s.turns + s.sums) / s.total
            lines.append(
                f"| {atoms:.0e} | {s.ranks} | {s.atoms_per_rank:.0f} | {s.ghosts_per_rank:.0f} | "
                + " | ".join(f"{1e3 * part:.3g}" for part in parts)
                + f" | {s.messages} | {s.mesh_bytes / 1024:.3g} | {1e3 * s.total:.3g} | "
                f"{100 * alone / s.ranks / s.total:.0f} | {share:.0f} |"
            )
        left.loglog(options.ranks, [1e3 * s.total for s in steps], "o-", label=f"{atoms:.0e} atoms")
        left.loglog(options.ranks, [1e3 * alone / s.ranks for s in steps], ":", color="grey")
        share = [100 * (s.mesh + s.bricks + s.turns + s.sums) / s.total for s in steps]
        right.semilogx(options.ranks, share, "o-", label=f"{atoms:.0e} atoms")
    left.set(xlabel="ranks", ylabel="ms / step (dotted: perfect)")
    right.set(xlabel="ranks", ylabel="mesh and its messages / % of a step", ylim=(0, None))
    right.axhline(10.0, color="grey", linestyle=":")
    left.legend()
    options.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output / "cost_model.png", dpi=130)
    (options.output / "cost_model.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
