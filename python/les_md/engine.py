"""The compiled engine for Python: numpy arrays in, numpy arrays out, errors as `LESError`.

`les_md.ase`, `les-eval` and the check of `les-export` run the same C++ code as LAMMPS and OpenMM do.
"""

from __future__ import annotations

import json
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
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


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if not isinstance(value, Real):
        raise TypeError
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError
    return bool(value)


def _mesh(value: Iterable[Any]) -> tuple[int, int, int]:
    first, second, third = (operator.index(points) for points in value)
    return first, second, third


#: Options of the long-range solver by name: what reads a value, and what a value of that kind is called.
_LONG_RANGE_OPTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "solver": (_word, "'auto', 'mesh' or 'direct'"),
    "accuracy": (_number, "a number"),
    "window": (_word, "'kaiser_bessel' or 'b_spline'"),
    "interpolation_nodes": (operator.index, "a whole number or None"),
    "mesh_spacing": (_number, "a number or None"),
    "mesh": (_mesh, "three whole numbers or None"),
    "mesh_dtype": (_word, "'float32', 'float64' or None"),
    "freeze_k_set": (_flag, "True or False"),
}
_MAY_BE_NONE = {"interpolation_nodes", "mesh_spacing", "mesh", "mesh_dtype"}


def long_range_option(name: str, value: Any) -> Any:
    """`value` as the engine takes option `name` of the long-range solver; raises LESError if it is of another kind.

    Which words and numbers can be used is checked by the engine, for every host alike.
    """
    read, expected = _LONG_RANGE_OPTIONS[name]
    if value is None and name in _MAY_BE_NONE:
        return None
    try:
        return read(value)
    except (TypeError, ValueError):
        raise LESError(f"`{name}` must be {expected}, got {value!r:.60}") from None


def check_graphs(graphs: Any) -> None:
    """Raises LESError for a `graphs` that is no word; which words there are is known to the engine."""
    if not isinstance(graphs, str):
        raise LESError(f"`graphs` must be 'auto', 'on' or 'off', got {graphs!r:.60}")


@contextmanager
def unrelated_frames() -> Iterator[None]:
    """For evaluations of frames that are no trajectory: a change of the cell between them is worth no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="this model sums wave vectors up to its own k_cutoff")
        yield


class Engine:
    """Energy, forces, virial and charges of one model.

    What the user should know of an evaluation, such as that the wave vectors of a model with a `k_cutoff` change with
    the cell, comes once as a UserWarning.

    Args:
        model: path of an exported file, or its bytes.
        device: "cpu", or "cuda" or "cuda:N" with a CUDA build of torch, see docs/gpu.md.
        threads: threads of network and sums; None leaves torch's setting.
        total_charge: e, for models trained with neutrality or `charge_embedding`; None takes the model's own.
        skin: angstrom; the neighbour list is searched anew when an atom has moved more than half of it.
        graph_memory: GB for the values that a network of one layer keeps from its forward to its backward pass; systems
            that would need more have them computed again, block by block.
        solver: how the long-range energy of a periodic system is summed: "mesh", "direct", or "auto", whichever is
            expected to be faster for the first system evaluated.
        accuracy: rms force error of the mesh over the rms force of the same charges placed at random, 1e-8 to 1e-2.
        window: what spreads charges on the mesh, "kaiser_bessel" or "b_spline".
        interpolation_nodes: mesh points per axis that one charge is spread on; None chooses them.
        mesh_spacing: angstrom, largest distance of mesh points along a lattice vector; None chooses it.
        mesh: three numbers of mesh points along the lattice vectors; None takes them from the spacing.
        mesh_dtype: precision of mesh and transforms, "float32" or "float64"; None takes that of the network, or
            float64 where the accuracy needs it.
        freeze_k_set: True keeps the wave vectors of the first cell for a model with a `k_cutoff`.
        spin: multiplicity 2S + 1, for models with the spin as input; None takes that of the file, 1 by default.
        deterministic: True: on a GPU, the same bits in every run; on the CPU that is so anyway with the same `threads`.
        graphs: on a GPU, whole steps as CUDA graphs, one launch each: "auto" (up to 10^4 atoms), "on" or "off"; "on" is
            refused on the CPU.

    Raises:
        LESError: the model, the device or an option cannot be used.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        device: str = "cpu",
        threads: int | None = None,
        total_charge: float | None = None,
        skin: float = 0.5,
        *,
        graph_memory: float = 2.0,
        solver: str = "auto",
        accuracy: float = 1e-4,
        window: str = "kaiser_bessel",
        interpolation_nodes: int | None = None,
        mesh_spacing: float | None = None,
        mesh: Iterable[int] | None = None,
        mesh_dtype: str | None = None,
        freeze_k_set: bool = False,
        spin: float | None = None,
        deterministic: bool = False,
        graphs: str = "auto",
    ) -> None:
        if not isinstance(deterministic, bool):
            raise LESError(f"`deterministic` must be True or False, got {deterministic!r:.60}")
        check_graphs(graphs)
        long_range = {
            "solver": solver,
            "accuracy": accuracy,
            "window": window,
            "interpolation_nodes": interpolation_nodes,
            "mesh_spacing": mesh_spacing,
            "mesh": mesh,
            "mesh_dtype": mesh_dtype,
            "freeze_k_set": freeze_k_set,
        }
        long_range = {name: long_range_option(name, value) for name, value in long_range.items()}
        self._core = load_core()
        try:
            if isinstance(model, bytes):
                self._file = self._core.ModelFile.from_bytes(model, "in memory")
            else:
                self._file = self._core.ModelFile.from_path(str(model))
            self._engine = self._core.Engine(
                self._file,
                device,
                threads,
                total_charge,
                skin,
                graph_memory=float(graph_memory),
                spin=spin,
                deterministic=deterministic,
                graphs=graphs,
                **long_range,
            )
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
        self,
        positions: np.ndarray,
        types: np.ndarray,
        cell: np.ndarray | None = None,
        periodic: bool = False,
        *,
        field: Iterable[float] = (0.0, 0.0, 0.0),
        velocities: np.ndarray | None = None,
        unwrapped_positions: np.ndarray | None = None,
        born_charges: bool = False,
        external_positions: np.ndarray | None = None,
        external_charges: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Evaluates one system with the engine's own neighbour list.

        Args:
            positions: (n_atoms, 3), angstrom.
            types: (n_atoms,), index into `symbols`.
            cell: (3, 3), rows are lattice vectors, angstrom; needed if `periodic`.
            field: (3,), external electric field, V/angstrom.
            velocities: (n_atoms, 3), angstrom/ps; with them the polarization current is computed.
            unwrapped_positions: (n_atoms, 3), angstrom, followed through periodic boundaries, for the polarization;
                None: `positions`.
            born_charges: also compute Born effective charges.
            external_positions: (n_external, 3), angstrom, of fixed charges outside the model, as of a classical force
                field. They act on its latent charges and are acted on by them, not by each other.
            external_charges: (n_external,), e.

        Returns:
            energy and its terms short_range_energy, long_range_energy, field_energy, embedding_energy (eV), the last of
            the external charges; external_forces (n_external, 3) eV/angstrom and external_potentials (n_atoms,) V of
            those; polarization (3,) e angstrom, zero where it is not defined; polarization_current (3,) e angstrom/ps;
            born_charges (n_atoms, 3, 3) e, if asked for, dP_a/dr_ib; forces (n_atoms, 3) eV/angstrom; virial (3, 3) eV;
            node_energies and atom_energies (n_atoms,) eV, the latter with q phi / 2; latent_charges and potentials
            (n_atoms, n_channels) in e and V.
        """
        response = self._response(field, velocities, unwrapped_positions, born_charges)
        box = np.eye(3) if cell is None else cell
        if (external_positions is None) != (external_charges is None):
            raise LESError("`external_positions` and `external_charges` must be given together, got one of them")
        external = (
            np.zeros((0, 3)) if external_positions is None else external_positions,
            np.zeros(0) if external_charges is None else external_charges,
        )
        return self._evaluated(self._engine.compute, positions, types, box, periodic, response, *external)

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
        response = self._response((0.0, 0.0, 0.0), None, None, False)
        arguments = (positions, types, cell, periodic, *edges, n_local, response)
        return self._evaluated(self._engine.compute_with_edges, *arguments)

    def _response(
        self, field: Iterable[float], velocities: np.ndarray | None, unwrapped: np.ndarray | None, born_charges: bool
    ) -> Any:
        try:
            vector = [float(component) for component in field]
        except (TypeError, ValueError):
            vector = []
        if len(vector) != 3 or not np.isfinite(vector).all():
            raise LESError(f"`field` must be three finite numbers in V/angstrom, got {field!r:.60}")
        return self._core.Response(vector, velocities, unwrapped, born_charges)

    def _evaluated(self, compute: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        try:
            results = compute(*arguments)
        except self._core.EngineError as error:
            raise LESError(str(error)) from None
        for sentence in self._engine.take_warnings():
            warnings.warn(sentence, UserWarning, stacklevel=3)
        return results

    @property
    def long_range_description(self) -> str:
        """One line on the long-range sum of the last evaluation: solver, mesh, window, accuracy; "none" before it."""
        return str(self._engine.long_range_description)
