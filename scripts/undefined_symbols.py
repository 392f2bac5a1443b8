"""Checks that what a library of the OpenMM plugin takes from OpenMM and les-md exists.

`undefined_symbols.py LIBRARY [LIBRARIES ...]` looks through the installed OpenMM and les_md and the libraries named.
What is not there would otherwise show when a program loads the library.
"""

import subprocess
import sys
from pathlib import Path

import openmm

import les_md


def symbols(library: Path, which: str) -> set[str]:
    """Names of C++ symbols that `library` has (`--defined-only`) or leaves open (`--undefined-only`)."""
    table = subprocess.run(["nm", "-D", which, str(library)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in table.splitlines() if "_Z" in line}


def main() -> None:
    library, others = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    package = Path(les_md.__file__).parent
    libraries = Path(openmm.__file__).parents[1] / "OpenMM.libs" / "lib"
    others += [package / "lib" / "libles.so", package / "openmm_plugin" / "libOpenMMLES.so", libraries / "libOpenMM.so"]
    known: set[str] = set().union(*(symbols(other, "--defined-only") for other in others))
    spaces = ("6OpenMM", "3les", "9LESPlugin")
    ours = {name for name in symbols(library, "--undefined-only") if any(space in name for space in spaces)}
    missing = sorted(ours - known)
    if missing or not ours:
        sys.exit(
            f"undefined_symbols: error: {library.name} needs {', '.join(missing) or 'nothing, so it is not the plugin'}"
        )
    print(f"undefined_symbols: all {len(ours)} names that {library.name} takes from OpenMM and les-md exist")


if __name__ == "__main__":
    main()
