"""les-md: machine-learning potentials with long-range electrostatics (Latent Ewald Summation).

Submodules are loaded when they are used, so that importing the package is quick.
"""

from __future__ import annotations

__version__ = "0.1.0"
