"""Infrared spectra and ionic conductivities from a time series of the polarization current: the program `les-spectra`.

`tables` and `series` read the files of the hosts, `correlations` and `analysis` hold numerics and physics, `program`
the command line and what it writes.
"""

from les_md.spectra.analysis import Analysis, Estimate, Settings, analyse
from les_md.spectra.series import Series, SeriesOptions, read_series

__all__ = ["Analysis", "Estimate", "Series", "SeriesOptions", "Settings", "analyse", "read_series"]
