"""Memory of a long run: what a rank holds does not grow while atoms, lists and ghosts change.

benchmarks/lammps/memory.py, whose parts are used here, measures it over 10^5 steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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


def test_a_leak_shows_and_one_late_buffer_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "systems", raising=False)
    from memory import growth_of

    def growth(bytes_at: Callable[[int], int]) -> float:
        lines = [f"sample {step} {bytes_at(step)} {bytes_at(step)} 30 250" for step in range(0, 1501, 15)]
        (tmp_path / "samples.txt").write_text("\n".join(lines) + "\n")
        return growth_of(tmp_path / "samples.txt", "run", 1, 0, 1500).used_bytes_per_step

    assert growth(lambda step: 10**8 + 5000 * step) == pytest.approx(5000)
    # in steps of a megabyte, as an allocator may take them
    assert growth(lambda step: 10**8 + 2**20 * (5000 * step // 2**20)) > 3000
    for late in (600, 1000, 1300):
        assert growth(lambda step, late=late: 10**8 + 20 * step + 2**20 * (step > late)) == pytest.approx(20)
