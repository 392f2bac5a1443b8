"""Modules bound to an atom list for OpenMM-Torch's `TorchForce`, which passes no elements."""

from __future__ import annotations

import os
from typing import Any

import torch

from les_md.batch import types_of
from les_md.export import torchscript
from les_md.model_file import read_record
from les_md.openmm.topology import symbols_and_periodic


def torchforce_module(file: str | os.PathLike[str], symbols_or_topology: Any) -> torch.jit.ScriptModule:
    """The exported `file` bound to an atom list, for `openmmtorch.TorchForce(module)` or `module.save(path)`.

    Its forward(positions, boxvectors=None) takes nm and returns the energy in kJ/mol; it needs none of our libraries.
    `les-export --atoms` writes a bound file that keeps the record other hosts need.

    Raises:
        LESError: the file cannot be used, an element is unknown or a particle is no atom.
    """
    symbols, _ = symbols_and_periodic(symbols_or_topology, None)
    record = read_record(os.fspath(file))
    types = types_of(symbols, record["symbols"])
    with torchscript():
        module = torch.jit.load(os.fspath(file), map_location="cpu")
    module.bound = True
    module.bound_types = torch.from_numpy(types)
    return module
