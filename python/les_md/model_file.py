"""The record of an exported model file: what a host must know before it runs the network.

The C++ twin is csrc/src/model_file.cpp; both refuse what they do not understand with one sentence.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import les_md
from les_md import fields
from les_md.constants import COULOMB_CONSTANT
from les_md.errors import LESError
from les_md.settings import LongRangeSettings, ModelSettings

#: Newest version of the format. Files are marked with the oldest that describes them: 2 has inputs of the whole system.
FORMAT_VERSION = 2


def long_range_record(settings: LongRangeSettings | None) -> dict[str, Any] | None:
    """Long-range part of the record; None for a short-range-only model."""
    if settings is None:
        return None
    record = settings.model_dump(exclude={"n_channels"})
    record["total_charge"] = settings.total_charge or [0.0] * settings.n_channels
    return record


def make_record(
    settings: ModelSettings,
    training: dict[str, Any],
    charge_sign: dict[str, Any] | None,
    bound_symbols: list[str] | None,
    ghost_charges: bool = False,
    element_charges: list[float] | None = None,
    has_layer_entry: bool = False,
    state: tuple[float, float] | None = None,
    has_rows_entry: bool = False,
) -> dict[str, Any]:
    """The record without its content hash.

    Args:
        settings: of the exported model.
        training: summary of the training set, errors and date.
        charge_sign: element and sign by which the common sign of the charges was fixed, per channel.
        bound_symbols: chemical symbols of the atom list the `forward` entry is bound to.
        ghost_charges: whether the network puts charge contributions on ghosts.
        element_charges: constant charges of a model with charge transfers, (n_types,), summed over channels, e.
        has_layer_entry: whether the file has the entry `layer`.
        state: total charge and spin multiplicity for hosts that give none, of models that take them as inputs.
        has_rows_entry: whether the file has the entry `rows`.
    """
    outputs = [fields.NODE_ENERGIES, fields.OFFSET_ENERGIES, fields.LATENT_CHARGES]
    if element_charges:
        outputs.append(fields.TRANSFER_DIPOLES)
    return {
        "format": "les-md",
        "format_version": 2 if settings.state_inputs else 1,
        "les_md_version": les_md.__version__,
        "torch_version": torch.__version__,
        "symbols": settings.symbols,
        "cutoff": settings.cutoff,
        "n_layers": settings.n_layers,
        "receptive_field": settings.receptive_field,
        "layer_entry": has_layer_entry,
        "rows_entry": has_rows_entry,
        "dtype": settings.dtype,
        "outputs": outputs,
        "n_channels": settings.n_channels,
        "ghost_charges": ghost_charges,
        "element_charges": element_charges or [],
        "state_inputs": settings.state_inputs,
        "state": None if state is None else {"total_charge": state[0], "spin": state[1]},
        "long_range": long_range_record(settings.long_range),
        "multipoles": [],
        "response": [],
        "eps_inf": settings.eps_inf,
        "charge_sign": charge_sign,
        "atomic_charge": {
            "kind": "physical: sum over channels times sqrt(eps_inf)",
            "scale": settings.atomic_charge_scale,
        },
        "bound_symbols": bound_symbols,
        "settings": settings.model_dump(),
        "training": training,
    }


def content_hash(record: dict[str, Any], state: dict[str, Tensor]) -> str:
    """SHA-256 over the record and all parameters and buffers, as "sha256:<hex>"."""
    digest = hashlib.sha256()
    digest.update(json.dumps(record, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return "sha256:" + digest.hexdigest()


def read_record(path: str | Path) -> dict[str, Any]:
    """The record of the model file at `path`.

    Raises LESError in one sentence: missing file, not TorchScript, no LES record, newer format version.
    """
    path = Path(path)
    if not path.is_file():
        raise LESError(f"model file {path} does not exist; make it with `les-export model.pt`")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not any(name.endswith("/constants.pkl") for name in names):
                raise zipfile.BadZipFile
            records = [name for name in names if name.endswith(f"/extra/{fields.METADATA_RECORD}")]
            text = archive.read(records[0]) if records else None
    except zipfile.BadZipFile as error:
        raise LESError(f"model file {path} is not a TorchScript archive; make it with `les-export model.pt`") from error
    if text is None:
        raise LESError(f"model file {path} has no LES record; make it with `les-export model.pt`")
    record: dict[str, Any] = json.loads(text)
    if record["format_version"] > FORMAT_VERSION:
        raise LESError(
            f"model file {path} has format version {record['format_version']}, this les-md reads up to "
            f"{FORMAT_VERSION}; update it with `pip install -U les-md`"
        )
    return record


def coulomb_constant_of(record: dict[str, Any]) -> float:
    """1/(4 pi eps0) in eV angstrom / e^2 that a model was trained with."""
    long_range = record["long_range"]
    return float(long_range["coulomb_constant"]) if long_range else COULOMB_CONSTANT
