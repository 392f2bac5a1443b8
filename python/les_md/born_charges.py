"""Born effective charges of one frame, by the Python model: how its polarization changes when an atom moves.

The engine has them for the hosts; here they are for the evaluation of checkpoints.
"""

from __future__ import annotations

from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.forces import network_output, total_charges_kept
from les_md.model import LESModel
from les_md.polarization import born_charges_of


def born_effective_charges(model: LESModel, frame: AtomsBatch) -> Tensor:
    """Z*_{i,a,b} of one system, (n_atoms, 3, 3), e, with physical charges; see `polarization.born_charges_of`.

    Raises:
        ValueError: `frame` holds more than one system.
    """
    if len(frame[fields.CELL]) != 1:
        raise ValueError(f"`frame` must hold one system, got {len(frame[fields.CELL])}")
    leaf = frame[fields.POSITIONS].detach().requires_grad_(True)
    frame = frame | {fields.POSITIONS: leaf}
    output = network_output(model, frame)
    charges = total_charges_kept(model.settings.long_range, frame, output[fields.LATENT_CHARGES])
    return born_charges_of(model, frame, output, charges, leaf, create_graph=False).detach()
