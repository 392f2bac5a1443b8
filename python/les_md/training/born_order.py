"""Order of the indices of Born effective charges in files, and the sum rule that tells it.

A program may write dP_a/dr_ib with the index of the polarization first, as this package has it, or with that of the
displacement first. Both read without an error, and a fit to the wrong one is a fit to other physics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np

from les_md.errors import LESError

Order = Literal["polarization_first", "displacement_first"]
POLARIZATION_FIRST: Order = "polarization_first"

#: An order is refused if the other one breaks the sum rule this many times less, ...
_CLEARLY_BETTER = 3.0
#: ... and if it breaks the rule by more than this part of the dipoles; labels of grids and finite differences do a bit.
_BROKEN = 0.05

#: Positions (n_atoms, 3), dipole (3,) and Born charges (n_atoms, 3, 3) of an isolated frame, e and angstrom.
Molecule = tuple[np.ndarray, np.ndarray, np.ndarray]


def in_order(born_charges: np.ndarray, order: Order) -> np.ndarray:
    """Born charges (n_atoms, 3, 3) as dP_a/dr_ib, from numbers stored in `order`."""
    return born_charges if order == POLARIZATION_FIRST else born_charges.transpose(0, 2, 1)


def rotation_error(molecules: Iterable[Molecule]) -> tuple[float, float]:
    """By how much Born charges break the sum rule of rotation, and the size of the dipoles in it, e angstrom.

    Atoms and dipole turn together, r_i -> r_i + w x r_i and mu -> mu + w x mu, so that
    sum_ib Z_iab (w x r_i)_b = (w x mu)_a for every w. Root mean squares over molecules, w and a.
    """
    errors, sizes = [], []
    for positions, dipole, born_charges in molecules:
        for axis in np.eye(3):
            turned = np.cross(axis, dipole)
            errors.append(np.einsum("iab,ib->a", born_charges, np.cross(axis, positions)) - turned)
            sizes.append(turned)
    return float(np.sqrt(np.mean(np.square(errors)))), float(np.sqrt(np.mean(np.square(sizes))))


def check_order(molecules: list[Molecule], order: Order, setting: str) -> None:
    """LESError if `molecules`, read as stored in `order`, plainly obey the sum rule in the other order."""
    if not molecules:
        return
    error, size = rotation_error(molecules)
    exchanged, _ = rotation_error((r, dipole, born.transpose(0, 2, 1)) for r, dipole, born in molecules)
    if error > max(_BROKEN * size, _CLEARLY_BETTER * exchanged):
        (other,) = {*get_args(Order)} - {order}
        raise LESError(
            f"Born charges: the order {order} breaks the sum rule of rotation by {error:.2g} e angstrom, {other} by "
            f"{exchanged:.2g} (dipoles: {size:.2g}); set {setting} to {other}"
        )
