"""Infrared spectra and ionic conductivities from a time series of the polarization current: the program `les-spectra`.

`series` reads the files of the hosts, `analysis` holds the physics, `program` the command line and what it writes.
"""

from les_md.spectra.analysis import Analysis, Estimate, Settings, analyse
from les_md.spectra.series import Series, SeriesOptions, read_series

__all__ = ["Analysis", "Estimate", "Series", "SeriesOptions", "Settings", "analyse", "read_series"]
