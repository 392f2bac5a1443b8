"""`python -m les_md.selftest`: a line per host and an exit status that tells."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from les_md import selftest


def test_every_installed_host_agrees(tmp_path):
    done = subprocess.run([sys.executable, "-m", "les_md.selftest"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("les-md ")
    assert "openmm 8.6" in lines[0]
    assert lines[1].startswith("built with torch 2.13")
    for host in ("engine", "ASE", "LAMMPS", "OpenMM Reference", "OpenMM CPU"):
        assert any(line.startswith(f"{host}: ok: forces agree to ") for line in lines), done.stdout


def test_host_of_another_version_fails_alone(tmp_path):
    program = (
        "import sys, types\n"
        "import les_md._build_info as build\n"
        "build.built_with_openmm = '8.5.2'\n"
        "from les_md import selftest\n"
        "sys.exit(selftest.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "\nOpenMM: FAILED: les-md was built with openmm 8.5.2, but openmm 8.6" in done.stdout
    assert "\nLAMMPS: ok" in done.stdout


def test_forces_that_differ_fail(tmp_path, capsys):
    check = selftest.make_check(tmp_path)
    wrong = check.forces.copy()
    wrong[2, 1] += 1e-5 * np.abs(wrong).max()
    assert check.error_of(wrong) == pytest.approx(1e-5, rel=1e-6)
    assert not selftest.run("host", lambda check: check.error_of(wrong), 1e-6, check)
    assert capsys.readouterr().out == "host: FAILED: forces agree to 1.0e-05 (at most 1e-06)\n"
    assert not selftest.run("host", lambda check: float("nan"), 1e-6, check)
