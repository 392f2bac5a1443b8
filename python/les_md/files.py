"""Writing files that are complete or not there at all, whatever happens on the way."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from les_md.errors import LESError


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, complete or not at all, also if the machine stops right after.

    Raises LESError in one line if it cannot be written, as on a full disk; what was at `path` before is still there.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise LESError(f"cannot write {path}: {error.strerror}; make room on the disk or name another folder") from None
