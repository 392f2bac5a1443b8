"""Fixing the common sign of the latent charges.

Energies are even in the charges, so training leaves their common sign to chance. At export the sign of one named
element decides it for every channel. Dipoles and Born charges are not even: a training with them starts with the sign
that fits them better, and its models are exported with the sign they learned.
"""

from __future__ import annotations

from typing import Any

import torch

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.errors import LESError
from les_md.forces import evaluate
from les_md.model import LESModel
from les_md.training.data import HAS_BORN_CHARGES, HAS_DIPOLE, LABEL_BORN_CHARGES, LABEL_DIPOLE

#: Pauling electronegativities (CRC Handbook of Chemistry and Physics, 97th edition), for the default choice.
ELECTRONEGATIVITY = {
    "H": 2.20, "Li": 0.98, "Be": 1.57, "B": 2.04, "C": 2.55, "N": 3.04, "O": 3.44, "F": 3.98, "Na": 0.93, "Mg": 1.31,
    "Al": 1.61, "Si": 1.90, "P": 2.19, "S": 2.58, "Cl": 3.16, "K": 0.82, "Ca": 1.00, "Sc": 1.36, "Ti": 1.54, "V": 1.63,
    "Cr": 1.66, "Mn": 1.55, "Fe": 1.83, "Co": 1.88, "Ni": 1.91, "Cu": 1.90, "Zn": 1.65, "Ga": 1.81, "Ge": 2.01,
    "As": 2.18, "Se": 2.55, "Br": 2.96, "Rb": 0.82, "Sr": 0.95, "Y": 1.22, "Zr": 1.33, "Nb": 1.6, "Mo": 2.16,
    "Ru": 2.2, "Rh": 2.28, "Pd": 2.20, "Ag": 1.93, "Cd": 1.69, "In": 1.78, "Sn": 1.96, "Sb": 2.05, "Te": 2.1,
    "I": 2.66, "Cs": 0.79, "Ba": 0.89, "La": 1.10, "Hf": 1.3, "Ta": 1.5, "W": 1.7, "Re": 1.9, "Os": 2.2, "Ir": 2.2,
    "Pt": 2.2, "Au": 2.4, "Hg": 1.9, "Tl": 1.8, "Pb": 1.8, "Bi": 1.9,
}  # fmt: skip


def most_electronegative(symbols: list[str]) -> str:
    """The element whose charge is made negative unless the user names another."""
    return max(symbols, key=lambda symbol: ELECTRONEGATIVITY.get(symbol, 0.0))


def parse_charge_sign(text: str) -> tuple[str, int]:
    """("O", -1) of "O=-1" or "O-"; raises LESError for anything else."""
    for ending, sign in (("=-1", -1), ("=+1", 1), ("=1", 1), ("-", -1), ("+", 1)):
        if text.endswith(ending):
            return text[: -len(ending)], sign
    raise LESError(f"charge sign must look like O=-1 or Na=+1, got '{text}'")


def fix_charge_sign(
    model: LESModel, batch: AtomsBatch, element: str | None = None, sign: int = -1, fitted: bool = False
) -> dict[str, Any]:
    """Flips the charge channels of `model` in which the mean charge of `element` in `batch` has the wrong sign.

    Args:
        fitted: the sign was learned from labels. Without an `element` nothing is flipped then, with one all channels
            together, whose sum was fitted.

    Returns:
        for the record: the element, its sign, and the factor applied to each channel.
    """
    symbols = model.settings.symbols
    keep = fitted and element is None
    element = element or most_electronegative(symbols)
    if element not in symbols:
        raise LESError(f"charge sign: element {element} is not in the model, which knows {' '.join(symbols)}")
    chosen = batch[fields.TYPES] == symbols.index(element)
    if not bool(chosen.any()):
        raise LESError(
            f"charge sign: no atom of element {element} in the check frames; give frames that hold it with --check"
        )
    mean = evaluate(model, batch, virial=False)[fields.LATENT_CHARGES][chosen].mean(0)
    if fitted:
        mean = mean.sum().expand_as(mean)
    if keep:
        sign = -1 if float(mean[0]) < 0 else 1
    factors = torch.where(mean * sign < 0, -1.0, 1.0)
    model.charge_sign.mul_(factors.to(model.charge_sign.dtype))
    return {"element": element, "sign": sign, "factors": factors.tolist()}


def align_charge_sign(model: LESModel, frames: list[AtomsBatch]) -> None:
    """Flips all channels of `model` together if the dipoles of `frames`, or their Born charges, fit better then.

    Gradient descent on dipoles would have to bring charges of the wrong sign through zero, where forces are worst.
    """
    product = 0.0
    for frame in frames:
        dipole, born = bool(frame[HAS_DIPOLE]), bool(frame[HAS_BORN_CHARGES])
        output = evaluate(model, frame, virial=False, polarization=dipole, born_charges=born)
        if dipole and not bool(frame[fields.PERIODIC]):
            product += float((output[fields.POLARIZATION].detach() * frame[LABEL_DIPOLE]).sum())
        if born:
            product += float((output[fields.BORN_CHARGES].detach() * frame[LABEL_BORN_CHARGES]).sum())
    if product < 0.0:
        model.charge_sign.neg_()
