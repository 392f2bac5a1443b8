"""The start of a training: linear maps and element charges from one least-squares fit.

With charges that depend on the element alone, the long-range energy is linear in the products q_a q_b, and with the
network's features as they are the short-range energy is linear in the weights of the head. So energies and forces of a
few frames give both at once. It takes the place of thousands of gradient steps, and it starts the charges where they
belong: E_lr is even in the charges, and from small random ones gradient descent leaves zero slowly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from les_md import fields
from les_md.batch import AtomsBatch
from les_md.forces import DIRECT_SUM, PeriodicSum, edge_vectors_of, long_range_energies
from les_md.model import LESModel
from les_md.network import Head
from les_md.network.kernels import training_kernels
from les_md.training.data import LABEL_ENERGY, LABEL_FORCES

#: Equations wanted for every unknown; more frames than this asks for hardly change the fit.
EQUATIONS_PER_UNKNOWN = 12
#: Ridge relative to the mean square of a column.
RIDGE = 1e-8
#: Weight of an energy per atom, relative to a force component; the order in which they matter in dynamics.
ENERGY_WEIGHT = 10.0

#: Ridge of the transfers relative to the mean diagonal: of the many that give the same charges, small ones.
TRANSFER_RIDGE = 1e-4


def charge_pairs(n_types: int) -> list[tuple[int, int]]:
    """Pairs a <= b of elements, whose charge products are unknowns."""
    return [(a, b) for a in range(n_types) for b in range(a, n_types)]


def n_fitted(model: LESModel) -> int:
    """Features whose weights are fitted: those of the first layer, whose slopes are cheap, or all of them."""
    blocks = model.backbone.feature_blocks
    return blocks[0] if blocks else model.backbone.n_features


def short_range_columns(model: LESModel, frame: AtomsBatch) -> tuple[Tensor, Tensor]:
    """Energy (n_columns,) and forces (n_atoms * 3, n_columns) of each weight and constant of the linear maps.

    Columns are (n_types, n_fitted) weights and n_types constants.
    """
    head = model.energy_head
    types, n_types = frame[fields.TYPES], len(model.settings.symbols)
    vectors = edge_vectors_of(frame).detach().to(head.mean.dtype).requires_grad_(True)
    features = model.backbone(types, frame[fields.EDGE_INDEX], vectors, len(types))
    inputs = head.inputs(features, types)[:, : n_fitted(model)]
    of_type = torch.nn.functional.one_hot(types, n_types).double()
    if model.backbone.feature_blocks:
        # a feature depends on the edges of its atom alone, so one gradient serves the columns of all elements
        slopes = torch.stack([_slope(column.sum(), vectors) for column in inputs.unbind(1)], dim=-1)
        of_centre = of_type.index_select(0, frame[fields.EDGE_INDEX][0])
        slopes = slopes.unsqueeze(2) * of_centre[:, None, :, None]
    else:
        sums = (of_type.T.to(inputs.dtype) @ inputs).flatten()
        slopes = torch.stack([_slope(total, vectors) for total in sums], dim=-1).unflatten(-1, (n_types, -1))
    # f = -dE/dr, with edge vectors r_j - r_i
    forces = torch.zeros(len(types), *slopes.shape[1:], dtype=torch.float64)
    forces.index_add_(0, frame[fields.EDGE_INDEX][0], slopes.double())
    forces.index_add_(0, frame[fields.EDGE_INDEX][1], slopes.double(), alpha=-1.0)
    forces = forces.reshape(3 * len(types), -1)
    energies = torch.cat([(of_type.T @ inputs.detach().double()).flatten(), of_type.sum(0)])
    return energies, torch.cat([forces, forces.new_zeros(len(forces), n_types)], dim=1)


def _slope(total: Tensor, vectors: Tensor) -> Tensor:
    return torch.autograd.grad(total, vectors, retain_graph=True)[0]


def long_range_columns(model: LESModel, frame: AtomsBatch, periodic_sum: PeriodicSum) -> tuple[Tensor, Tensor]:
    """Energy (n_pairs,) and forces (n_atoms * 3, n_pairs) of unit products of element charges."""
    assert model.settings.long_range is not None
    settings = model.settings.long_range.model_copy(update={"neutrality": False})
    one_hot = torch.eye(len(model.settings.symbols), dtype=torch.float64)[frame[fields.TYPES]]
    energies: dict[tuple[int, int], Tensor] = {}
    forces: dict[tuple[int, int], Tensor] = {}
    for a, b in charge_pairs(one_hot.shape[1]):
        # E(q_a + q_b) - E(q_a) - E(q_b) = 2 B(a, b), the term that goes with q_a q_b
        charges = one_hot[:, a : a + 1] if a == b else one_hot[:, a : a + 1] + one_hot[:, b : b + 1]
        energy, _ = long_range_energies(settings, frame, charges, periodic_sum)
        (slope,) = torch.autograd.grad(energy.sum(), frame[fields.POSITIONS])
        energies[a, b], forces[a, b] = energy.detach().sum(), -slope.flatten()
    for a, b in energies:
        if a != b:
            energies[a, b] = energies[a, b] - energies[a, a] - energies[b, b]
            forces[a, b] = forces[a, b] - forces[a, a] - forces[b, b]
    return torch.stack(list(energies.values())), torch.stack(list(forces.values()), dim=1)


def equations(
    model: LESModel, frame: AtomsBatch, energy_scale: float, periodic_sum: PeriodicSum = DIRECT_SUM
) -> tuple[Tensor, Tensor]:
    """Rows of the least-squares problem of one frame: one for the energy per atom, one for each force component."""
    frame = dict(frame)
    n_atoms = len(frame[fields.TYPES])
    frame[fields.POSITIONS] = frame[fields.POSITIONS].detach().requires_grad_(True)
    energy_row, force_rows = short_range_columns(model, frame)
    energy_row, force_rows = energy_row * energy_scale, force_rows * energy_scale
    if model.settings.long_range is not None:
        energies, forces = long_range_columns(model, frame, periodic_sum)
        energy_row, force_rows = torch.cat([energy_row, energies]), torch.cat([force_rows, forces], dim=1)
    rows, values = [], []
    if LABEL_ENERGY in frame:
        offset = model.element_energies[frame[fields.TYPES]].sum()
        rows.append(energy_row.unsqueeze(0) * ENERGY_WEIGHT / n_atoms)
        values.append((frame[LABEL_ENERGY] - offset) * ENERGY_WEIGHT / n_atoms)
    if LABEL_FORCES in frame:
        rows.append(force_rows)
        values.append(frame[LABEL_FORCES].flatten())
    return torch.cat(rows), torch.cat(values)


def element_charges(products: Tensor, n_types: int) -> Tensor | None:
    """Charges (n_types,) whose products come nearest to `products` (n_pairs,); None if no charges do."""
    matrix = torch.zeros(n_types, n_types, dtype=torch.float64)
    for (a, b), product in zip(charge_pairs(n_types), products, strict=True):
        matrix[a, b] = matrix[b, a] = product
    values, directions = torch.linalg.eigh(matrix)
    if values[-1] <= 0:
        return None
    return directions[:, -1] * values[-1].sqrt()


def fit_start(model: LESModel, frames: list[AtomsBatch], periodic_sum: PeriodicSum = DIRECT_SUM) -> Tensor | None:
    """Sets the linear maps of the energy head and the element charges of `model` from `frames`.

    The perceptrons start at zero output. With charge transfers, transfers that depend on elements and distance alone
    make up what constant charges cannot give. Frames without forces and energies are of no use and raise nothing.

    Returns:
        the element charges (n_types,) in e, None for a short-range-only model or if the fit found none.
    """
    head = model.energy_head
    n_types = len(model.settings.symbols)
    energy_scale = float(head.output_scale)
    n_columns = n_fitted(model)
    n_weights = n_types * (n_columns + 1)
    normal = torch.zeros((), dtype=torch.float64)
    right = torch.zeros((), dtype=torch.float64)
    n_rows = 0
    for frame in frames:
        with training_kernels():
            rows, values = equations(model, frame, energy_scale, periodic_sum)
        normal, right = normal + rows.T @ rows, right + rows.T @ values
        n_rows += len(rows)
        if n_rows >= EQUATIONS_PER_UNKNOWN * rows.shape[1]:
            break
    solution = _solve(normal, right)
    charges = None
    if model.settings.long_range is not None:
        charges = element_charges(solution[n_weights:], n_types)
        # the weights that go with these charges: their products are not quite those of the fit
        products = torch.zeros_like(solution[n_weights:])
        if charges is not None:
            products = torch.stack([charges[a] * charges[b] for a, b in charge_pairs(n_types)])
        short = slice(0, n_weights)
        solution = _solve(normal[short, short], right[short] - normal[short, n_weights:] @ products)
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.weight[:, :n_columns] = solution[: n_weights - n_types].view(n_types, n_columns)
        head.constant.copy_(solution[n_weights - n_types : n_weights].view_as(head.constant))
        head.output.weight.zero_()
        if model.charge_flux:
            start_transfers(model, frames, charges)
        elif isinstance(model.charge_head, Head):
            if charges is not None:
                # further channels start from their small random charges
                scale = model.charge_head.output_scale[0]
                model.charge_head.constant[:, 0] = charges.to(head.mean.dtype) / scale
            model.charge_head.linear.weight.zero_()
            model.charge_head.output.weight.zero_()
    return charges


def _solve(normal: Tensor, right: Tensor) -> Tensor:
    """Solution of the normal equations with columns scaled to one size and a small ridge."""
    size = torch.diagonal(normal).clamp(min=1e-30).sqrt()
    ridge = RIDGE * torch.eye(len(size), dtype=torch.float64)
    return torch.linalg.solve(normal / size.unsqueeze(0) / size.unsqueeze(1) + ridge, right / size) / size


def start_transfers(model: LESModel, frames: list[AtomsBatch], charges: Tensor | None) -> None:
    """Constant charges and transfers that come nearest to `charges` (n_types,) of the elements in `frames`."""
    coefficients = model.charge_transfers.coefficients
    coefficients.linear.weight.zero_()
    coefficients.output.weight.zero_()
    if charges is None:
        return
    constants = model.element_charges
    # the energy does not know the common sign, total charges do
    if float((charges * constants.fixed[:, 0].double()).sum()) < 0:
        charges = -charges
    constants.free[:, 0] = charges.to(constants.free.dtype)
    missing = charges - constants()[:, 0].double()
    n_types, n_radial = len(charges), model.charge_transfers.n_radial
    n_columns = n_types * n_types * n_radial
    normal = torch.zeros(n_columns, n_columns, dtype=torch.float64)
    right = torch.zeros(n_columns, dtype=torch.float64)
    n_rows = 0
    for frame in frames:
        types, edges = frame[fields.TYPES], frame[fields.EDGE_INDEX]
        radial = model.charge_transfers.radial(edge_vectors_of(frame).norm(dim=1)).double()
        # q_i = sum_j (t_ab . R(r_ij) - t_ba . R(r_ji)) for elements a, b of the ends of an edge
        pair = types[edges[0]] * n_types + types[edges[1]]
        rows = torch.zeros(len(types), n_types * n_types, n_radial, dtype=torch.float64)
        rows.index_put_((edges[0], pair), radial, accumulate=True)
        rows.index_put_((edges[1], pair), -radial, accumulate=True)
        matrix = rows.flatten(1)
        normal += matrix.T @ matrix
        right += matrix.T @ missing[types]
        n_rows += len(types)
        if n_rows >= EQUATIONS_PER_UNKNOWN * n_columns:
            break
    ridge = TRANSFER_RIDGE * float(torch.diagonal(normal).mean()) + 1e-30
    solution = torch.linalg.solve(normal + ridge * torch.eye(n_columns, dtype=torch.float64), right)
    shape = (n_types, n_types, n_radial, model.n_channels)
    first_channel = coefficients.constant.view(shape)[..., 0]
    first_channel.copy_(solution.view(n_types, n_types, n_radial) / coefficients.output_scale.view(shape[1:])[..., 0])
