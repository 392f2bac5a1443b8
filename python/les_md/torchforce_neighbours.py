"""Neighbour search of the self-contained entry, in plain TorchScript: time and memory grow with the number of atoms.

Periodic images within reach of the cell are laid around it as atoms of their own, so that any cell, also one much
smaller than the cutoff, becomes a search in open space. That search sorts by columns and by height within a column.
"""

import torch
from torch import Tensor

from les_md import torchforce_sizes as sizes


def with_images(fractional: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Atoms of the cell and their images up to `reach` beyond its faces.

    Args:
        fractional: (n_atoms, 3), in [0, 1).
        reach: (3,), cutoff over distance of the faces.

    Returns:
        index (n_images,) of the atom, and shift (n_images, 3) in lattice vectors; the atoms themselves come first.
    """
    index = torch.arange(fractional.size(0), device=fractional.device)
    shifts = torch.zeros_like(fractional)
    for axis in range(3):
        indices: list[Tensor] = [index]
        all_shifts: list[Tensor] = [shifts]
        farthest = int(torch.ceil(reach[axis]))
        along = fractional[:, axis].index_select(0, index)
        for step in range(-farthest, farthest + 1):
            if step != 0:
                place = along + step
                near = torch.nonzero(
                    (place >= -reach[axis] - sizes.SEARCH_MARGIN) & (place <= 1.0 + reach[axis] + sizes.SEARCH_MARGIN)
                )[:, 0]
                shifted = shifts.index_select(0, near)
                shifted[:, axis] += step
                indices.append(index.index_select(0, near))
                all_shifts.append(shifted)
        index = torch.cat(indices)
        shifts = torch.cat(all_shifts)
    return index, shifts


def neighbour_search(positions: Tensor, cell: Tensor, periodic: bool, cutoff: float) -> tuple[Tensor, Tensor]:
    """Full neighbour list: every pair closer than `cutoff`, from both sides, with all images.

    Args:
        positions: (n_atoms, 3), angstrom, float64, no gradient, any image.
        cell: (3, 3), rows are lattice vectors, used if `periodic`.

    Returns:
        edge_index (2, n_edges), sorted by centre, and cell_shifts (n_edges, 3) as float64, so that
        edge_vectors = r_j - r_i + cell_shifts @ cell.
    """
    n_atoms = positions.size(0)
    device = positions.device
    index = torch.arange(n_atoms, device=device)
    shifts = torch.zeros_like(positions)
    wrap = torch.zeros_like(positions)
    reach = torch.full([3], cutoff, dtype=positions.dtype, device=device)
    points = positions  # where columns and heights are measured
    if periodic:
        inverse = torch.linalg.inv(cell)
        fractional = torch.matmul(positions, inverse)
        wrap = torch.floor(fractional)
        reach = cutoff * torch.linalg.vector_norm(inverse, dim=0)
        index, shifts = with_images(fractional - wrap, reach)
        points = (fractional - wrap).index_select(0, index) + shifts
        positions = torch.matmul(points, cell)
    if n_atoms == 0:
        return torch.zeros(2, 0, dtype=torch.int64, device=device), shifts

    low = points.amin(0)
    extent = points.amax(0) - low
    margin = sizes.SEARCH_MARGIN * extent.clamp(min=1e-9)
    width = torch.maximum(reach + margin, extent / sizes.MOST_COLUMNS)
    scaled = (points - low) / width
    columns = torch.floor(scaled[:, :2]).to(torch.int64)
    n_second = int(columns[:, 1].max()) + 1
    # one number to sort by: column, and in it the height in [0, 1/2]
    whole = 2.0 * extent[2].clamp(min=1e-9)
    height = (points[:, 2] - low[2]) / whole
    thickness = (reach[2] + margin[2]) / whole
    key = (columns[:, 0] * n_second + columns[:, 1]).to(points.dtype) + height
    key, order = torch.sort(key)

    # the nine columns around each atom, empty ones outside
    around = torch.arange(-1, 2, device=device)
    first = (columns[:n_atoms, 0].unsqueeze(1) + around).unsqueeze(2)
    second = (columns[:n_atoms, 1].unsqueeze(1) + around).unsqueeze(1)
    column = torch.where(second.ge(0) & second.lt(n_second) & first.ge(0), first * n_second + second, -2).view(-1, 9)
    middle = height[:n_atoms].unsqueeze(1)
    begin = torch.searchsorted(key, column + (middle - thickness).clamp(min=0.0))
    end = torch.searchsorted(key, column + (middle + thickness).clamp(max=0.75), right=True)
    counts = (end - begin).flatten()
    offsets = torch.cumsum(counts, 0)
    total = int(offsets[-1])
    per_block = max(1, int(n_atoms * sizes.PAIRS_AT_ONCE / max(1, total)))

    centres: list[Tensor] = []
    images: list[Tensor] = []
    for start in range(0, n_atoms, per_block):
        stop = min(n_atoms, start + per_block)
        ranges = torch.arange(9 * start, 9 * stop, device=device)
        ranges = torch.repeat_interleave(ranges, counts[9 * start : 9 * stop])
        before = offsets.index_select(0, ranges) - counts.index_select(0, ranges)
        skipped = int(offsets[9 * start] - counts[9 * start])
        place = torch.arange(ranges.size(0), device=device) + skipped - before
        image = order.index_select(0, begin.flatten().index_select(0, ranges) + place)
        centre = torch.div(ranges, 9, rounding_mode="floor")
        vectors = positions.index_select(0, image) - positions.index_select(0, centre)
        near = (vectors.square().sum(1) < cutoff * cutoff) & (image != centre)
        found = torch.nonzero(near)[:, 0]
        centres.append(centre.index_select(0, found))
        images.append(image.index_select(0, found))
    centre = torch.cat(centres)
    image = torch.cat(images)
    neighbour = index.index_select(0, image)
    # from positions wrapped into the cell to those given
    cell_shifts = shifts.index_select(0, image) + wrap.index_select(0, centre) - wrap.index_select(0, neighbour)
    return torch.stack([centre, neighbour]), cell_shifts
