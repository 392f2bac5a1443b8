"""What LESForce does where the platform has a kernel for it; prints a line per question.

`check_device_route.py PLUGIN MODEL` is run by test_openmm_device_route.py in a process of its own, because a kernel
that was made known stays known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
from openmm_systems import evaluate, make_context, waters

from les_md.errors import LESError
from les_md.openmm import LESForce

plugin, model = sys.argv[1:]
atoms = waters(periodic=True)
symbols = atoms.get_chemical_symbols()


def answer(question: str, action: Callable[[], Any]) -> None:
    try:
        print(f"{question}: {action()}")
    except (LESError, openmm.OpenMMException) as error:
        print(f"{question}: {error}")


def kernel_force(**settings: Any) -> LESForce:
    force = LESForce(model, symbols[:6], particles=range(3, 9), device="cuda", **settings)
    force.setForceGroup(2)
    return force


answer("without kernel", lambda: make_context(atoms, kernel_force()))
openmm.Platform.loadPluginLibrary(plugin)
force = kernel_force(graphs="on")
context = make_context(atoms, force)
context.setParameter("LESForceLambda", 0.5)
on_atoms = np.zeros((len(atoms), 3))
on_atoms[3:9] = 0.5
forces = context.getState(forces=True).getForces(asNumpy=True)._value
answer("forces of the kernel", lambda: bool((forces == on_atoms).all()))
others = context.getState(forces=True, groups={0}).getForces(asNumpy=True)._value
answer("other groups", lambda: bool((others == 0.0).all()))
answer("charges", lambda: force.getLatentCharges(context)[:, 0].tolist())
answer("energy", lambda: force.getShortRangeEnergy(context)._value)
answer("description", lambda: force.getLongRangeDescription(context))
velocities = np.zeros((len(atoms), 3))
velocities[2:9] = [0.1, -0.2, 0.3]  # nm/ps; the first of them is not of the model
context.setVelocities(velocities)
answer("current", lambda: np.round(force.getPolarizationCurrent(context)._value, 9).tolist())
answer("born", lambda: (force.getBornCharges(context)._value == 0.5).tolist() == np.ones((6, 3, 3)).tolist())
answer("times", lambda: force.getStageTimes(context))
context.setParameter("LESForceFieldX", 964.8533212331)  # 1 V/angstrom
answer("field", lambda: context.getState(forces=True).getForces(asNumpy=True)._value[3].tolist())
answer("field energy", lambda: force.getFieldEnergy(context)._value)
context.setParameter("LESForceFieldX", 0.0)
context.setParameter("LESForceLambda", float("nan"))
answer("lambda", lambda: evaluate(context))
isolated = kernel_force(periodic=False)
answer("polarization", lambda: isolated.getPolarization(make_context(atoms, isolated))._value)
embedded = make_context(atoms, kernel_force(external_charges=[0.1, 0.0, -0.3] + [0.0] * 21))
answer("embedding", lambda: embedded.getState(forces=True).getForces(asNumpy=True)._value[:4, 0].tolist())
derivative = kernel_force()
derivative.addEnergyParameterDerivative("LESForceFieldX")
answer("field derivative", lambda: make_context(atoms, derivative) is not None)
on_host = LESForce(model, symbols)
answer("host", lambda: bool(np.abs(evaluate(make_context(atoms, on_host)).forces).max() > 0.1))
