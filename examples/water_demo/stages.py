"""Stages of the demo: what is up to date is left alone, what fails leaves nothing that looks finished.

Apart from the other files because nothing here knows about water. A stage is up to date when its outputs exist and none
is older than an input; files and folders get their final names only when they are complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console


class DemoError(Exception):
    """A failure that is reported as one line."""


@dataclass(frozen=True)
class Stage:
    """One step of the demo: `action` makes `outputs` from `inputs`."""

    title: str
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    action: Callable[[], None]

    def is_up_to_date(self) -> bool:
        """Whether all outputs exist and none is older than an input."""
        if not all(path.exists() for path in self.outputs):
            return False
        newest_input = max(path.stat().st_mtime_ns for path in self.inputs)
        return all(path.stat().st_mtime_ns >= newest_input for path in self.outputs)


def run_stages(stages: Sequence[Stage], timings_path: Path, console: Console) -> None:
    """Runs what is not up to date, in order; wall times (seconds) of all stages are kept in `timings_path`."""
    timings: dict[str, float] = json.loads(timings_path.read_text()) if timings_path.exists() else {}
    for number, stage in enumerate(stages, start=1):
        label = f"[bold]\\[{number}/{len(stages)}] {stage.title}[/bold]"
        if stage.is_up_to_date():
            console.print(f"{label}: up to date")
            continue
        console.print(label)
        # outputs of an earlier call are out of date: without them a failure cannot pass for success
        remove(stage.outputs)
        start = time.monotonic()
        try:
            stage.action()
            for path in stage.outputs:
                if not path.exists():
                    raise DemoError(f"stage '{stage.title}' made no {path}")
        except BaseException:
            remove(stage.outputs)
            raise
        timings[stage.title] = round(time.monotonic() - start, 1)
        write_text(timings_path, json.dumps(timings, indent=2) + "\n")
        console.print(f"    done in {timings[stage.title]:.0f} s")


def remove(paths: Sequence[Path]) -> None:
    """Removes the files that exist."""
    for path in paths:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path of the same ending, which becomes `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{path.name}")
    yield temporary
    os.replace(temporary, path)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder, which becomes the folder `path` when the block ends without an error."""
    temporary = path.with_name(f".partial-{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def run_command(
    command: Sequence[str | Path],
    log: Path,
    folder: Path,
    on_line: Callable[[str], None] | None = None,
    threads: int | None = None,
) -> None:
    """Runs `command` in `folder`, with all it prints in the file `log`; each line also goes to `on_line`.

    threads: OpenMP threads of one process (None: the program's default). Raises `DemoError` with the error line it
    printed if the command cannot be started or exits with another status than 0.
    """
    words = [str(word) for word in command]
    variables = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    last_lines: list[str] = []
    with log.open("w") as log_file:
        log_file.write(f"$ {shlex.join(words)}\n")
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise DemoError(f"cannot start {words[0]}: {error.strerror}") from None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log_file.write(line)
                log_file.flush()
                if line.strip():
                    last_lines = [*last_lines[-19:], line.strip()]
                if on_line is not None:
                    on_line(line)
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            status = process.wait()
    if status != 0:
        errors = [line for line in last_lines if "error" in line.lower()]
        reason = errors[0] if errors else (last_lines[-1] if last_lines else "it printed nothing")
        raise DemoError(f"{Path(words[0]).name} ended with status {status}: {reason} (all output: {log})")
