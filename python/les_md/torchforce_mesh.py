"""Long-range energy of the self-contained entry on a particle mesh, with gradients, in plain TorchScript.

The method is that of docs/long_range.md with one fixed scheme of 8 points per axis: charges to the mesh, Fourier
transform, filter, back, and potentials and forces by the exact derivative of the window. Gradients are computed here
and not by autograd: memory stays bounded, and TorchScript's own derivative of complex products is not needed.
"""

import math

import numpy as np
import torch
from torch import Tensor

from les_md import torchforce_sizes as sizes


def mesh_spacing(smearing: float, k_cutoff: float) -> float:
    """Largest distance of mesh points, angstrom.

    Either aliases are beyond the reach of the window (small `k_cutoff`), or the kernel has decayed before they matter;
    waves up to the cutoff have a place on the mesh.
    """
    k = min(k_cutoff, sizes.LARGEST_WAVE / smearing)
    return max(0.64 * math.pi / k, min(0.56 * smearing, 0.95 * math.pi / k))


def window_shape(smearing: float, k_cutoff: float) -> float:
    """beta of the Kaiser-Bessel window I0(beta sqrt(1 - (2x/p)^2)), with a small error at
    `mesh_spacing`; p = MESH_NODES."""
    decayed = min(max((smearing * k_cutoff - 2.0) / 1.1, 0.0), 1.0)
    return (2.2 + 0.25 * decayed) * sizes.MESH_NODES


def window_coefficients(shape: float, degree: int = sizes.MESH_NODES + 4) -> list[list[float]]:
    """Weights of the nodes as polynomials of x = 2t - 1, where v = first node + t is the place of a charge on the mesh.

    Returns:
        (degree + 1, MESH_NODES), lowest power first.
    """
    norm = sizes.MESH_NODES * math.sinh(shape) / shape
    columns = []
    for node in range(sizes.MESH_NODES):

        def weight(x: np.ndarray, node: int = node) -> np.ndarray:
            distance = 1.0 + node - 0.5 * (x + 1.0) - 0.5 * sizes.MESH_NODES
            return np.i0(shape * np.sqrt(np.maximum(0.0, 1.0 - (2.0 * distance / sizes.MESH_NODES) ** 2))) / norm

        piece = np.polynomial.Chebyshev.interpolate(weight, degree).convert(kind=np.polynomial.Polynomial)
        columns.append(np.pad(piece.coef, (0, degree + 1 - len(piece.coef))))
    return [[float(value) for value in row] for row in np.stack(columns, axis=1)]


def sinhc_of_root(y: Tensor) -> Tensor:
    """sinh(sqrt(y)) / sqrt(y), for negative y sin(sqrt(-y)) / sqrt(-y)."""
    root = y.abs().sqrt().clamp(min=1e-6)
    return torch.where(y > 0.0, torch.sinh(root), torch.sin(root)) / root


def window_transform(frequency: Tensor, shape: float) -> Tensor:
    """Fourier transform of the window at `frequency` (radians per mesh spacing), 1 at zero."""
    half = 0.5 * sizes.MESH_NODES * frequency
    return sinhc_of_root(shape * shape - half * half) * (shape / math.sinh(shape))


def window_tables(mode: Tensor, points: int, shape: float) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis of `points` mesh points, for each `mode`: 1 / W^2, the sum over aliases of W_b^2 / W^2, and the
    mean of W_b / W over the two nearest aliases."""
    unit = 2.0 * math.pi / points
    here = window_transform(unit * mode, shape)
    excess = torch.zeros_like(mode)
    for b in range(1, 5):
        for sign in (-1.0, 1.0):
            excess = excess + (window_transform(unit * (mode + sign * b * points), shape) / here).square()
    above = window_transform(unit * (mode + points), shape)
    below = window_transform(unit * (mode - points), shape)
    return here.square().reciprocal(), excess, 0.5 * (above + below) / here


def fast_length(least: int) -> int:
    """The smallest even number of at least `least` with factors 2, 3 and 5 only."""
    n = 2 * ((max(least, sizes.MESH_NODES) + 1) // 2) - 2
    rest = 0
    while rest != 1:
        n += 2
        rest = n
        while rest % 2 == 0:
            rest = rest // 2
        while rest % 3 == 0:
            rest = rest // 3
        while rest % 5 == 0:
            rest = rest // 5
    return n


def axis_weights(v: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First node (n, 3), weights of the nodes and their slopes (n, 3, MESH_NODES) of charges at v (n, 3), u less what
    is left of the first node in the window."""
    first = torch.floor(v)
    x = (2.0 * (v - first) - 1.0).unsqueeze(2)
    degree = coefficients.size(0) - 1
    powers = torch.cat([torch.ones_like(x), x.expand(-1, -1, degree).cumprod(2)], dim=2)
    order = torch.arange(1, degree + 1, dtype=v.dtype, device=v.device).unsqueeze(1)
    slopes = torch.matmul(powers[:, :, :degree], 2.0 * order * coefficients[1:])  # dx/dv = 2
    return first.to(torch.int64), torch.matmul(powers, coefficients), slopes


def mesh_rows(first: Tensor, mesh: list[int]) -> Tensor:
    """Places (n, MESH_NODES, MESH_NODES) of rows along the third axis in a flat mesh (mesh[0], mesh[1],
    mesh[2] + MESH_NODES), which repeats the beginning of the third axis at its end."""
    nodes = torch.arange(sizes.MESH_NODES, device=first.device)
    i0 = torch.remainder(first[:, 0].unsqueeze(1) + nodes, mesh[0]).unsqueeze(2)
    i1 = torch.remainder(first[:, 1].unsqueeze(1) + nodes, mesh[1]).unsqueeze(1)
    i2 = torch.remainder(first[:, 2], mesh[2]).view(-1, 1, 1)
    return (i0 * mesh[1] + i1) * (mesh[2] + sizes.MESH_NODES) + i2


def points_to_mesh(v: Tensor, charges: Tensor, mesh: list[int], coefficients: Tensor) -> Tensor:
    """Charges (n, n_channels) spread over the mesh, (n_channels, *mesh)."""
    n_channels = charges.size(1)
    padded = torch.zeros(n_channels, mesh[0] * mesh[1] * (mesh[2] + sizes.MESH_NODES), dtype=v.dtype, device=v.device)
    nodes = torch.arange(sizes.MESH_NODES, device=v.device)
    for start in range(0, v.size(0), sizes.MESH_ATOMS_AT_ONCE):
        first, w, _ = axis_weights(v[start : start + sizes.MESH_ATOMS_AT_ONCE], coefficients)
        places = (mesh_rows(first, mesh).unsqueeze(3) + nodes).flatten()
        plane = w[:, 0].unsqueeze(2) * w[:, 1].unsqueeze(1)
        weights = plane.unsqueeze(3) * w[:, 2].unsqueeze(1).unsqueeze(1)
        for channel in range(n_channels):
            share = weights * charges[start : start + sizes.MESH_ATOMS_AT_ONCE, channel].view(-1, 1, 1, 1)
            padded[channel].scatter_add_(0, places, share.flatten())
    padded = padded.view(n_channels, mesh[0], mesh[1], mesh[2] + sizes.MESH_NODES)
    result = padded[:, :, :, : mesh[2]].clone()
    result[:, :, :, : sizes.MESH_NODES] += padded[:, :, :, mesh[2] :]
    return result


def mesh_to_points(v: Tensor, potential: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Values (n, n_channels) and slopes per mesh spacing (n, n_channels, 3) of `potential` (n_channels, *mesh)."""
    mesh = list(potential.shape)[1:]
    padded = torch.cat([potential, potential[:, :, :, : sizes.MESH_NODES]], dim=3).flatten(1)
    n_channels = padded.size(0)
    values = torch.zeros(v.size(0), n_channels, dtype=v.dtype, device=v.device)
    slopes = torch.zeros(v.size(0), n_channels, 3, dtype=v.dtype, device=v.device)
    for start in range(0, v.size(0), sizes.MESH_ATOMS_AT_ONCE):
        first, w, d = axis_weights(v[start : start + sizes.MESH_ATOMS_AT_ONCE], coefficients)
        stop = start + first.size(0)
        rows = mesh_rows(first, mesh).flatten()
        third = torch.stack([w[:, 2], d[:, 2]], dim=2)
        for channel in range(n_channels):
            points = (
                padded[channel]
                .unfold(0, sizes.MESH_NODES, 1)
                .index_select(0, rows)
                .view(-1, sizes.MESH_NODES * sizes.MESH_NODES, sizes.MESH_NODES)
            )
            along = torch.bmm(points, third).view(-1, sizes.MESH_NODES, sizes.MESH_NODES, 2)
            summed = (along * w[:, 1].unsqueeze(1).unsqueeze(3)).sum(2)
            second = (along[:, :, :, 0] * d[:, 1].unsqueeze(1)).sum(2)
            values[start:stop, channel] = (summed[:, :, 0] * w[:, 0]).sum(1)
            slopes[start:stop, channel, 0] = (summed[:, :, 0] * d[:, 0]).sum(1)
            slopes[start:stop, channel, 1] = (second * w[:, 0]).sum(1)
            slopes[start:stop, channel, 2] = (summed[:, :, 1] * w[:, 0]).sum(1)
    return values, slopes


def mesh_energy(
    charges: Tensor,
    positions: Tensor,
    cell: Tensor,
    smearing: float,
    k_cutoff: float,
    coulomb_constant: float,
    remove_self_interaction: bool,
    spacing: float,
    shape: float,
    window: list[list[float]],
    gradients: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `ewald.periodic_energy` sums, up to the error of the mesh, and the derivatives of that number.

    Args:
        charges, positions, cell, smearing, k_cutoff, coulomb_constant, remove_self_interaction: as there; no gradients.
        spacing: largest distance of mesh points along a lattice vector, angstrom, see `mesh_spacing`.
        shape: beta of the window.
        window: of `window_coefficients`.
        gradients: whether they are wanted; empty tensors if not.

    Returns:
        energy; its gradients in charges (n_atoms, n_channels), positions (n_atoms, 3) and cell (3, 3).
    """
    charges = charges.to(torch.float64)
    coefficients = torch.tensor(window, dtype=torch.float64, device=cell.device)
    if gradients:
        cell = cell.data.requires_grad_(True)
    inverse = torch.linalg.inv(cell)
    fractional = torch.matmul(positions, inverse.data)
    fractional = fractional - torch.floor(fractional)
    lengths = torch.linalg.vector_norm(cell.data, dim=1)
    mesh: list[int] = []
    for axis in range(3):
        mesh.append(fast_length(int(torch.ceil(lengths[axis] / spacing - 1e-9))))
    points = torch.tensor(mesh, dtype=torch.float64, device=cell.device)
    if float(points.prod()) > sizes.LARGEST_MESH:
        raise RuntimeError(f"a mesh of {mesh} points does not fit into memory; use LESForce, or a box with less vacuum")
    u = fractional * points
    v = u - (0.5 * sizes.MESH_NODES - 1.0)

    # modes n2 >= 0; the highest one of an even length is its own negative and is left out
    last = mesh[2] // 2 + 1
    modes: list[Tensor] = []
    for axis in range(3):
        n = torch.arange(mesh[axis], dtype=torch.float64, device=cell.device)
        modes.append(torch.where(2.0 * n >= mesh[axis], n - mesh[axis], n))
    n0, n1, n2 = modes[0].view(-1, 1, 1), modes[1].view(1, -1, 1), modes[2][:last].view(1, 1, -1)
    metric = 4.0 * math.pi * math.pi * torch.matmul(inverse.transpose(0, 1), inverse)
    k_sq = metric[0, 0] * n0 * n0 + metric[1, 1] * n1 * n1 + 2.0 * metric[0, 1] * n0 * n1
    k_sq = k_sq + (2.0 * metric[0, 2] * n0 + 2.0 * metric[1, 2] * n1 + metric[2, 2] * n2) * n2
    farthest = min(k_cutoff, sizes.LARGEST_WAVE / smearing)
    inside = k_sq.data <= farthest * farthest * (1.0 + 1e-9)
    inside[0, 0, 0] = False
    inside[mesh[0] // 2] = False
    inside[:, mesh[1] // 2] = False
    inside[:, :, mesh[2] // 2] = False
    k_sq = torch.where(inside, k_sq, torch.ones_like(k_sq))
    kernel = torch.exp(-0.5 * smearing * smearing * k_sq) / k_sq * inside.to(torch.float64)
    deconvolution0, excess0, nearest0 = window_tables(modes[0], mesh[0], shape)
    deconvolution1, excess1, nearest1 = window_tables(modes[1], mesh[1], shape)
    deconvolution2, excess2, nearest2 = window_tables(modes[2][:last], mesh[2], shape)
    deconvolution = deconvolution0.view(-1, 1, 1) * deconvolution1.view(1, -1, 1) * deconvolution2

    reciprocal_constant = 2.0 * math.pi * coulomb_constant
    volume = torch.linalg.det(cell).abs()
    prefactor = reciprocal_constant / volume
    amplitudes = torch.fft.rfftn(points_to_mesh(v, charges, mesh, coefficients), dim=[1, 2, 3])
    squared = torch.view_as_real(amplitudes).square().sum(4).sum(0)
    both = torch.where(n2 > 0.0, 2.0, 1.0).to(torch.float64)  # a mode and its negative
    listed = both * kernel
    # the mean self energy of a charge on the mesh, and what varies between mesh points, are put right
    too_much = (1.0 + excess0.view(-1, 1, 1)) * (1.0 + excess1.view(1, -1, 1)) * (1.0 + excess2) - 1.0
    ripple = torch.stack(
        [
            4.0 * (listed * nearest0.view(-1, 1, 1)).sum(),
            4.0 * (listed * nearest1.view(1, -1, 1)).sum(),
            4.0 * (listed * nearest2).sum(),
        ]
    )
    self_term = -(listed * too_much).sum() * prefactor
    if farthest < k_cutoff:
        # the integral of the kernel beyond; the border moves with the modes of the cell
        border = farthest * (volume.data / volume) ** (1.0 / 3.0) * smearing / math.sqrt(2.0)
        beyond = torch.erfc(border) - math.erfc(k_cutoff * smearing / math.sqrt(2.0))
        self_term = self_term + reciprocal_constant / (2.0 * math.pi**2) * math.sqrt(0.5 * math.pi) / smearing * beyond
    if remove_self_interaction:
        self_term = self_term - reciprocal_constant / (smearing * (2.0 * math.pi) ** 1.5)
    squares = charges.square().sum(1)
    varying = torch.matmul(squares, torch.cos(2.0 * math.pi * u))
    energy = (
        prefactor * ((listed * deconvolution * squared).sum() - (ripple * varying).sum())
    ) + self_term * squares.sum()
    if not gradients:
        none = torch.zeros(0, dtype=torch.float64, device=cell.device)
        return energy.data, none, none, none

    in_cell = torch.autograd.grad([energy], [cell])[0]
    assert in_cell is not None
    scale = prefactor.data
    filtered = amplitudes * (kernel.data * deconvolution)
    potential = torch.fft.irfftn(filtered, s=mesh, dim=[1, 2, 3]) * (2.0 * scale * points.prod())
    values, slopes = mesh_to_points(v, potential, coefficients)
    ripple = ripple.data * scale
    of_unit_charge = self_term.data - torch.matmul(torch.cos(2.0 * math.pi * u), ripple)
    in_charges = values + 2.0 * charges * of_unit_charge.unsqueeze(1)
    in_u = (slopes * charges.unsqueeze(2)).sum(1)
    in_u = in_u + 2.0 * math.pi * ripple * torch.sin(2.0 * math.pi * u) * squares.unsqueeze(1)
    in_fractional = in_u * points
    in_positions = torch.matmul(in_fractional, inverse.data.transpose(0, 1))
    # so far at fixed fractional coordinates: dE/dcell at fixed positions has the change of those, -s d(cell) / cell
    true_fractional = torch.matmul(positions, inverse.data)
    in_cell = in_cell - torch.matmul(true_fractional.transpose(0, 1), in_positions)
    return energy.data, in_charges, in_positions, in_cell
