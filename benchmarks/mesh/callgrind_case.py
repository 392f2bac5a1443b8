"""The program that callgrind.py runs under valgrind: atoms, accuracy and number of evaluations on the command line."""

from __future__ import annotations

import sys

import torch
from systems import water

import les_md


def main() -> None:
    """Makes a box and evaluates it so many times."""
    torch.set_num_threads(1)
    box = water(int(sys.argv[1]))
    solver = les_md.MeshSolver(accuracy=float(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        solver.compute(box.charges, box.positions, box.cell)


if __name__ == "__main__":
    main()
