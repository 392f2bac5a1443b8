"""LES models in OpenMM: the class `LESForce` for `System.addForce`, ML/MM Systems, a reporter, and modules for
OpenMM-Torch's `TorchForce`.

The force itself is the C++ class of the plugin libOpenMMLES.so. Import this package before XML with a LESForce is
deserialised.
"""

from les_md.openmm.force import LESForce
from les_md.openmm.mixed_system import create_mixed_system
from les_md.openmm.plugin import check_build
from les_md.openmm.reporter import LESReporter
from les_md.openmm.topology import symbols_of_topology
from les_md.openmm.torchforce import torchforce_module

__all__ = [
    "LESForce",
    "LESReporter",
    "check_build",
    "create_mixed_system",
    "symbols_of_topology",
    "torchforce_module",
]
