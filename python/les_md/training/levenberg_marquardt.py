"""Levenberg-Marquardt for small data sets: every step solves for all errors of all frames at once.

Gradient descent needs very many steps where the geometries hardly differ, as with rigid molecules at several distances:
what decides there are small differences between large, strongly correlated numbers. With up to some thousand labels the
damped least-squares step is affordable, since it can be solved in the space of the labels:
(J^T J + d)^-1 J^T e = J^T (J J^T + d)^-1 e. Source: Marquardt, J. Soc. Ind. Appl. Math. 11, 431 (1963).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from les_md.errors import LESError
from les_md.forces import evaluate
from les_md.training.data import Counts, FrameBatches, count
from les_md.training.loss import error_sums, label_errors, wanted_outputs, weighted_mean
from les_md.training.loss_settings import LossWeights
from les_md.training.trainer_module import Item, TrainerModule

#: The damping is in units of the mean diagonal element of J J^T; where it starts, and the smallest one.
FIRST_DAMPING = 1e-4
LEAST_DAMPING = 1e-9
#: A step that lowers the loss divides the damping by the first, one that does not multiplies it by the second number.
EASING, TIGHTENING = 8.0, 4.0
#: Dampings tried in one step; if none lowers the loss the parameters stay.
LARGEST_NUMBER_OF_TRIALS = 8
#: Bytes of the largest Jacobian.
LARGEST_JACOBIAN = 4e9


class LevenbergMarquardt(torch.optim.Optimizer):
    """Steps from errors and their Jacobian. The learning rate is 1 and means nothing; `damping` adapts itself."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, {"lr": 1.0, "damping": FIRST_DAMPING})

    @torch.no_grad()
    def improve(self, errors: Tensor, jacobian: Tensor, loss: Callable[[], float]) -> None:
        """Changes the parameters such that the loss falls, or leaves them.

        Args:
            errors: (n_errors,), weighted such that the loss is the sum of their squares.
            jacobian: (n_errors, n_parameters), their derivatives by the parameters in order.
            loss: evaluates the loss with the parameters as they are.
        """
        (group,) = self.param_groups
        before = float(errors.square().sum())
        gram = jacobian @ jacobian.T
        size = float(gram.diagonal().mean())
        if not size > 0.0:
            return
        unit = torch.eye(len(errors), dtype=gram.dtype)
        values = [parameter.clone() for parameter in group["params"]]
        for _ in range(LARGEST_NUMBER_OF_TRIALS):
            step = jacobian.T @ torch.linalg.solve(gram + group["damping"] * size * unit, errors)
            parts = step.split([parameter.numel() for parameter in group["params"]])
            for parameter, value, part in zip(group["params"], values, parts, strict=True):
                parameter.copy_(value - part.view_as(value).to(value.dtype))
            if loss() < before:  # not so if it is not a number
                group["damping"] = max(group["damping"] / EASING, LEAST_DAMPING)
                return
            group["damping"] *= TIGHTENING
        for parameter, value in zip(group["params"], values, strict=True):
            parameter.copy_(value)


class LeastSquaresModule(TrainerModule):
    """`TrainerModule` with one Levenberg-Marquardt step an epoch; the batches only collect its rows."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.automatic_optimization = False
        self.counts: Counts = count(self.train_batches.frames)
        self.rows: list[tuple[Tensor, Tensor]] = []
        _check_size(self.counts, sum(parameter.numel() for parameter in self.model.parameters()))

    def configure_optimizers(self) -> LevenbergMarquardt:
        """The optimizer, with the damping of an earlier run."""
        optimizer = LevenbergMarquardt(self.model.parameters())
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        return optimizer

    def on_train_batch_start(self, batch: Item, batch_idx: int) -> None:
        """There is no learning rate to set."""

    def training_step(self, batch: Item, batch_idx: int) -> None:  # type: ignore[override]
        """Adds the rows of the batch; with the last one of the epoch it takes the step."""
        tensors, _ = batch
        assert tensors is not None
        wanted = wanted_outputs(tensors, self.settings.loss)
        output = evaluate(self.model, tensors, create_graph=True, periodic_sum=self.periodic_sum, **wanted)
        penalties, squared = error_sums(output, tensors, self.settings.loss)
        self.train_sums += torch.stack([penalties.detach(), squared])
        errors = weighted_errors(label_errors(output, tensors, self.settings.loss), self.counts, self.weights)
        if len(errors) > 0:
            self.rows.append((errors.detach(), self._jacobian(errors)))
        if batch_idx + 1 == len(self.train_batches) and self.rows:
            errors, jacobian = (torch.cat(parts) for parts in zip(*self.rows, strict=True))
            self.rows = []
            optimizer = self.trainer.optimizers[0]
            assert isinstance(optimizer, LevenbergMarquardt)
            optimizer.improve(errors, jacobian, self._loss)

    def _jacobian(self, errors: Tensor) -> Tensor:
        parameters = list(self.model.parameters())
        rows = []
        for error in errors:
            slopes = torch.autograd.grad(error, parameters, retain_graph=True, allow_unused=True)
            full = [
                torch.zeros_like(parameter) if slope is None else slope
                for parameter, slope in zip(parameters, slopes, strict=True)
            ]
            rows.append(torch.cat([slope.flatten() for slope in full]).double())
        return torch.stack(rows)

    def _loss(self) -> float:
        """Of all training frames, with the parameters as they are."""
        sums = torch.zeros_like(self.train_sums[0])
        with torch.enable_grad():
            for tensors, _ in FrameBatches(self.train_batches.frames, batch_size=1):
                assert tensors is not None
                wanted = wanted_outputs(tensors, self.settings.loss)
                output = evaluate(self.model, tensors, periodic_sum=self.periodic_sum, **wanted)
                output = {name: tensor.detach() for name, tensor in output.items()}
                sums += error_sums(output, tensors, self.settings.loss)[0]
        return float(weighted_mean(sums, self.counts, self.weights))


def weighted_errors(errors: dict[str, Tensor], counts: Counts, weights: LossWeights) -> Tensor:
    """`errors` by quantity as one vector (n_errors,), float64; its squares, summed over all batches, are the loss."""
    parts = [
        (getattr(weights, quantity) / max(counts[quantity], 1)) ** 0.5 * error.flatten().double()
        for quantity, error in errors.items()
        if getattr(weights, quantity) > 0
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _check_size(counts: Counts, n_parameters: int) -> None:
    n_errors = sum(counts.values())
    size = 8.0 * n_errors * n_parameters
    if size > LARGEST_JACOBIAN:
        raise LESError(
            f"`training.optimizer: levenberg_marquardt` is for small data: {n_errors} labels and {n_parameters} "
            f"parameters would take {1e-9 * size:.1f} GB, more than {1e-9 * LARGEST_JACOBIAN:.0f}; use `soap`"
        )
