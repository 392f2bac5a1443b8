"""The training step and the validation step as Lightning runs them.

The module knows the model, the loss and the learning rate; what happens around the steps (averaging of weights, files,
progress) is in `callbacks`. No dataloader workers and no logging of Lightning are used: data are in memory, and sums
stay on the device until the end of the epoch.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from les_md.batch import AtomsBatch
from les_md.forces import PeriodicSum, evaluate
from les_md.model import LESModel
from les_md.training.data import Counts, FrameBatches
from les_md.training.loss import error_sums, stage_at, wanted_outputs, weighted_mean
from les_md.training.loss_settings import QUANTITIES, LossWeights
from les_md.training.schedule import LearningRate
from les_md.training.settings import TrainingSettings
from les_md.training.soap import SOAP

Item = tuple[AtomsBatch | None, Counts]


def periodic_sum_of(settings: TrainingSettings) -> PeriodicSum:
    """How the training evaluates the long-range energy of periodic frames."""
    return PeriodicSum(settings.long_range_solver, settings.long_range_accuracy)


class TrainerModule(lightning.LightningModule):
    """Fits `model` to the frames of `train_batches`.

    Args:
        settings: loss, optimizer and schedule.
        learning_rate: its value at every step.
        first_epoch: epochs done before, so that the order of frames and the stages continue.
        optimizer_state: state to continue from.
    """

    def __init__(
        self,
        model: LESModel,
        settings: TrainingSettings,
        train_batches: FrameBatches,
        learning_rate: LearningRate,
        first_epoch: int = 0,
        optimizer_state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.train_batches = train_batches
        self.learning_rate = learning_rate
        self.first_epoch = first_epoch
        self.periodic_sum = periodic_sum_of(settings)
        self.weights: LossWeights = settings.loss.all_stages()[0]
        # sums of penalties and of squared errors, (2, n_quantities), of this process in this epoch
        self.train_sums = torch.zeros(2, len(QUANTITIES), dtype=torch.float64)
        self.valid_sums = torch.zeros(2, len(QUANTITIES), dtype=torch.float64)
        self._optimizer_state = optimizer_state

    @property
    def epoch(self) -> int:
        """Epoch of the run, from 0, counting those before a resume."""
        return self.first_epoch + self.trainer.current_epoch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SOAP or AdamW; the learning rate is set at every step by `on_train_batch_start`."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        kept: list[torch.nn.Parameter] = []
        weights: list[torch.nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            # decay would draw charges towards constants and these to zero, and leave the rest to the short-range energy
            of_charges = name.startswith(("charge_", "element_charges"))
            (kept if of_charges or name.endswith(("bias", "constant")) else weights).append(parameter)
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": kept, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer
        if self.settings.optimizer == "soap":
            optimizer = SOAP(groups, lr=rate, weight_decay=decay)
        else:
            # fused: one call for all parameters, for the model has many small ones
            optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        return optimizer

    def transfer_batch_to_device(self, batch: Item, device: torch.device, dataloader_idx: int) -> Item:
        """Moves the tensors only; the counts are plain numbers."""
        tensors, counts = batch
        if tensors is not None and device.type != "cpu":
            tensors = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        return tensors, counts

    def on_train_epoch_start(self) -> None:
        """Makes the epoch independent of what happened before it: order of frames, random numbers, loss weights."""
        self.train_batches.epoch = self.epoch
        torch.manual_seed((self.settings.seed * 1_000_003 + self.epoch) * 1_009 + self.global_rank)
        self.weights = self.settings.loss.all_stages()[stage_at(self.settings.loss, self.epoch)]
        self.train_sums = torch.zeros(2, len(QUANTITIES), dtype=torch.float64, device=self.device)

    def on_train_batch_start(self, batch: Item, batch_idx: int) -> None:
        """Sets the learning rate of the step."""
        rate = self.learning_rate.at(self.epoch * len(self.train_batches) + batch_idx)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:
        """Loss of the step, scaled so that the mean over processes is the loss of all their frames together."""
        tensors, counts = batch
        n_ranks = self.trainer.world_size
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        if n_ranks > 1:
            # every parameter must take part on every process, also where a term or all frames are missing
            loss = loss + self._no_loss()
        if tensors is None:
            return loss
        wanted = wanted_outputs(tensors, self.settings.loss)
        output = evaluate(self.model, tensors, create_graph=True, periodic_sum=self.periodic_sum, **wanted)
        penalties, squared = error_sums(output, tensors, self.settings.loss)
        self.train_sums += torch.stack([penalties.detach(), squared])
        loss = loss + n_ranks * weighted_mean(penalties, counts, self.weights)
        # a step without any label has nothing to learn from
        return loss if loss.requires_grad else loss + self._no_loss()

    def _no_loss(self) -> Tensor:
        return 0.0 * torch.stack([parameter.sum() for parameter in self.model.parameters()]).sum()

    def backward(self, loss: Tensor) -> None:
        """Gradients of the parameters alone: those of the positions would cost a third of the step."""
        loss.backward(inputs=[parameter for parameter in self.model.parameters() if parameter.requires_grad])

    def on_validation_epoch_start(self) -> None:
        """Clears the sums."""
        self.valid_sums = torch.zeros(2, len(QUANTITIES), dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        """Adds the errors of the batch to the sums."""
        tensors, _ = batch
        if tensors is None:
            return
        with torch.enable_grad():
            wanted = wanted_outputs(tensors, self.settings.loss)
            output = evaluate(self.model, tensors, periodic_sum=self.periodic_sum, **wanted)
        output = {name: tensor.detach() for name, tensor in output.items()}
        penalties, squared = error_sums(output, tensors, self.settings.loss)
        self.valid_sums += torch.stack([penalties, squared])
