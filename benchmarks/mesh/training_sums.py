"""Direct sum and particle mesh as a training uses them: energy, forces, virial, and the gradient of a loss on them.

Random charges at the density of water, one thread, processor time of the best of five runs. It prints the rows of the
table in docs/training.md: python benchmarks/mesh/training_sums.py [numbers of atoms]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from les_md.constants import COULOMB_CONSTANT, converged_k_cutoff
from les_md.ewald import periodic_energy
from les_md.mesh_operator import mesh_energy, plan_mesh

VOLUME_OF_AN_ATOM = 10.0  # cubic angstrom
ACCURACY = 1e-5
LARGEST_DIRECT = 4000  # atoms


def milliseconds(energy: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, r: Tensor, cell: Tensor) -> float:
    """Processor time of one training evaluation of energy(charges, positions, cell)."""
    best = float("inf")
    for _ in range(5):
        strain = torch.zeros(3, 3, dtype=torch.float64)
        variables = [tensor.clone().requires_grad_() for tensor in (q, r, strain)]
        start = time.process_time()
        value = energy(variables[0], variables[1] + variables[1] @ variables[2], cell + cell @ variables[2])
        slopes = torch.autograd.grad(value, variables[1:], create_graph=True)
        loss = value.square() + sum(slope.square().sum() for slope in slopes)
        torch.autograd.grad(loss, variables[0])
        best = min(best, time.process_time() - start)
    return 1e3 * best


def main() -> None:
    torch.set_num_threads(1)
    print("| atoms | direct, converged kernel | mesh | direct, `k_cutoff` 3.14 | mesh |\n|---|---|---|---|---|")
    for n_atoms in [int(text) for text in sys.argv[1:]] or [96, 192, 768, 3072, 12288]:
        torch.manual_seed(0)
        length = (n_atoms * VOLUME_OF_AN_ATOM) ** (1.0 / 3.0)
        cell = length * torch.eye(3, dtype=torch.float64)
        q = torch.randn(n_atoms, 1, dtype=torch.float64)
        r = length * torch.rand(n_atoms, 3, dtype=torch.float64)
        row = [str(n_atoms)]
        for k_cutoff in (None, 3.14):
            plan = plan_mesh(cell, n_atoms, 1.0, k_cutoff, ACCURACY)
            reach = k_cutoff or converged_k_cutoff(1.0)
            sums = [
                lambda q, r, cell, reach=reach: periodic_energy(q, r, cell, 1.0, reach, COULOMB_CONSTANT, True),
                lambda q, r, cell, plan=plan: mesh_energy(q, r, cell, plan, 1.0, COULOMB_CONSTANT, True),
            ]
            for kind, energy in zip(("direct", "mesh"), sums, strict=True):
                skipped = kind == "direct" and n_atoms > LARGEST_DIRECT
                row.append("" if skipped else f"{milliseconds(energy, q, r, cell):.3g} ms")
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
