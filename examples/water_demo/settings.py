"""Sizes of the demo: how many frames, epochs and steps, in the full and in the quick version.

They stand apart so that the whole cost of the demo can be read, and changed, in one place. Every stage depends on them:
other sizes in the same folder make the stages run again.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from stages import write_text


@dataclass(frozen=True)
class StatePoint:
    """One classical run: `n_frames` frames of it go to `use` ("training" or "held_out")."""

    name: str
    use: str
    n_frames: int
    temperature: float = 300.0  # K
    length_scale: float = 1.0  # box length over that of the liquid at 997 kg/m3
    seed: int = 1
    steps_between: int = 500  # steps of 0.5 fs from one frame to the next
    equilibration: int = 20_000  # steps
    trajectory_every: int | None = None  # keep positions this often, for the radial distribution functions


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of one version of the demo."""

    state_points: tuple[StatePoint, ...]
    epochs_les: int
    epochs_short_range: int
    model: dict[str, object] = field(default_factory=dict)  # section `model` of les-train, without long_range
    training: dict[str, object] = field(default_factory=dict)  # section `training` of les-train, without epochs
    validation_fraction: float = 0.1  # of the training frames
    timestep: float = 0.5  # fs
    lammps_equilibration: int = 2_000  # steps
    lammps_nvt: int = 16_000
    lammps_nve: int = 4_000
    openmm_equilibration: int = 1_000
    openmm_nve: int = 4_000
    trajectory_every: int = 20


MODEL = {
    "symbols": ["O", "H"],
    "cutoff": 4.5,
    "n_radial": 8,
    "l_max": 3,
    "body_order": 4,
    "dtype": "float32",
}
# small steps: the initial fit finds the charges, large steps throw them away before the local part has converged
TRAINING = {"batch_size": 2, "optimizer": "adamw", "learning_rate": 0.001, "seed": 1, "device": "cpu"}

FULL = DemoSettings(
    state_points=(
        StatePoint("liquid", "training", 120, seed=11),
        StatePoint("compressed", "training", 50, length_scale=0.985, seed=12),
        StatePoint("expanded", "training", 50, length_scale=1.015, seed=13),
        StatePoint("hot", "training", 80, temperature=450.0, seed=14),
        # an independent run: its frames are held out, and it is what the structure of the MD runs is compared with
        StatePoint("reference", "held_out", 60, seed=15, steps_between=3000, trajectory_every=100),
    ),
    epochs_les=80,
    epochs_short_range=80,
    model=MODEL,
    training=TRAINING,
)

QUICK = DemoSettings(
    state_points=(
        StatePoint("liquid", "training", 8, seed=11, steps_between=50, equilibration=1000),
        StatePoint("hot", "training", 4, temperature=450.0, seed=14, steps_between=50, equilibration=1000),
        StatePoint("reference", "held_out", 3, seed=15, steps_between=100, equilibration=1000, trajectory_every=50),
    ),
    epochs_les=2,
    epochs_short_range=2,
    model=MODEL | {"n_radial": 4, "l_max": 1, "body_order": 2, "channels": 4, "hidden": [8]},
    training=TRAINING,
    lammps_equilibration=10,
    lammps_nvt=40,
    lammps_nve=20,
    openmm_equilibration=10,
    openmm_nve=20,
    trajectory_every=10,
)


def record_settings(settings: DemoSettings, path: Path) -> None:
    """Writes `settings` to `path` unless they stand there already, so that the date of the file tells of a change."""
    text = json.dumps(dataclasses.asdict(settings), indent=2) + "\n"
    if not path.exists() or path.read_text() != text:
        write_text(path, text)
