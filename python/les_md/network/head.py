"""Heads: numbers per atom from invariant features. Energies and charges use the same form."""

import itertools

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """A linear map for each element plus a multilayer perceptron, on decorrelated features.

    Features are shifted and scaled per element and then decorrelated, with numbers taken once from training data: the
    invariants of one atom are strongly correlated, and gradient descent on them as they are is slow.
    """

    mean: Tensor  # (n_types, n_features)
    inverse_scale: Tensor  # (n_types, n_features)
    decorrelation: Tensor  # (n_features, n_features)
    output_scale: Tensor  # (n_outputs,)
    one_hot: Tensor  # (n_types, n_types)

    def __init__(
        self,
        n_types: int,
        n_features: int,
        hidden: list[int],
        n_outputs: int,
        output_scale: float = 1.0,
        blocks: list[int] | None = None,
    ) -> None:
        """Features of different `blocks` (their lengths; by default one) are not mixed by the decorrelation."""
        super().__init__()
        self.blocks = blocks or [n_features]
        widths = [n_features + n_types, *hidden]
        layers: list[nn.Module] = []
        self.first = nn.Linear(widths[0], widths[1])
        layers.append(nn.SiLU())
        for n_in, n_out in itertools.pairwise(widths[1:]):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.perceptron = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1], n_outputs, bias=False)
        self.linear = nn.Linear(n_features, n_types * n_outputs, bias=False)
        self.constant = nn.Parameter(torch.zeros(n_types, n_outputs))
        self.n_outputs = n_outputs
        self.register_buffer("mean", torch.zeros(n_types, n_features))
        self.register_buffer("inverse_scale", torch.ones(n_types, n_features))
        self.register_buffer("decorrelation", torch.eye(n_features))
        self.register_buffer("output_scale", torch.full((n_outputs,), output_scale))
        self.register_buffer("one_hot", torch.eye(n_types))

    @torch.jit.unused
    def standardize(self, features: Tensor, types: Tensor, whitening_floor: float | None = None) -> None:
        """Takes mean, spread and correlations of `features` (n_atoms, n_features), atoms of every element given."""
        whitening_floor = WHITENING_FLOOR if whitening_floor is None else whitening_floor
        with torch.no_grad():
            for element in types.unique().tolist():
                rows = features[types == element]
                self.mean[element] = rows.mean(0)
                # a feature that hardly varies in the data must not be blown up outside of it
                spread = rows.std(0, unbiased=False) if len(rows) > 1 else torch.zeros_like(rows[0])
                floor = 0.1 * rows.abs().mean(0) + 1e-3 * features.square().mean().sqrt() + 1e-12
                self.inverse_scale[element] = 1.0 / torch.maximum(spread, floor)
            scaled = (features - self.mean.index_select(0, types)) * self.inverse_scale.index_select(0, types)
            parts = []
            for block in scaled.double().split(self.blocks, dim=1):
                # C = U diag(v) U^T: U diag(sqrt(v) / (v + floor)) U^T whitens what varies, drops what does not
                values, directions = torch.linalg.eigh(block.T @ block / len(block))
                weights = values.clamp(min=0.0).sqrt() / (values + whitening_floor)
                parts.append((directions * weights) @ directions.T)
            self.decorrelation.copy_(torch.block_diag(*parts))

    def inputs(self, features: Tensor, types: Tensor) -> Tensor:
        """Shifted, scaled and decorrelated features, (n_atoms, n_features)."""
        scaled = (features - self.mean.index_select(0, types)) * self.inverse_scale.index_select(0, types)
        return torch.matmul(scaled, self.decorrelation)

    def forward(self, features: Tensor, types: Tensor, shift: Tensor | None = None) -> Tensor:
        """`features` (n_atoms, n_features), `types` (n_atoms,) -> (n_atoms, n_outputs).

        `shift` (n_atoms, hidden[0]) is added to what the first hidden layer is given.
        """
        scaled = (features - self.mean.index_select(0, types)) * self.inverse_scale.index_select(0, types)
        element = self.one_hot.index_select(0, types)
        n_features = features.size(1)
        # the decorrelation goes into the weights that follow it: there are fewer of them than atoms
        weights = torch.cat([self.linear.weight, self.first.weight[:, :n_features]])
        mixed = torch.matmul(scaled, torch.matmul(self.decorrelation, weights.transpose(0, 1)))
        n_linear = self.linear.weight.size(0)
        linear = mixed[:, :n_linear].view(types.size(0), self.one_hot.size(0), self.n_outputs) * element.unsqueeze(2)
        types_part = torch.matmul(element, self.first.weight[:, n_features:].transpose(0, 1)) + self.first.bias
        inner = mixed[:, n_linear:] + types_part
        if shift is not None:
            inner = inner + shift
        nonlinear = self.perceptron(inner)
        return (linear.sum(1) + self.constant.index_select(0, types) + self.output(nonlinear)) * self.output_scale


#: Variance, relative to that of one feature, below which a direction in feature space counts for less and less.
WHITENING_FLOOR = 0.1
