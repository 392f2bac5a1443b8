"""Memory of a long run: what a rank holds does not grow while atoms, lists and ghosts change.

benchmarks/lammps/memory.py, whose parts are used here, measures it over 10^5 steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks" / "lammps"


@pytest.mark.parametrize(
    ("case", "ranks", "steps", "most"),
    [
        # buffers may still grow a little; a leak of one number an edge would be some 5000 bytes a step
        ("run", 2, 1500, 200.0),
        ("run_npt", 1, 1000, 200.0),
        ("run_field", 1, 600, 400.0),
        ("run_layers", 2, 1500, 200.0),
        # bytes for each pair_style with its model (50 kB) and each `clear`
        ("styles", 1, 20, 10_000.0),
        ("clear", 1, 20, 10_000.0),
    ],
)
def test_growth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str, ranks: int, steps: int, most: float
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "systems", raising=False)  # other benchmarks have one too
    from memory import measure

    for growth in measure(tmp_path, case, ranks, steps):
        assert growth.used_bytes_per_step < most, growth
        if case.startswith("run"):
            # the run was one in which lists and owners changed
            assert growth.ghosts[0] < growth.ghosts[1], growth
            assert ranks == 1 or growth.owned[0] < growth.owned[1], growth
