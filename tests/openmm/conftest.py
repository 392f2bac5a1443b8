"""Model files and platforms of the OpenMM tests. The networks are untrained: these tests are about the way there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openmm
import pytest
import torch
from openmm_systems import make_model

from les_md.export import write_model_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads than free cores slow these small systems down a hundredfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """model_file(dtype=..., n_channels=..., neutrality=..., k_cutoff=...): path of the exported test model."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def make(**options: object) -> Path:
        key = "-".join(f"{name}={value}" for name, value in sorted(options.items())) or "default"
        if key not in made:
            made[key] = folder / f"{key}.les.pt"
            write_model_file(make_model(**options), made[key], {}, None, None)  # type: ignore[arg-type]
        return made[key]

    return make


@pytest.fixture(params=os.environ.get("LES_OPENMM_PLATFORMS", "Reference CPU").split())
def platform(request: pytest.FixtureRequest) -> str:
    """Reference and CPU, or those of LES_OPENMM_PLATFORMS, for instance "OpenCL" where there is a device.

    Other platforms run in double precision, which the tolerances of the tests are for.
    """
    name = str(request.param)
    chosen = openmm.Platform.getPlatformByName(name)
    if "Precision" in chosen.getPropertyNames():
        chosen.setPropertyDefaultValue("Precision", "double")
    return name
