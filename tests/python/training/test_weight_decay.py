"""Weight decay: what it acts on, for both optimizers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from les_md.model import LESModel
from les_md.settings import ModelSettings
from les_md.training.settings import TrainingSettings
from les_md.training.trainer_module import TrainerModule

RATE, DECAY = 0.1, 0.5


@pytest.mark.parametrize("optimizer", ["soap", "adamw"])
@pytest.mark.parametrize("long_range", [{}, {"charge_flux": True}])
def test_decay_leaves_charges_and_constants_alone(optimizer: str, long_range: dict[str, Any]):
    """Without a gradient weights lose rate times decay; energies of elements, biases and what makes charges nothing."""
    torch.manual_seed(0)
    model = LESModel(ModelSettings(symbols=["Na", "Cl"], channels=2, n_radial=2, l_max=1, long_range=long_range))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    settings = TrainingSettings(optimizer=optimizer, learning_rate=RATE, weight_decay=DECAY)
    module = TrainerModule(model, settings, train_batches=None, learning_rate=None)  # only the optimizer is wanted
    steps = module.configure_optimizers()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    steps.step()
    left = {name: float(parameter.detach().mean()) for name, parameter in model.named_parameters()}
    kept = {name for name, value in left.items() if value == pytest.approx(1.0)}
    of_charges = {name for name in left if name.split(".")[0] in ("charge_head", "charge_transfers", "element_charges")}
    assert len(of_charges) >= 5
    assert kept == of_charges | {name for name in left if name.endswith(("bias", "constant"))}
    assert all(left[name] == pytest.approx(1.0 - RATE * DECAY) for name in left.keys() - kept)
    assert {"energy_head.output.weight", "energy_head.linear.weight"}.isdisjoint(kept)
