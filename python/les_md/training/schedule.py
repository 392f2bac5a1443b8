"""Learning rate as a function of the step, and of the validation losses for reduce_on_plateau.

The rate is computed anew at every step from the epoch and a small state, which the checkpoint stores; a resumed run
therefore continues on exactly the same rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from les_md.training.settings import TrainingSettings


@dataclass
class PlateauState:
    """State of reduce_on_plateau: reductions so far, best loss, epochs since it or since the last reduction."""

    n_reductions: int = 0
    best_loss: float | None = None
    n_waited: int = 0


@dataclass
class LearningRate:
    """Learning rate of every step of a training."""

    settings: TrainingSettings
    steps_per_epoch: int
    plateau: PlateauState = field(default_factory=PlateauState)

    def at(self, step: int) -> float:
        """Learning rate of optimizer step `step`, counted from 0 at the start of training."""
        schedule = self.settings.schedule
        n_warmup = round(schedule.warmup_epochs * self.steps_per_epoch)
        n_steps = self.settings.epochs * self.steps_per_epoch
        if step < n_warmup:
            return self.settings.learning_rate * (step + 1) / n_warmup
        progress = min((step - n_warmup) / max(n_steps - n_warmup, 1), 1.0)
        lowest = schedule.final_factor
        if schedule.kind == "cosine":
            factor = lowest + (1.0 - lowest) * 0.5 * (1.0 + math.cos(math.pi * progress))
        elif schedule.kind == "exponential":
            factor = lowest**progress
        elif schedule.kind == "reduce_on_plateau":
            factor = max(schedule.factor**self.plateau.n_reductions, lowest)
        else:
            factor = 1.0
        return self.settings.learning_rate * factor

    def end_epoch(self, valid_loss: float, new_stage: bool) -> None:
        """Takes the validation loss of an epoch; with `new_stage` the weights changed, so older losses do not count."""
        plateau = self.plateau
        if new_stage or plateau.best_loss is None or valid_loss < plateau.best_loss:
            plateau.best_loss = valid_loss
            plateau.n_waited = 0
            return
        plateau.n_waited += 1
        if plateau.n_waited >= self.settings.schedule.patience:
            plateau.n_reductions += 1
            plateau.n_waited = 0

    def state(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return dict(vars(self.plateau))

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores what `state` gave."""
        self.plateau = PlateauState(**state)
