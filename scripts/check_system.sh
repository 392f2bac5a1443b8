#!/usr/bin/env bash
# Says, before any long work, which system packages the set-up needs and does not find. It is apart from the Makefile
# because it runs before there is an environment. Usage: scripts/check_system.sh [python]
set -euo pipefail

python="${1:-python3}"
missing=()

if ! command -v "$python" >/dev/null; then
    missing+=(python3 python3-venv python3-dev)
else
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "make env: error: Python 3.11 or newer is needed, \`$python\` is $("$python" -V | cut -d' ' -f2);" \
            "name another one with: make env PYTHON=python3.11" >&2
        exit 1
    fi
    "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    # the header that the extension module includes
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing+=(python3-dev)
fi
command -v "${CXX:-g++}" >/dev/null || missing+=(g++)
command -v make >/dev/null || missing+=(make)
command -v git >/dev/null || missing+=(git)

if ((${#missing[@]})); then
    echo "make env: error: system packages are missing, install them with: sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi
