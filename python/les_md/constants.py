"""Physical constants and unit factors of the Python layer, each in one place."""

from __future__ import annotations

import math

#: N_F = 1/(2 eps0) in eV angstrom / e^2, the prefactor of the reciprocal-space sum.
RECIPROCAL_CONSTANT = 90.4756

#: K_e = 1/(4 pi eps0) = N_F / (2 pi) in eV angstrom / e^2; every model stores the value it was trained with.
COULOMB_CONSTANT = RECIPROCAL_CONSTANT / (2.0 * math.pi)

#: Relative size at which exp(-sigma^2 k^2 / 2) is cut by direct sums of the converged kernel.
CONVERGED_TOLERANCE = 1e-9

#: OpenMM's units: nanometre to angstrom, and eV to kJ/mol (e N_A / 1000 with the exact SI values).
ANGSTROM_PER_NANOMETRE = 10.0
KILOJOULE_PER_MOLE_PER_EV = 96.48533212331002

#: SI values of what spectra and conductivities need: C, J/K, m/s, F/m (the last is measured: CODATA 2022).
ELEMENTARY_CHARGE = 1.602176634e-19
BOLTZMANN_CONSTANT = 1.380649e-23
SPEED_OF_LIGHT = 299792458.0
VACUUM_PERMITTIVITY = 8.8541878188e-12


def converged_k_cutoff(smearing: float) -> float:
    """Largest |k| (1/angstrom) of converged direct sums: exp(-(smearing k)^2 / 2) = CONVERGED_TOLERANCE."""
    return math.sqrt(-2.0 * math.log(CONVERGED_TOLERANCE)) / smearing
