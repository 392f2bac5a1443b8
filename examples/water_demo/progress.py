"""Progress bars for runs in LAMMPS and OpenMM. Apart because several threads share one display."""

from __future__ import annotations

from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class StepProgress(Progress):
    """Bars that count steps."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("    {task.description:30s}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )

    def steps(self, title: str, total: int) -> Callable[[int], None]:
        """Adds a bar of `total` steps; the returned function sets how many are done."""
        task = self.add_task(title, total=total)
        return lambda done: self.update(task, completed=done)

    def lammps_lines(self, title: str, total: int) -> Callable[[str], None]:
        """Adds a bar of `total` steps; the returned function takes the lines LAMMPS prints and follows its step column.

        Steps that start again (after `reset_timestep`) are counted on from where they were.
        """
        update = self.steps(title, total)
        before = last = 0
        in_run = False

        def follow(line: str) -> None:
            nonlocal before, last, in_run
            words = line.split()
            if words[:1] == ["Step"]:
                in_run = True
            elif words[:2] == ["Loop", "time"]:
                in_run = False
                before, last = before + last, 0
            elif in_run and words and words[0].isdigit():
                last = int(words[0])
                update(min(before + last, total))

        return follow
