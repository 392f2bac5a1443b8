"""Model files and platforms of the OpenMM tests. The networks are untrained: these tests are about the way there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture(params=["Reference", "CPU"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)
