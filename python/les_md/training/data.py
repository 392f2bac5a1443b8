"""Data of a training, from labelled frames: their checks, split, element energies, neighbour lists and batches.

Everything that can be wrong with data is found here, before any long work, and reported with the file and frame.
Frames stay in memory with their neighbour lists, so a step only joins a few tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import ase
import ase.data
import numpy as np
import torch

from les_md import fields
from les_md.batch import AtomsBatch, collate, frame_from_atoms, is_periodic
from les_md.errors import LESError
from les_md.training.labels import LabelledFrame

#: Names of label tensors in a batch, beside the fields of `les_md.batch`.
LABEL_ENERGY = "label_energy"  # (n_systems,), eV, float64
LABEL_FORCES = "label_forces"  # (n_atoms, 3), eV/angstrom, float64
LABEL_STRESS = "label_stress"  # (n_systems, 3, 3), eV/angstrom^3, float64; zero where there is none
HAS_STRESS = "has_stress"  # (n_systems,), bool

#: Atoms closer than this (angstrom) are taken for a mistake: every potential is meaningless there.
_SMALLEST_DISTANCE = 0.05


@dataclass
class TrainingData:
    """Frames as tensors, with what was derived from them."""

    train: list[AtomsBatch]
    valid: list[AtomsBatch]
    symbols: list[str]
    element_energies: np.ndarray  # (n_types,), eV
    fingerprint: str
    check_frames: list[ase.Atoms]  # a few real frames that show all elements, kept with the model for its export


@dataclass
class Counts:
    """Numbers over which the errors of a batch or a data set are averaged."""

    n_energies: int
    n_force_components: int
    n_stress_components: int


def check_training_frames(train: list[LabelledFrame], fits_stress: bool) -> None:
    """LESError if stresses are to be fitted and no frame can have one."""
    if fits_stress and not any(is_periodic(frame.atoms) for frame in train):
        raise LESError(
            "stresses cannot be fitted: all training frames are isolated (pbc='F F F'); set the stress weights in "
            "training.loss to 0"
        )


def split_frames(
    frames: list[LabelledFrame], fraction: float, seed: int
) -> tuple[list[LabelledFrame], list[LabelledFrame]]:
    """Training and validation frames: a random choice of `fraction` (at least one frame each), in file order."""
    n_valid = min(max(1, round(fraction * len(frames))), len(frames) - 1)
    order = np.random.default_rng(seed).permutation(len(frames))
    chosen = set(order[:n_valid].tolist())
    train = [frame for index, frame in enumerate(frames) if index not in chosen]
    return train, [frame for index, frame in enumerate(frames) if index in chosen]


def representative_frames(frames: list[LabelledFrame], symbols: list[str], n_frames: int = 3) -> list[ase.Atoms]:
    """The first `n_frames`, one periodic and one isolated if there are both, and more until every symbol occurs."""
    first_of_kind = {is_periodic(frame.atoms): index for index, frame in reversed(list(enumerate(frames)))}
    chosen = sorted({*range(min(n_frames, len(frames))), *first_of_kind.values()})
    seen = {symbol for index in chosen for symbol in frames[index].atoms.get_chemical_symbols()}
    for index, frame in enumerate(frames):
        found = set(frame.atoms.get_chemical_symbols())
        if not found <= seen:
            chosen.append(index)
            seen |= found
    assert seen == set(symbols)
    return [frames[index].atoms for index in chosen]


def choose_symbols(train: list[LabelledFrame], valid: list[LabelledFrame], given: list[str]) -> list[str]:
    """Elements in type order: `given`, or those of the training frames by atomic number.

    LESError if `given` and the training frames differ, or if a validation frame has an element that training lacks.
    """
    found = {int(number) for frame in train for number in np.unique(frame.atoms.numbers)}
    symbols = [ase.data.chemical_symbols[number] for number in sorted(found)]
    if given:
        for symbol in set(symbols) - set(given):
            raise LESError(f"element {symbol} of the training frames is not in `model.symbols` ({' '.join(given)})")
        for symbol in given:
            if symbol not in symbols:
                raise LESError(f"element {symbol} of `model.symbols` is in no training frame: it cannot be learned")
        symbols = list(given)
    for frame in valid:
        for symbol in frame.atoms.get_chemical_symbols():
            if symbol not in symbols:
                raise LESError(
                    f"{frame.source}: element {symbol} of the validation frames is in no training frame "
                    f"(training has {' '.join(symbols)})"
                )
    return symbols


def element_energies(train: list[LabelledFrame], symbols: list[str], given: dict[str, float] | None) -> np.ndarray:
    """Energies of the elements (n_types,), eV: `given`, or the least-squares fit to the energies of `train`.

    Energies and compositions are taken per atom, as in the loss. Where compositions do not determine the solution (pure
    water: one composition only) it is the one of smallest norm, which fits equally well.
    """
    if given is not None:
        for symbol in symbols:
            if symbol not in given:
                raise LESError(f"`data.element_energies` lacks element {symbol}")
        for symbol in given:
            if symbol not in symbols:
                raise LESError(f"`data.element_energies` names {symbol}, which is in no training frame")
        return np.array([given[symbol] for symbol in symbols], dtype=np.float64)
    if any(frame.energy is None for frame in train):
        return np.zeros(len(symbols))
    numbers = [ase.data.atomic_numbers[symbol] for symbol in symbols]
    composition = np.array([[np.sum(frame.atoms.numbers == number) for number in numbers] for frame in train], float)
    n_atoms = composition.sum(1)
    energies = np.array([frame.energy for frame in train], dtype=np.float64)
    solution, *_ = np.linalg.lstsq(composition / n_atoms[:, None], energies / n_atoms, rcond=1e-10)
    return solution


def build_frame(frame: LabelledFrame, symbols: list[str], cutoff: float, allow_lone_atoms: bool) -> AtomsBatch:
    """`frame` as tensors with neighbour list and labels; LESError if atoms coincide or one has no neighbour.

    A frame of one atom needs no neighbours.
    """
    try:
        tensors = frame_from_atoms(frame.atoms, symbols, cutoff, frame.total_charge)
    except LESError as error:
        raise LESError(f"{frame.source}: {error}") from None
    n_atoms = len(frame.atoms)
    centres, neighbours = tensors[fields.EDGE_INDEX].numpy()
    if n_atoms > 1 and not allow_lone_atoms:
        n_neighbours = np.bincount(centres, minlength=n_atoms)
        lone = int(np.argmin(n_neighbours))
        if n_neighbours[lone] == 0:
            raise LESError(
                f"{frame.source}: atom {lone} ({frame.atoms.symbols[lone]}) has no neighbour within the cutoff of "
                f"{cutoff:g} angstrom; check the length unit, or set data.allow_lone_atoms: true"
            )
    positions, shifts = tensors[fields.POSITIONS].numpy(), tensors[fields.CELL_SHIFTS].numpy()
    vectors = positions[neighbours] - positions[centres] + shifts @ tensors[fields.CELL].numpy()[0]
    lengths = np.linalg.norm(vectors, axis=1)
    if len(lengths) and lengths.min() < _SMALLEST_DISTANCE:
        edge = int(np.argmin(lengths))
        raise LESError(
            f"{frame.source}: atoms {centres[edge]} and {neighbours[edge]} are {lengths[edge]:.3g} angstrom apart"
        )
    if frame.energy is not None:
        tensors[LABEL_ENERGY] = torch.tensor([frame.energy], dtype=torch.float64)
    if frame.forces is not None:
        tensors[LABEL_FORCES] = torch.from_numpy(frame.forces)
    stress = np.zeros((3, 3)) if frame.stress is None else frame.stress
    tensors[LABEL_STRESS] = torch.from_numpy(stress).unsqueeze(0)
    tensors[HAS_STRESS] = torch.tensor([frame.stress is not None])
    return tensors


def build_frames(
    frames: list[LabelledFrame], symbols: list[str], cutoff: float, allow_lone_atoms: bool
) -> list[AtomsBatch]:
    """`build_frame` of every frame. Energies and forces are kept as labels if all frames have them."""
    built = [build_frame(frame, symbols, cutoff, allow_lone_atoms) for frame in frames]
    for key in (LABEL_ENERGY, LABEL_FORCES):
        if not all(key in tensors for tensors in built):
            for tensors in built:
                tensors.pop(key, None)
    return built


def fingerprint(frames: list[AtomsBatch]) -> str:
    """Hash of positions, cells, types and labels, so that a resumed run is sure to see the same data."""
    digest = hashlib.sha256()
    keys = (fields.POSITIONS, fields.TYPES, fields.CELL, fields.PERIODIC, fields.TOTAL_CHARGE)
    for frame in frames:
        for key in (*keys, LABEL_ENERGY, LABEL_FORCES, LABEL_STRESS):
            if key in frame:
                digest.update(frame[key].numpy().tobytes())
    return digest.hexdigest()


def count(frames: list[AtomsBatch]) -> Counts:
    """Number of labels in `frames`: energies, force components, stress components."""
    return Counts(
        n_energies=sum(LABEL_ENERGY in frame for frame in frames),
        n_force_components=sum(frame[LABEL_FORCES].numel() for frame in frames if LABEL_FORCES in frame),
        n_stress_components=9 * sum(bool(frame[HAS_STRESS]) for frame in frames),
    )


class FrameBatches:
    """Batches of frames for one of several processes, as an iterable with a length.

    With a `seed` the order is a permutation drawn from (seed, epoch), otherwise that of the frames. Every step takes
    `batch_size` frames, of which process `rank` gets every `n_ranks`-th; it may get none. All processes take the
    same number of steps. Items are `(batch or None, counts)`, with the counts of the whole step over all processes.
    """

    def __init__(
        self, frames: list[AtomsBatch], batch_size: int, rank: int = 0, n_ranks: int = 1, seed: int | None = None
    ) -> None:
        self.frames = frames
        self.batch_size = batch_size
        self.rank = rank
        self.n_ranks = n_ranks
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.frames) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[AtomsBatch | None, Counts]]:
        order = np.arange(len(self.frames))
        if self.seed is not None:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.frames))
        for start in range(0, len(order), self.batch_size):
            step = [self.frames[index] for index in order[start : start + self.batch_size]]
            own = step[self.rank :: self.n_ranks]
            yield (collate(own) if own else None), count(step)
