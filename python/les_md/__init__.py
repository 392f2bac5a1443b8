"""les-md: machine-learning potentials with long-range electrostatics (Latent Ewald Summation).

Submodules are loaded when they are used, so that importing the package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from les_md.pretrained_models import list_pretrained, pretrained

__version__ = "0.1.0"

__all__ = ["EwaldSolver", "MeshSolver", "__version__", "list_pretrained", "pretrained"]

if TYPE_CHECKING:
    from les_md.solvers import EwaldSolver, MeshSolver
else:

    def __getattr__(name: str) -> Any:
        if name in ("EwaldSolver", "MeshSolver"):
            from les_md import solvers  # brings torch and the engine, seconds of loading

            return getattr(solvers, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
