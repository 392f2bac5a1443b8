"""What happens around the training steps: averaged weights, files at the end of every epoch, progress.

The order matters and is fixed by `program`: averaging first, then the recorder, then progress.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from tqdm import tqdm

from les_md.errors import LESError
from les_md.training.data import Counts
from les_md.training.loss import root_mean_squares, stage_at, weighted_mean
from les_md.training.run_state import RMSE_COLUMNS, RunState, save_run, write_metrics
from les_md.training.trainer_module import TrainerModule


class WeightAverage(Callback):
    """Exponential moving average of the parameters; validation and the saved model use it.

    With `decay` None it is off and the parameters themselves are used. The decay grows from 0.1 to its value in the
    first steps, so that the random start is forgotten quickly.
    """

    def __init__(self, model: nn.Module, decay: float | None, state: dict[str, Any] | None = None) -> None:
        self.model = model
        self.decay = decay
        self.n_updates = 0
        self.averages: list[Tensor] = []
        self._state = state

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts from the parameters, or from the saved state; they are on their device by now."""
        if self.decay is None:
            return
        parameters = [parameter.detach() for parameter in self.model.parameters()]
        if self._state is None:
            self.averages = [parameter.clone() for parameter in parameters]
        else:
            self.n_updates = self._state["n_updates"]
            self.averages = [
                average.to(parameter.device, copy=True)
                for average, parameter in zip(self._state["averages"], parameters, strict=True)
            ]

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Moves the averages towards the parameters."""
        if self.decay is None:
            return
        self.n_updates += 1
        decay = min(self.decay, self.n_updates / (9.0 + self.n_updates))
        parameters = [parameter.detach() for parameter in self.model.parameters()]
        torch._foreach_lerp_(self.averages, parameters, 1.0 - decay)

    def on_validation_start(self, *arguments: Any) -> None:
        """Puts the averages in place of the parameters."""
        self._swap()

    def on_validation_end(self, *arguments: Any) -> None:
        """Puts the parameters back."""
        self._swap()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged parameters inside this context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Any] | None:
        """For the checkpoint."""
        return None if self.decay is None else {"n_updates": self.n_updates, "averages": self.averages}

    def _swap(self) -> None:
        for parameter, position in zip(self.model.parameters(), range(len(self.averages)), strict=False):
            parameter.data, self.averages[position] = self.averages[position], parameter.data


class EpochRecorder(Callback):
    """Ends every epoch: metrics of all processes, best model, checkpoint, table, early stopping.

    The files are written in an order in which a kill between two of them does no harm: the model first (a resumed run
    finds the same best epoch again), then the checkpoint, then the table, which a resumed run rewrites from it.

    Args:
        folder: output folder.
        identity: settings and data hash, stored with the checkpoint.
        save_model: called when the model, which has its averaged weights then, is the best so far.
        counts: numbers of labels of the training and the validation set.
    """

    def __init__(
        self,
        folder: Path,
        run: RunState,
        average: WeightAverage,
        counts: dict[str, Counts],
        identity: dict[str, Any],
        save_model: Callable[[dict[str, Any]], None],
    ) -> None:
        self.folder = folder
        self.run = run
        self.average = average
        self.counts = counts
        self.identity = identity
        self.save_model = save_model

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the class. Every process takes the same decisions, the first one writes."""
        assert isinstance(pl_module, TrainerModule)
        settings = pl_module.settings
        row = self._row(trainer, pl_module)
        stage = stage_at(settings.loss, pl_module.epoch)
        new_stage = pl_module.epoch > 0 and stage != stage_at(settings.loss, pl_module.epoch - 1)
        last_stage = stage == len(settings.loss.stages)
        with self.average.applied():
            weights = pl_module.model.state_dict()
            best = self.run.end_epoch(row, weights, new_stage, settings.early_stopping_patience if last_stage else None)
            if best:
                self._write(trainer, lambda: self.save_model(row))
        pl_module.learning_rate.end_epoch(row["valid_loss"], new_stage)
        trainer.should_stop = self.run.stopped_early
        self._write(trainer, lambda: self._save_progress(trainer, pl_module))

    def _save_progress(self, trainer: Trainer, module: TrainerModule) -> None:
        parts = {
            **self.identity,
            "model": module.model.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "average": self.average.state(),
            "learning_rate": module.learning_rate.state(),
        }
        save_run(self.folder, self.run, parts)
        write_metrics(self.folder, self.run.rows)

    @staticmethod
    def _write(trainer: Trainer, write: Callable[[], None]) -> None:
        """Lets the first process write; where it cannot, all processes end with the same error, none waits."""
        text = ""
        if trainer.is_global_zero:
            try:
                write()
            except LESError as error:
                text = str(error)
        text = trainer.strategy.broadcast(text)
        if text:
            raise LESError(text)

    def _row(self, trainer: Trainer, module: TrainerModule) -> dict[str, Any]:
        """One row of the table; LESError if the training diverged."""
        row: dict[str, Any] = {"epoch": module.epoch, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        for part, own_sums in (("train", module.train_sums), ("valid", module.valid_sums)):
            sums = trainer.strategy.reduce(own_sums.clone(), reduce_op="sum").cpu()
            if not torch.isfinite(sums).all():
                raise LESError(
                    f"training diverged in epoch {module.epoch}: the {part} errors are not finite; lower "
                    "training.learning_rate or set training.gradient_clip, then start again with --overwrite"
                )
            row[f"{part}_loss"] = float(weighted_mean(sums[0], self.counts[part], module.weights))
            errors = root_mean_squares(sums[1], self.counts[part])
            if not module.settings.loss.uses("stress"):  # without it there is no virial to compare
                errors["stress"] = None
            row |= {f"{part}_{column}": errors[quantity] for quantity, column in RMSE_COLUMNS.items()}
        return row


class Progress(Callback):
    """Current errors on stderr: a bar over the whole run on a terminal, otherwise a line every few seconds."""

    #: Seconds between updates of the bar, and between lines where there is no terminal.
    BAR_INTERVAL = 0.5
    LINE_INTERVAL = 15.0

    def __init__(self, run: RunState, counts: dict[str, Counts], n_epochs: int) -> None:
        self.run = run
        self.counts = counts
        self.n_epochs = n_epochs
        self._bar: tqdm | None = None
        self._shown = 0.0
        self._train_text = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar, with the epochs done before as done."""
        assert isinstance(pl_module, TrainerModule)
        self._shown = time.monotonic()
        if trainer.is_global_zero and sys.stderr.isatty():
            n_steps = len(pl_module.train_batches)
            self._bar = tqdm(
                total=self.n_epochs * n_steps,
                initial=self.run.n_epochs * n_steps,
                unit="step",
                dynamic_ncols=True,
                mininterval=self.BAR_INTERVAL,
            )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        """Moves the bar; reads the sums, which waits for the device, only now and then."""
        if self._bar is None:
            return
        assert isinstance(pl_module, TrainerModule)
        self._bar.update()
        if time.monotonic() - self._shown > self.BAR_INTERVAL:
            self._shown = time.monotonic()
            part = (arguments[2] + 1) / len(pl_module.train_batches) * trainer.world_size
            errors = root_mean_squares(pl_module.train_sums[1] / part, self.counts["train"])
            self._train_text = _errors_text(errors)
            self._bar.set_postfix_str(f"{self._train_text}{self._valid_text()}", refresh=False)
            self._bar.set_description(f"epoch {pl_module.epoch + 1}/{self.n_epochs}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints a line if there is no bar."""
        assert isinstance(pl_module, TrainerModule)
        if self._bar is not None or not trainer.is_global_zero:
            return
        last = trainer.should_stop or self.run.n_epochs == self.n_epochs
        if last or time.monotonic() - self._shown > self.LINE_INTERVAL:
            self._shown = time.monotonic()
            row = self.run.rows[-1]
            train = _errors_text(_errors_of(row, "train"))
            text = f"epoch {self.run.n_epochs}/{self.n_epochs}: {train}{self._valid_text()}"
            print(text, file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the bar; says how to continue after an interrupt."""
        self._close()
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            print("interrupted; continue with the same command and --resume", file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _valid_text(self) -> str:
        if not self.run.rows:
            return ""
        row = self.run.rows[-1]
        text = _errors_text(_errors_of(row, "valid"))
        return f" | valid {text}"


def _errors_of(row: dict[str, Any], part: str) -> dict[str, float | None]:
    return {quantity: row[f"{part}_{column}"] for quantity, column in RMSE_COLUMNS.items()}


def _errors_text(errors: dict[str, float | None]) -> str:
    units = {"energy": "meV/atom", "forces": "meV/A", "dipole": "me A", "born_charges": "me"}
    found = {quantity: error for quantity in units if (error := errors[quantity]) is not None}
    return ", ".join(f"{error:.3g} {units[quantity]}" for quantity, error in found.items())
