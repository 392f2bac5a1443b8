"""The plugin libOpenMMLES.so is loaded here, after the versions of OpenMM and torch were checked.

OpenMM wraps its own classes with SWIG; `les_md._openmm` reaches the methods of a LESForce through `int(force.this)`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType

import torch

from les_md.engine import check_versions
from les_md.errors import LESError

INSTALL_OPENMM = "run `pip install 'openmm>=8.6,<8.7'`"


def check_build(build_info: ModuleType, openmm_version: str, torch_version: str) -> None:
    """Raises LESError unless OpenMM and torch have the minor versions the plugin was built with.

    Done before the plugin is loaded: with another minor version it would crash instead of failing.
    """
    if not build_info.built_with_openmm:
        raise LESError(f"les-md was built without OpenMM; {INSTALL_OPENMM} and build les-md again")
    check_versions(build_info.built_with_torch, torch_version, "torch")
    check_versions(build_info.built_with_openmm, openmm_version, "openmm")


def load_plugin() -> tuple[ModuleType, ModuleType]:
    """OpenMM and les_md._openmm, with the plugin loaded and its XML proxy registered."""
    try:
        import openmm
        import openmm.unit
    except ImportError as error:
        raise LESError(f"OpenMM is not installed; {INSTALL_OPENMM}") from error
    import les_md._build_info as build_info

    check_build(build_info, openmm.__version__, torch.__version__)
    plugin = Path(__file__).parents[1] / "openmm_plugin" / "libOpenMMLES.so"
    if not plugin.is_file():
        raise LESError(f"the OpenMM plugin {plugin} does not exist; build les-md again with `pip install .`")
    openmm.Platform.loadPluginLibrary(str(plugin))
    load_cuda_kernels(openmm, plugin.with_name("libOpenMMLESCUDA.so"))
    import les_md._openmm as _openmm

    return openmm, _openmm


def load_cuda_kernels(openmm: ModuleType, library: Path) -> None:
    """Makes the kernels in `library` known to the CUDA platform, if there are both; warns if they cannot be loaded."""
    platforms = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if not library.is_file() or "CUDA" not in platforms:
        return
    try:
        openmm.Platform.loadPluginLibrary(str(library))
    except openmm.OpenMMException as error:
        warnings.warn(
            f"LESForce goes by way of the host on the CUDA platform, its kernels cannot be loaded: {error}",
            stacklevel=2,
        )


openmm, _openmm = load_plugin()
