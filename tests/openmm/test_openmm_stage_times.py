"""Where the time of a LESForce goes."""

import time

from openmm_systems import make_context, waters

from les_md.openmm import LESForce


def test_stages_add_up_to_less_than_the_whole(model_file, platform):
    atoms = waters(periodic=True)
    force = LESForce(model_file(), atoms.get_chemical_symbols())
    context = make_context(atoms, force, platform=platform)
    assert force.getStageTimes(context) == {"neighbours": 0.0, "network": 0.0, "long_range": 0.0}
    start = time.perf_counter()
    context.getIntegrator().step(3)
    elapsed = time.perf_counter() - start
    times = force.getStageTimes(context)
    assert min(times.values()) > 0.0
    assert sum(times.values()) < elapsed
    # charges of the present state are known, so reading them costs no evaluation
    context.getState(energy=True)
    times = force.getStageTimes(context)
    force.getLatentCharges(context)
    assert force.getStageTimes(context) == times
