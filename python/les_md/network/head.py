"""Heads: numbers per atom from invariant features. Energies and charges use the same form."""

import itertools

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Multilayer perceptron plus a linear map, on standardised features and the element of the atom.

    Features are shifted and scaled per element with values taken once from training data, so that the perceptron sees
    numbers of order one whatever the units of the basis.
    """

    mean: Tensor
    inverse_scale: Tensor
    output_scale: Tensor
    one_hot: Tensor

    def __init__(self, n_types: int, n_features: int, hidden: list[int], n_outputs: int) -> None:
        super().__init__()
        widths = [n_features + n_types, *hidden]
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.perceptron = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1], n_outputs, bias=False)
        self.linear = nn.Linear(widths[0], n_outputs, bias=False)
        self.register_buffer("mean", torch.zeros(n_types, n_features))
        self.register_buffer("inverse_scale", torch.ones(n_types, n_features))
        self.register_buffer("output_scale", torch.ones(n_outputs))
        self.register_buffer("one_hot", torch.eye(n_types))

    @torch.jit.unused
    def standardize(self, features: Tensor, types: Tensor) -> None:
        """Takes mean and spread of `features` (n_atoms, n_features) for each element present."""
        with torch.no_grad():
            for element in types.unique().tolist():
                rows = features[types == element]
                self.mean[element] = rows.mean(0)
                # a feature that hardly varies in the data must not be blown up outside of it
                spread = rows.std(0, unbiased=False) if len(rows) > 1 else torch.zeros_like(rows[0])
                floor = 0.1 * rows.abs().mean(0) + 1e-3 * features.square().mean().sqrt() + 1e-12
                self.inverse_scale[element] = 1.0 / torch.maximum(spread, floor)

    def forward(self, features: Tensor, types: Tensor) -> Tensor:
        """`features` (n_atoms, n_features), `types` (n_atoms,) -> (n_atoms, n_outputs)."""
        scaled = (features - self.mean.index_select(0, types)) * self.inverse_scale.index_select(0, types)
        inputs = torch.cat([scaled, self.one_hot.index_select(0, types)], dim=1)
        return (self.output(self.perceptron(inputs)) + self.linear(inputs)) * self.output_scale
