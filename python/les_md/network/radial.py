"""Radial basis of the edges: Bessel functions times a smooth cutoff."""

import math

import torch
from torch import Tensor, nn


def cutoff_function(edge_lengths: Tensor, cutoff: float) -> Tensor:
    """Polynomial that falls from 1 to 0 at `cutoff` with two continuous derivatives.

    Gasteiger, Gross, Günnemann, ICLR 2020 (DimeNet), eq. 8 with p = 6. `edge_lengths` of any shape, angstrom.
    """
    # f(x) = 1 - 28 x^6 + 48 x^7 - 21 x^8,  x = r / cutoff
    x = torch.clamp(edge_lengths / cutoff, max=1.0)
    x3 = x * x * x
    x6 = x3 * x3
    return 1.0 + x6 * (-28.0 + x * (48.0 - 21.0 * x))


def cutoff_slope(edge_lengths: Tensor, cutoff: float) -> Tensor:
    """Derivative of `cutoff_function`, 1/angstrom."""
    x = torch.clamp(edge_lengths / cutoff, max=1.0)
    x2 = x * x
    return -168.0 / cutoff * x2 * x2 * x * (1.0 - x) * (1.0 - x)


class RadialBasis(nn.Module):
    """R_n(r) = sqrt(2 / c) sin(n pi r / c) / r * f(r), n = 1 ... n_radial; what is learned is how channels mix them.

    Source: Cheng, npj Comput. Mater. 10, 157 (2024), radial basis.
    """

    frequencies: Tensor

    def __init__(self, cutoff: float, n_radial: int) -> None:
        super().__init__()
        self.cutoff = cutoff
        # float64 until the model is converted: in float32 the basis would not vanish at the cutoff
        frequencies = torch.arange(1, n_radial + 1, dtype=torch.float64) * math.pi / cutoff
        self.register_buffer("frequencies", frequencies)

    def forward(self, edge_lengths: Tensor) -> Tensor:
        """`edge_lengths` (...,) in angstrom, positive -> (..., n_radial)."""
        r = edge_lengths.unsqueeze(-1)
        scale = math.sqrt(2.0 / self.cutoff) * cutoff_function(edge_lengths, self.cutoff) / edge_lengths
        return scale.unsqueeze(-1) * torch.sin(r * self.frequencies)

    @torch.jit.unused
    def with_slopes(self, edge_lengths: Tensor) -> Tensor:
        """R_n and dR_n/dr, (n_edges, 2, n_radial)."""
        envelope = cutoff_function(edge_lengths, self.cutoff)
        scale = math.sqrt(2.0 / self.cutoff) / edge_lengths
        angles = edge_lengths.unsqueeze(-1) * self.frequencies
        sines, cosines = torch.sin(angles), torch.cos(angles)
        height = scale * envelope
        slope = scale * (cutoff_slope(edge_lengths, self.cutoff) - envelope / edge_lengths)
        values = height.unsqueeze(-1) * sines
        slopes = slope.unsqueeze(-1) * sines + height.unsqueeze(-1) * self.frequencies * cosines
        return torch.stack([values, slopes], dim=1)
