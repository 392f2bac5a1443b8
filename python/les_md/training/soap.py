"""SOAP: Adam in a slowly changing basis that follows the correlations of the gradients.

Source: Vyas et al., arXiv 2409.11321, algorithm 3: Shampoo's factors, Adam in their eigenbasis, one power iteration
with QR for each new basis. For the small and badly conditioned networks of this package it needs several times fewer
steps than Adam. Stacks of matrices (one for each element and degree) are taken one by one; vectors keep to Adam.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

#: Longer sides of a matrix keep their basis: their factors would cost more than the step.
LONGEST_SIDE = 512
#: Steps between new bases.
BASIS_INTERVAL = 20
#: Smallest size of a gradient relative to that of its matrix. Many directions of the basis have hardly any gradient,
#: and rounding errors must not become whole steps in them.
DAMPING = 1e-4


class SOAP(torch.optim.Optimizer):
    """See above. `betas` are the decays of the gradients' mean and squares; the factors have that of the squares."""

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step for all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        gradient = _stacked(parameter.grad)
        if not state:
            state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
            for side, length in (("left", gradient.size(1)), ("right", gradient.size(2))):
                if gradient.size(1) > 1 and 1 < length <= LONGEST_SIDE:
                    state[f"{side}_factor"] = _product(gradient, side)
                    unit = torch.eye(length, dtype=gradient.dtype, device=gradient.device)
                    state[f"{side}_basis"] = unit.repeat(len(gradient), 1, 1)
                    for _ in range(4):
                        _renew_basis(state, side)
        state["step"] += 1
        first_decay, decay = group["betas"]
        turned = _turn(state, gradient)
        state["mean"].lerp_(gradient, 1.0 - first_decay)
        state["square"].mul_(decay).addcmul_(turned, turned, value=1.0 - decay)
        square = state["square"] / (1.0 - decay ** state["step"])
        floor = DAMPING * square.mean((1, 2), keepdim=True).sqrt() + group["eps"]
        size = square.sqrt_().add_(floor)
        update = _turn(state, state["mean"]).div_(size).div_(1.0 - first_decay ** state["step"])
        if group["weight_decay"] > 0:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        parameter.sub_(_turn_back(state, update).view_as(parameter), alpha=group["lr"])
        for side in ("left", "right"):
            if f"{side}_factor" in state:
                state[f"{side}_factor"].lerp_(_product(gradient, side), 1.0 - decay)
                # more often at first, while the factors settle
                if state["step"] % BASIS_INTERVAL == 0 or state["step"] in (1, 2, 4, 8, 14):
                    _renew_basis(state, side)


def _stacked(gradient: Tensor | None) -> Tensor:
    """Gradient as a stack of matrices (n, rows, columns); vectors and single rows as one row."""
    assert gradient is not None
    if gradient.dim() < 2:
        return gradient.reshape(1, 1, -1)
    return gradient.reshape(-1, gradient.size(-2), gradient.size(-1))


def _product(gradient: Tensor, side: str) -> Tensor:
    return gradient @ gradient.mT if side == "left" else gradient.mT @ gradient


def _turn(state: dict[str, Any], matrices: Tensor) -> Tensor:
    """Into the basis; without one a copy, which may be changed."""
    matrices = state["left_basis"].mT @ matrices if "left_basis" in state else matrices.clone()
    return matrices @ state["right_basis"] if "right_basis" in state else matrices


def _turn_back(state: dict[str, Any], matrices: Tensor) -> Tensor:
    if "left_basis" in state:
        matrices = state["left_basis"] @ matrices
    return matrices @ state["right_basis"].mT if "right_basis" in state else matrices


def _renew_basis(state: dict[str, Any], side: str) -> None:
    """One step of the power iteration on all eigenvectors, which are first put in order of their eigenvalues."""
    factor, basis = state[f"{side}_factor"], state[f"{side}_basis"]
    values = (basis * (factor @ basis)).sum(-2)
    order = values.argsort(dim=-1, descending=True)
    basis = basis.gather(2, order.unsqueeze(1).expand_as(basis))
    rows = order.unsqueeze(2) if side == "left" else order.unsqueeze(1)
    state["square"] = state["square"].gather(1 if side == "left" else 2, rows.expand_as(state["square"]))
    # where there was no gradient yet, the product below would be rounding errors
    size = factor.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1)
    state[f"{side}_basis"] = torch.linalg.qr(factor @ basis + DAMPING * size * basis)[0]
