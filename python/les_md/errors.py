"""The exception for mistakes of the user, and how command-line programs show it.

It stands alone so that every layer can raise it without importing anything heavy.
"""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable


class LESError(Exception):
    """A mistake the user can mend. The text is one line that names the quantity, what was expected and what was got."""


#: No space, quota exceeded, file too large: conditions of the machine, not faults of the program.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def report(program: str, error: LESError) -> None:
    """Prints `error` as the one line on stderr that users see."""
    print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


def command_line(program: str) -> Callable[[Callable[..., None]], Callable[..., int]]:
    """Decorates the main function of `program`: a `LESError` becomes one line on stderr and exit status 1."""

    def decorate(main: Callable[..., None]) -> Callable[..., int]:
        @functools.wraps(main)
        def run(arguments: list[str] | None = None) -> int:
            try:
                main(arguments)
            except LESError as error:
                report(program, error)
                return 1
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                report(program, LESError(f"cannot write to disk: {error.strerror}; make room or name another folder"))
                return 1
            except KeyboardInterrupt:
                print(f"{program}: interrupted", file=sys.stderr)
                return 130
            return 0

        return run

    return decorate
