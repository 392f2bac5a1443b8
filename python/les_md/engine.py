"""The compiled engine for Python: numpy arrays in, numpy arrays out, errors as `LESError`.

`les_md.ase`, `les-eval` and the check of `les-export` run the same C++ code as LAMMPS and OpenMM do.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from les_md.errors import LESError


def minor_version(version: str) -> str:
    """ "2.13" of "2.13.0+cpu"."""
    return ".".join(version.split(".")[:2])


def check_versions(built_with: str, installed: str, package: str) -> None:
    """Raises LESError unless `installed` has the minor version of `built_with`."""
    if minor_version(built_with) != minor_version(installed):
        raise LESError(
            f"les-md was built with {package} {built_with}, but {package} {installed} is installed; run `pip install "
            f"{package}=={minor_version(built_with)}.*` or build les-md again"
        )


def load_core() -> ModuleType:
    """The extension module, after the version of torch was checked; raises LESError if it is not built."""
    try:
        from les_md import _build_info
    except ImportError as error:
        raise LESError("the compiled engine of les-md is not installed; run `pip install .` in its folder") from error
    check_versions(_build_info.built_with_torch, torch.__version__, "torch")
    try:
        from les_md import _core  # type: ignore[attr-defined]
    except ImportError as error:
        raise LESError(f"the compiled engine of les-md cannot be loaded: {str(error).splitlines()[0]}") from error
    return _core


class Engine:
    """Energy, forces, virial and charges of one model.

    Args:
        model: path of an exported file, or its bytes.
        device: "cpu", or "cuda" with a CUDA build of torch.
        threads: threads of network and sums; None leaves torch's setting.
        total_charge: e, for models trained with neutrality; None takes the model's own.
        skin: angstrom; the neighbour list is searched anew when an atom has moved more than half of it.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        device: str = "cpu",
        threads: int | None = None,
        total_charge: float | None = None,
        skin: float = 0.5,
    ) -> None:
        self._core = load_core()
        try:
            if isinstance(model, bytes):
                self._file = self._core.ModelFile.from_bytes(model, "in memory")
            else:
                self._file = self._core.ModelFile.from_path(str(model))
            self._engine = self._core.Engine(self._file, device, threads, total_charge, skin)
        except self._core.EngineError as error:
            raise LESError(str(error)) from None
        self.record: dict[str, Any] = json.loads(self._file.metadata_json)
        self.symbols: list[str] = self.record["symbols"]

    def types_of(self, symbols: list[str]) -> np.ndarray:
        """Types (n_atoms,) int32 of chemical `symbols`; raises LESError for an element the model does not know."""
        try:
            return np.array(self._file.types_of(list(symbols)), dtype=np.int32)
        except self._core.EngineError as error:
            raise LESError(str(error)) from None

    def compute(
        self, positions: np.ndarray, types: np.ndarray, cell: np.ndarray | None = None, periodic: bool = False
    ) -> dict[str, Any]:
        """Evaluates one system with the engine's own neighbour list.

        Args:
            positions: (n_atoms, 3), angstrom.
            types: (n_atoms,), index into `symbols`.
            cell: (3, 3), rows are lattice vectors, angstrom; needed if `periodic`.

        Returns:
            energy, short_range_energy, long_range_energy (eV); forces (n_atoms, 3) eV/angstrom; virial (3, 3) eV;
            node_energies and atom_energies (n_atoms,) eV, the latter with q phi / 2; latent_charges and potentials
            (n_atoms, n_channels) in e and V.
        """
        try:
            return self._engine.compute(positions, types, np.eye(3) if cell is None else cell, periodic)
        except self._core.EngineError as error:
            raise LESError(str(error)) from None

    def compute_with_edges(
        self,
        positions: np.ndarray,
        types: np.ndarray,
        cell: np.ndarray,
        periodic: bool,
        edges: tuple[np.ndarray, np.ndarray, np.ndarray],
        n_local: int,
    ) -> dict[str, Any]:
        """Evaluates with given edges (centres, neighbours, cell_shifts), as a host with its own list does."""
        try:
            return self._engine.compute_with_edges(positions, types, cell, periodic, *edges, n_local)
        except self._core.EngineError as error:
            raise LESError(str(error)) from None

    @property
    def long_range_description(self) -> str:
        """What the last evaluation summed."""
        return str(self._engine.long_range_description)
