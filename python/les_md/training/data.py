"""Data of a training, from labelled frames: their checks, split, element energies, neighbour lists and batches.

Everything that can be wrong with data is found here, before any long work, and reported with the file and frame.
Frames stay in memory with their neighbour lists, so a step only joins a few tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.data
import numpy as np
import torch

from les_md import fields
from les_md.batch import AtomsBatch, collate, frame_from_atoms, is_periodic
from les_md.errors import LESError
from les_md.training.labels import LabelledFrame
from les_md.training.loss_settings import CHARGE_LABELS
from les_md.training.settings import TrainSettings

#: Names of label tensors in a batch, beside the fields of `les_md.batch`.
LABEL_ENERGY = "label_energy"  # (n_systems,), eV, float64
LABEL_FORCES = "label_forces"  # (n_atoms, 3), eV/angstrom, float64
LABEL_STRESS = "label_stress"  # (n_systems, 3, 3), eV/angstrom^3, float64; zero where there is none
HAS_STRESS = "has_stress"  # (n_systems,), bool
LABEL_DIPOLE = "label_dipole"  # (n_systems, 3), e angstrom, float64; zero where there is none
HAS_DIPOLE = "has_dipole"  # (n_systems,), bool
LABEL_BORN_CHARGES = "label_born_charges"  # (n_atoms, 3, 3), e, float64; zero where there are none
HAS_BORN_CHARGES = "has_born_charges"  # (n_systems,), bool

#: Atoms whose features show all directions in which they vary, and standard deviation of displacements (angstrom).
_ENOUGH_ATOMS, _DISPLACEMENT = 1000, 0.05
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


#: Numbers over which the errors of a batch or a data set are averaged, by quantity (`settings.QUANTITIES`).
Counts = dict[str, int]


def check_training_frames(train: list[LabelledFrame], settings: TrainSettings) -> None:
    """LESError if a quantity is to be fitted that no training frame has; dipoles without a meaning are taken out."""
    loss, long_range = settings.training.loss, settings.model.long_range
    if loss.uses("stress") and not any(is_periodic(frame.atoms) for frame in train):
        raise LESError(
            "stresses cannot be fitted: all training frames are isolated (pbc='F F F'); set the stress weights in "
            "training.loss to 0"
        )
    for quantity in CHARGE_LABELS:
        if not loss.uses(quantity):
            continue
        key = getattr(settings.data, f"{quantity}_key")
        if all(getattr(frame, quantity) is None for frame in train):
            looked_for = f"`{key}`" if key is not None else f"`{quantity}` or `REF_{quantity}`"
            raise LESError(
                f"no training frame has {quantity.replace('_', ' ')} under {looked_for}; set data.{quantity}_key, or "
                f"training.loss.{quantity} to 0"
            )
    if loss.uses("dipole") and long_range is not None and not long_range.charge_flux:
        drop_periodic_dipoles(train)
        if all(frame.dipole is None for frame in train):
            raise LESError(
                "dipoles cannot be fitted: all training frames that have one are periodic, where only models with "
                "`model.long_range.charge_flux: true` have a polarization; fit Born charges, or set "
                "training.loss.dipole to 0"
            )


def drop_periodic_dipoles(frames: list[LabelledFrame]) -> None:
    """Takes the dipoles of periodic frames out, for models without a polarization there."""
    for frame in frames:
        if is_periodic(frame.atoms):
            frame.dipole = None


def split_frames(
    frames: list[LabelledFrame], fraction: float, seed: int
) -> tuple[list[LabelledFrame], list[LabelledFrame]]:
    """Training and validation frames: a random choice of `fraction` (at least one frame each), in file order."""
    n_valid = min(max(1, round(fraction * len(frames))), len(frames) - 1)
    order = np.random.default_rng(seed).permutation(len(frames))
    chosen = set(order[:n_valid].tolist())
    train = [frame for index, frame in enumerate(frames) if index not in chosen]
    return train, [frame for index, frame in enumerate(frames) if index in chosen]


def representative_frames(frames: list[LabelledFrame], n_frames: int = 3) -> list[ase.Atoms]:
    """The first `n_frames`, one periodic and one isolated if there are both, and more until all elements occur."""
    first_of_kind = {is_periodic(frame.atoms): index for index, frame in reversed(list(enumerate(frames)))}
    chosen = sorted({*range(min(n_frames, len(frames))), *first_of_kind.values()})
    seen = {symbol for index in chosen for symbol in frames[index].atoms.get_chemical_symbols()}
    for index, frame in enumerate(frames):
        found = set(frame.atoms.get_chemical_symbols())
        if not found <= seen:
            chosen.append(index)
            seen |= found
    return [frames[index].atoms for index in chosen]


def choose_symbols(
    train: list[LabelledFrame], valid: list[LabelledFrame], given: list[str], initial_model: Path | None = None
) -> list[str]:
    """Elements in type order: `given`, or those of the training frames by atomic number.

    LESError if `given` and the training frames differ, or if a validation frame has an element that training lacks. An
    `initial_model`, whose elements are `given`, may have more of them than the frames.
    """
    found = {int(number) for frame in train for number in np.unique(frame.atoms.numbers)}
    symbols = [ase.data.chemical_symbols[number] for number in sorted(found)]
    if given:
        for symbol in sorted(set(symbols) - set(given)):
            if initial_model is not None:
                raise _new_element(symbol, "training", given, initial_model)
            raise LESError(f"element {symbol} of the training frames is not in `model.symbols` ({' '.join(given)})")
        for symbol in given:
            if symbol not in symbols and initial_model is None:
                raise LESError(f"element {symbol} of `model.symbols` is in no training frame: it cannot be learned")
        symbols = list(given)
    for frame in valid:
        for symbol in frame.atoms.get_chemical_symbols():
            if symbol not in symbols:
                if initial_model is not None:
                    raise _new_element(symbol, "validation", given, initial_model)
                raise LESError(
                    f"{frame.source}: element {symbol} of the validation frames is in no training frame "
                    f"(training has {' '.join(symbols)})"
                )
    return symbols


def _new_element(symbol: str, part: str, known: list[str], initial_model: Path) -> LESError:
    return LESError(
        f"element {symbol} of the {part} frames is not in the initial model {initial_model} ({' '.join(known)}): "
        "fine-tuning cannot add elements; train a new model on all of them"
    )


def element_energies(
    train: list[LabelledFrame], symbols: list[str], given: dict[str, float] | str | None
) -> np.ndarray:
    """Energies of the elements (n_types,), eV: `given`, or the least-squares fit to the energies of `train`.

    Energies and compositions are taken per atom, as in the loss. Where compositions do not determine the solution (pure
    water: one composition only) it is the one of smallest norm, which fits equally well.
    """
    if isinstance(given, dict):
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
        tensors = frame_from_atoms(frame.atoms, symbols, cutoff, frame.total_charge, frame.spin)
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
    for label, has, value, shape in (
        (LABEL_STRESS, HAS_STRESS, frame.stress, (1, 3, 3)),
        (LABEL_DIPOLE, HAS_DIPOLE, frame.dipole, (1, 3)),
        (LABEL_BORN_CHARGES, HAS_BORN_CHARGES, frame.born_charges, (n_atoms, 3, 3)),
    ):
        tensors[label] = torch.from_numpy(np.zeros(shape) if value is None else value.reshape(shape))
        tensors[has] = torch.tensor([value is not None])
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


def with_displaced_copies(frames: list[AtomsBatch]) -> list[AtomsBatch]:
    """`frames`, and where they have few atoms copies of them with all atoms displaced at random, for feature scales.

    Geometries that are alike leave most directions of the features without any spread, but forces need their slopes.
    """
    n_atoms = sum(int(frame[fields.N_ATOMS].sum()) for frame in frames)
    generator = torch.Generator().manual_seed(0)
    copies = list(frames)
    for frame in frames * (-(-_ENOUGH_ATOMS // n_atoms) - 1):
        positions = frame[fields.POSITIONS]
        moves = _DISPLACEMENT * torch.randn(positions.shape, generator=generator, dtype=positions.dtype)
        copies.append(frame | {fields.POSITIONS: positions + moves})
    return copies


def fingerprint(frames: list[AtomsBatch]) -> str:
    """Hash of positions, cells, types and labels, so that a resumed run is sure to see the same data."""
    digest = hashlib.sha256()
    keys = (fields.POSITIONS, fields.TYPES, fields.CELL, fields.PERIODIC, fields.TOTAL_CHARGE)
    for frame in frames:
        of_charges = [(LABEL_DIPOLE, HAS_DIPOLE), (LABEL_BORN_CHARGES, HAS_BORN_CHARGES)]
        present = [label for label, has in of_charges if bool(frame[has])]
        present += [] if bool(frame[fields.SPIN].isnan()) else [fields.SPIN]
        for key in (*keys, LABEL_ENERGY, LABEL_FORCES, LABEL_STRESS, *present):
            if key in frame:
                digest.update(frame[key].numpy().tobytes())
    return digest.hexdigest()


def count(frames: list[AtomsBatch]) -> Counts:
    """Number of labels in `frames`: energies, and components of everything else."""
    return {
        "energy": sum(LABEL_ENERGY in frame for frame in frames),
        "forces": sum(frame[LABEL_FORCES].numel() for frame in frames if LABEL_FORCES in frame),
        "stress": 9 * sum(bool(frame[HAS_STRESS]) for frame in frames),
        "dipole": 3 * sum(bool(frame[HAS_DIPOLE]) for frame in frames),
        "born_charges": sum(frame[LABEL_BORN_CHARGES].numel() for frame in frames if bool(frame[HAS_BORN_CHARGES])),
    }


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
