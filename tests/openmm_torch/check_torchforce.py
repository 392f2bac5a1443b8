"""Exported files in OpenMM-Torch's own TorchForce: energies and forces of the engine, and dynamics.

Run by `make test-openmm-torch` in an environment without les-md, on the cases of make_cases.py.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openmmtorch
import pytest
from openmm import unit

CASES = Path(__file__).resolve().parents[2] / "build" / "openmm_torch"
NAMES = sorted(path.stem for path in CASES.glob("*.json"))
if not NAMES:
    raise RuntimeError(f"no cases in {CASES}; `make test-openmm-torch` makes them")
KILOJOULE_PER_MOLE_PER_EV = 96.48533212331002
#: Steps and length of one of them, ps.
STEPS, STEP = 300, 0.0002


def load(name: str) -> dict[str, Any]:
    return json.loads((CASES / f"{name}.json").read_text())


def make_context(name: str, case: dict[str, Any], platform: str) -> openmm.Context:
    system = openmm.System()
    for mass in case["masses"]:
        system.addParticle(mass)
    force = openmmtorch.TorchForce(str(CASES / f"{name}.les.pt"))
    force.setUsesPeriodicBoundaryConditions(case["cell"] is not None)
    if case["cell"] is not None:
        system.setDefaultPeriodicBoxVectors(*(np.array(case["cell"]) * 0.1))
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(STEP), openmm.Platform.getPlatformByName(platform))
    context.setPositions(np.array(case["positions"]) * 0.1)
    return context


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("name", NAMES)
def test_energies_and_forces_of_the_engine(name, platform):
    case = load(name)
    context = make_context(name, case, platform)
    expected = np.array(case["forces"])
    for _ in range(3):  # later calls run optimised code
        context.setPositions(np.array(case["positions"]) * 0.1)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / KILOJOULE_PER_MOLE_PER_EV
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
        assert energy - case["offset"] == pytest.approx(case["energy"] - case["offset"], rel=case["tolerance"])
        np.testing.assert_allclose(
            forces / KILOJOULE_PER_MOLE_PER_EV,
            expected,
            rtol=0,
            atol=case["tolerance"] * max(np.abs(expected).max(), 1e-3),
        )
    # without forces, as barostats ask for it
    alone = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert alone / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(energy, rel=1e-9)


@pytest.mark.parametrize("name", ["water_small", "water_large"])
def test_dynamics_conserves_energy(name, capsys):
    """NVE; the times of first and last steps are printed, since shapes that change could slow TorchScript down."""
    context = make_context(name, load(name), "CPU")
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=10)
    context.setVelocitiesToTemperature(100.0, 2)
    totals, kinetic, seconds = [], [], []
    for _ in range(STEPS // 10):
        start = time.perf_counter()
        context.getIntegrator().step(10)
        seconds.append((time.perf_counter() - start) / 10)
        state = context.getState(energy=True)
        kinetic.append(state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole))
        totals.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) + kinetic[-1])
    quarter = len(seconds) // 4
    with capsys.disabled():
        first, last = (1e3 * float(np.median(part)) for part in (seconds[1 : 1 + quarter], seconds[-quarter:]))
        drift = np.ptp(totals) / np.ptp(kinetic)
        print(f"\n{name}: {first:.1f} ms a step at first, {last:.1f} ms after {STEPS} steps; energy to {drift:.1e}")
    assert np.ptp(kinetic) > 1.0
    assert np.ptp(totals) < 0.005 * np.ptp(kinetic)


def test_other_boxes():
    """Boxes as a barostat tries them, with meshes of other sizes."""
    case = load("water_large")
    context = make_context("water_large", case, "CPU")
    energies = []
    for scale in (0.97, 1.0, 1.03):
        context.setPeriodicBoxVectors(*(np.array(case["cell"]) * 0.1 * scale))
        context.setPositions(np.array(case["positions"]) * 0.1 * scale)
        energies.append(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    assert energies[1] / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(case["energy"], rel=1e-6)
    assert len(set(energies)) == 3
