"""Keywords `total_charge` and `spin` for models that take them as inputs: ranks, layers, what is said, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from lammps_runs import DIRECT, Lammps, box_script, make_model, model_script

from les_md.batch import frame_from_atoms
from les_md.export import write_model_file
from les_md.forces import evaluate
from les_md.model import LESModel
from les_md.settings import LongRangeSettings

BOTH = {"charge_embedding": True, "spin_embedding": True}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Models with both inputs, by their number of layers."""
    folder, paths = tmp_path_factory.mktemp("states"), {}
    for n_layers in (1, 2):
        paths[n_layers] = folder / f"{n_layers}.les.pt"
        write_model_file(state_model(n_layers), paths[n_layers], {}, None, None)
    return paths


def state_model(n_layers: int) -> LESModel:
    model = make_model(long_range=LongRangeSettings(), n_layers=n_layers, **BOTH)
    with torch.no_grad():
        model.energy_head.output.weight.fill_(0.5)
    return model


@pytest.mark.parametrize(("n_layers", "ranks"), [(1, 1), (2, 2)])
def test_as_in_python(
    lammps: Lammps, files: dict[int, Path], structures: dict[str, ase.Atoms], n_layers: int, ranks: int
) -> None:
    """Each state in turn; with two layers and ranks, messages are exchanged between the layers."""
    atoms = structures["triclinic"]
    script = box_script(atoms, lammps.folder)
    states = [(-1.0, 2.0), (2.0, 1.0)]
    for number, (charge, spin) in enumerate(states):
        script += model_script(files[n_layers], f"{DIRECT} total_charge {charge} spin {spin}")
        script += "thermo_style custom step pe\nthermo_modify format float %.16g\nrun 0\n"
        script += f"write_dump all custom {number}.txt id fx fy fz modify sort id format float %.16g\n"
    outcome = lammps.succeed(script, ranks)
    assert "was not given" not in outcome.output
    energies = outcome.thermo()["PotEng"]
    for number, state in enumerate(states):
        model = state_model(n_layers)
        expected = evaluate(model, frame_from_atoms(atoms, ["O", "H"], model.settings.cutoff, *state))
        assert energies[number] == pytest.approx(expected["energy"].item(), rel=1e-9)
        forces = expected["forces"].detach().numpy()
        np.testing.assert_allclose(outcome.forces(f"{number}.txt"), forces, atol=1e-6 * np.abs(forces).max())


def test_what_was_not_given_is_said_once(
    lammps: Lammps, files: dict[int, Path], structures: dict[str, ase.Atoms]
) -> None:
    script = box_script(structures["triclinic"], lammps.folder) + model_script(files[1], DIRECT)
    text = "takes total_charge and spin as input, which was not given"
    assert lammps.succeed(script + "run 3\n", 2).output.count(text) == 1


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("spin 0", "spin must be a multiplicity 2S \\+ 1, at least 1, got 0"),
        ("spin two", "keyword spin must be followed by a spin multiplicity 2S \\+ 1, got two"),
    ],
)
def test_wrong_spins(
    lammps: Lammps, files: dict[int, Path], structures: dict[str, ase.Atoms], keyword: str, text: str
) -> None:
    lammps.refuse(
        box_script(structures["triclinic"], lammps.folder) + model_script(files[1], keyword) + "run 0\n", text, 1
    )


def test_a_model_without_the_input(
    lammps: Lammps, model_file: Callable[[str], Path], structures: dict[str, ase.Atoms]
) -> None:
    script = (
        box_script(structures["triclinic"], lammps.folder) + model_script(model_file("plain"), "spin 2") + "run 0\n"
    )
    lammps.refuse(script, "spin needs a model trained with `spin_embedding: true`", 1)
