"""Models and boxes of the LAMMPS benchmarks: the model of the package's default size, variants of it, and water.

Weights are random, with scales taken from the structure and small energies, so that water stays water for the few steps
of a benchmark. A trained model takes the same time.
"""

from __future__ import annotations

from pathlib import Path

import ase
import ase.build
import numpy as np
import torch
from ase.io.lammpsdata import write_lammps_data
from scipy.spatial.transform import Rotation

from les_md.batch import collate, frame_from_atoms
from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings

SYMBOLS = ["O", "H"]
#: Molecules along each axis of the box that is replicated, and the edge of one molecule's share, angstrom.
SIDE, EDGE = 7, 30.0 ** (1.0 / 3.0)
#: Settings that differ from the package's defaults.
MODELS: dict[str, dict[str, object]] = {
    "default": {},
    "no_charges": {"long_range": None},
    "two_layers": {"n_layers": 2},
    "tiny": {"cutoff": 3.0, "n_radial": 3, "l_max": 1, "body_order": 3, "channels": 4, "hidden": [4]},
}
MODELS["tiny_layers"] = {**MODELS["tiny"], "n_layers": 2, "long_range": None}
#: Without entries for its layers: the pair style needs ghosts to the receptive field.
MODELS["two_layers_at_once"] = MODELS["two_layers"]


def water(sides: tuple[int, int, int]) -> ase.Atoms:
    """Water molecules with random orientations on a lattice, 0.1 atoms / angstrom^3."""
    molecule = ase.build.molecule("H2O")
    molecule.positions -= molecule.get_center_of_mass()
    turns = Rotation.random(sides[0] * sides[1] * sides[2], random_state=1).as_matrix()
    places = (np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1).reshape(-1, 3) + 0.5) * EDGE
    positions = np.einsum("ij,njk->nik", molecule.positions, turns) + places[:, None]
    symbols = molecule.get_chemical_symbols() * len(places)
    atoms = ase.Atoms(symbols, positions.reshape(-1, 3), cell=np.array(sides) * EDGE, pbc=True)
    atoms.wrap()
    return atoms


def lattice(side: int, spacing: float = 2.2) -> ase.Atoms:
    """Atoms of both elements in turn on a simple cubic lattice; a fluid that stays one under a short repulsion."""
    places = np.array(list(np.ndindex(side, side, side)), dtype=float) * spacing
    symbols = [SYMBOLS[i % 2] for i in range(len(places))]
    return ase.Atoms(symbols, places, cell=[side * spacing] * 3, pbc=True)


def write_box(path: Path, atoms: ase.Atoms) -> None:
    """`atoms` as a data file with charges."""
    write_lammps_data(path, atoms, specorder=SYMBOLS, atom_style="charge", units="metal", masses=True)


def write_model(path: Path, name: str, dtype: str = "float32") -> None:
    """Exports the model `name` with random weights."""
    torch.manual_seed(0)
    settings = {"long_range": LongRangeSettings(), "dtype": dtype, **MODELS[name]}
    model = LESModel(ModelSettings(symbols=SYMBOLS, **settings))
    frame = frame_from_atoms(water((4, 4, 4)), SYMBOLS, model.settings.cutoff)
    model.initialize_scales(collate([frame]), energy_scale=0.0002 if name == "tiny_layers" else 0.02)
    if model.n_channels > 0:
        # charges of water, which vary a little with the surroundings
        charges = torch.tensor([[-0.8], [0.4]]) * (0.1 if name.startswith("tiny") else 1.0)
        model.charge_head.constant.data[:] = charges / model.charge_head.output_scale
        model.charge_head.output.weight.data *= 0.1
        model.charge_head.linear.weight.data *= 0.1
    model.backbone.has_layer_entry &= not name.endswith("_at_once")
    temporary = path.with_name("." + path.name)
    write_model_file(model, temporary, {}, None, None)
    temporary.rename(path)
