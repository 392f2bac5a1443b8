"""Writes the reference cases of this folder: `python tests/data/generate.py`.

Everything is summed term by term in numpy from the equations, and derivatives are fourth-order central differences, so
the cases share neither code nor method with what they test.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RECIPROCAL_CONSTANT = 90.4756
COULOMB_CONSTANT = RECIPROCAL_CONSTANT / (2.0 * math.pi)
CUTOFF = 3.4
SYMBOLS = ["O", "H"]


def network_parameters(rng: np.random.Generator, n_channels: int, transfers: bool) -> dict[str, Any]:
    """Closed-form network; see README.md."""
    signs = np.array([-1.0, 1.0])[:, None]
    return {
        "e0": [-432.5, -13.25],
        "a": rng.normal(0.0, 0.3, (2, 2)).round(3).tolist(),
        "q0": (signs * rng.uniform(0.3, 0.7, (2, n_channels))).round(3).tolist(),
        "b": rng.normal(0.0, 0.05, (2, 2, n_channels)).round(3).tolist(),
        "t": rng.normal(0.0, 0.08 if transfers else 0.0, (2, 2, n_channels)).round(3).tolist(),
    }


def state_factors(case: dict[str, Any]) -> tuple[float, float]:
    """1 + c . (total charge, multiplicity - 1), of the pair energies and of the charges q0."""
    if "state" not in case["model"]:
        return 1.0, 1.0
    charge, spin = case["model"]["state"]
    factors = case["model"]["network"]["state"]
    return tuple(1.0 + of_charge * charge + of_spin * (spin - 1.0) for of_charge, of_spin in factors)


def near_images(positions: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
    """Lattice vectors that can bring one atom within the cutoff of another, as whole numbers."""
    if cell is None:
        return np.zeros((1, 3))
    span = np.abs(positions @ np.linalg.inv(cell)).max() * 2.0
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = [math.ceil(CUTOFF / height + span) for height in heights]
    return np.array(list(itertools.product(*[range(-n, n + 1) for n in reach])), dtype=float)


def whole_numbers(cell: np.ndarray, k_cutoff: float) -> np.ndarray:
    """(n_k, 3) whole-number coordinates of all 0 < |k| <= k_cutoff, full sphere."""
    reach = [int(k_cutoff * np.linalg.norm(row) / (2.0 * math.pi)) + 1 for row in cell]
    n = np.array(list(itertools.product(*[range(-m, m + 1) for m in reach])), dtype=float)
    k_sq = ((2.0 * math.pi * n @ np.linalg.inv(cell).T) ** 2).sum(1)
    return n[(k_sq <= k_cutoff**2 * (1.0 + 1e-9)) & (np.abs(n).sum(1) > 0)]


def network(
    case: dict[str, Any], positions: np.ndarray, cell: np.ndarray | None, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies (n_atoms,), charges (n_atoms, n_channels) and transfer dipole (3,) of the closed form."""
    p = {key: np.array(value) for key, value in case["model"]["network"].items() if key != "state"}
    types = np.array([SYMBOLS.index(symbol) for symbol in case["symbols"]])
    of_pairs, of_charges = state_factors(case)
    energies, charges = p["e0"][types].copy(), of_charges * p["q0"][types]
    shifts = images @ cell if cell is not None else images
    dipole = np.zeros(3)
    for i, j in itertools.product(range(len(types)), repeat=2):
        vectors = positions[j] - positions[i] + shifts
        r = np.linalg.norm(vectors, axis=1)
        near = (r < CUTOFF) & (r > 1e-9)
        each = (1.0 - (r[near] / CUTOFF) ** 2) ** 2
        f = float(each.sum())
        dipole -= p["t"][types[i], types[j]].sum() * each @ vectors[near]
        energies[i] += of_pairs * p["a"][types[i], types[j]] * f
        charges[i] += (p["b"] + p["t"])[types[i], types[j]] * f
        charges[j] -= p["t"][types[i], types[j]] * f
    return energies, charges, dipole


def long_range(
    case: dict[str, Any], positions: np.ndarray, cell: np.ndarray | None, q: np.ndarray, n: np.ndarray | None
) -> float:
    """Long-range energy in eV."""
    kernel = case["model"]["long_range"]
    sigma = kernel["smearing"]
    self_energy = RECIPROCAL_CONSTANT * (q**2).sum() / (sigma * (2.0 * math.pi) ** 1.5)
    if cell is None:
        energy = 0.0 if kernel["remove_self_interaction"] else self_energy
        for i, j in itertools.permutations(range(len(q)), 2):
            r = np.linalg.norm(positions[i] - positions[j])
            energy += 0.5 * COULOMB_CONSTANT * (q[i] @ q[j]) * math.erf(r / (math.sqrt(2.0) * sigma)) / r
        return float(energy)
    assert n is not None
    k = 2.0 * math.pi * n @ np.linalg.inv(cell).T
    k_sq = (k**2).sum(1)
    structure_factors = q.T @ np.exp(1j * positions @ k.T)
    w = np.exp(-0.5 * sigma**2 * k_sq) / k_sq
    energy = RECIPROCAL_CONSTANT / abs(np.linalg.det(cell)) * (w * np.abs(structure_factors) ** 2).sum()
    return float(energy - (self_energy if kernel["remove_self_interaction"] else 0.0))


def energies(
    case: dict[str, Any], positions: np.ndarray, cell: np.ndarray | None, sets: tuple
) -> tuple[float, float, np.ndarray, np.ndarray | None]:
    """Short-range energy, long-range energy, charges and the polarization where it is defined."""
    node_energies, q, dipole = network(case, positions, cell, sets[0])
    kernel = case["model"]["long_range"]
    if kernel["neutrality"]:
        total = np.array(kernel["total_charge"])
        if "state" in case["model"]:
            total = np.array([case["model"]["state"][0]])
        q = q - (q.sum(0) - total) / len(q)
    scale = math.sqrt(case["model"]["eps_inf"])
    polarization = None
    if kernel["charge_flux"]:
        types = np.array([SYMBOLS.index(symbol) for symbol in case["symbols"]])
        constant = np.array(case["model"]["network"]["q0"])[types].sum(1)
        polarization = scale * (constant @ positions + dipole)
    elif cell is None:
        polarization = scale * q.sum(1) @ positions
    return float(node_energies.sum()), long_range(case, positions, cell, q, sets[1]), q, polarization


def born_charges(case: dict[str, Any], positions: np.ndarray, cell: np.ndarray | None, sets: tuple) -> np.ndarray:
    """Z*_{i,a,b} = dP_a/dr_ib (n_atoms, 3, 3), or in its place the expression with sines for periodic cells."""
    born = np.zeros((len(positions), 3, 3))
    *_, q, polarization = energies(case, positions, cell, sets)
    charges = math.sqrt(case["model"]["eps_inf"]) * q.sum(1)
    for i, b in itertools.product(range(len(positions)), range(3)):

        def moved(h: float, what: int, i: int = i, b: int = b) -> np.ndarray:
            p = positions.copy()
            p[i, b] += h
            return energies(case, p, cell, sets)[what]  # type: ignore[return-value]

        if polarization is not None:
            born[i, :, b] = derivative(lambda h, moved=moved: moved(h, 3), 1e-3)
            continue
        assert cell is not None
        slopes = math.sqrt(case["model"]["eps_inf"]) * derivative(lambda h, moved=moved: moved(h, 2), 1e-3).sum(1)
        inverse = np.linalg.inv(cell)
        for axis in range(3):
            s = positions @ inverse[:, axis]
            along = charges[i] * inverse[b, axis] + slopes @ np.sin(2.0 * math.pi * (s - s[i])) / (2.0 * math.pi)
            born[i, :, b] += along * cell[axis]
    return born


def derivative(function: Any, h: float) -> Any:
    """Fourth-order central difference of `function` at 0."""
    return (8.0 * (function(h) - function(-h)) - (function(2.0 * h) - function(-2.0 * h))) / (12.0 * h)


def complete(case: dict[str, Any]) -> dict[str, Any]:
    """Adds the expected results to a case."""
    positions = np.array(case["positions"])
    cell = None if case["cell"] is None else np.array(case["cell"])
    kernel = case["model"]["long_range"]
    # whole-number sets stay fixed under differentiation, as they do in an evaluation
    k_cutoff = kernel["k_cutoff"] or 8.0 / kernel["smearing"]
    sets = (near_images(positions, cell), None if cell is None else whole_numbers(cell, k_cutoff))

    field = np.array(case.get("field", [0.0, 0.0, 0.0]))

    def total(p: np.ndarray, c: np.ndarray | None) -> float:
        short, long, _, polarization = energies(case, p, c, sets)
        # offsets are constant and would only cost digits
        return short - offsets + long - (0.0 if polarization is None else float(field @ polarization))

    offsets = sum(case["model"]["network"]["e0"][SYMBOLS.index(symbol)] for symbol in case["symbols"])
    forces = np.zeros_like(positions)
    for i, axis in itertools.product(range(len(positions)), range(3)):

        def moved(h: float, i: int = i, axis: int = axis) -> float:
            p = positions.copy()
            p[i, axis] += h
            return total(p, cell)

        forces[i, axis] = -derivative(moved, 1e-3)
    virial = np.zeros((3, 3))
    for a, b in itertools.product(range(3), repeat=2):

        def strained(h: float, a: int = a, b: int = b) -> float:
            deformation = np.eye(3)
            deformation[a, b] += 0.5 * h
            deformation[b, a] += 0.5 * h
            return total(positions @ deformation, None if cell is None else cell @ deformation)

        virial[a, b] = -derivative(strained, 1e-3)
    short, long, q, polarization = energies(case, positions, cell, sets)
    field_energy = 0.0
    response: dict[str, Any] = {}
    if "field" in case:
        born = born_charges(case, positions, cell, sets)
        if polarization is None:
            forces += np.einsum("a,iab->ib", field, born)
        else:
            field_energy = -float(field @ polarization)
        response = {
            "field_energy": field_energy,
            "polarization": np.zeros(3).tolist() if polarization is None else polarization.tolist(),
            "born_charges": born.tolist(),
        }
    return (
        case
        | {
            "energy": short + long + field_energy,
            "short_range_energy": short,
            "long_range_energy": long,
            "forces": forces.tolist(),
            "virial": virial.tolist(),
            "latent_charges": q.tolist(),
        }
        | response
    )


def spread_positions(rng: np.random.Generator, n_atoms: int, cell: np.ndarray, periodic: bool) -> np.ndarray:
    """Random positions at least 1 angstrom apart, images counted."""
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell if periodic else np.zeros((1, 3))
    positions: list[np.ndarray] = []
    while len(positions) < n_atoms:
        candidate = rng.uniform(0.0, 1.0, 3) @ cell
        if all((np.linalg.norm(candidate - other + images, axis=1) > 1.0).all() for other in positions):
            positions.append(candidate.round(6))
    return np.array(positions)


def main() -> None:
    rng = np.random.default_rng(20)
    box = np.diag([6.5, 7.0, 7.5])
    tilted = np.array([[6.8, 0.0, 0.0], [1.9, 6.3, 0.0], [-1.4, 1.1, 6.6]])
    cluster = np.eye(3) * 5.0
    plain = {
        "smearing": 1.0,
        "k_cutoff": None,
        "remove_self_interaction": True,
        "neutrality": False,
        "charge_flux": False,
        "total_charge": [0.0],
    }
    fields = {
        "field_isolated": [0.3, -0.2, 0.5],
        "field_periodic": [0.2, 0.1, -0.4],
        "field_transfers": [-0.1, 0.4, 0.2],
    }
    layouts: list[tuple[str, int, np.ndarray, bool, dict[str, Any], bool]] = [
        ("periodic", 24, box, True, {}, False),
        ("triclinic", 16, tilted, True, {"smearing": 1.2}, False),
        ("isolated", 9, cluster, False, {}, False),
        ("one_atom", 1, np.diag([3.1, 4.0, 5.0]), True, {}, False),
        ("two_elements", 2, np.eye(3) * 2.0, False, {"remove_self_interaction": False}, False),
        ("net_charge", 9, box, True, {}, False),
        ("neutralized", 9, box, True, {"neutrality": True, "total_charge": [1.0]}, False),
        (
            "two_channels",
            12,
            tilted,
            True,
            {"k_cutoff": math.pi, "remove_self_interaction": False, "total_charge": [0.0, 0.0]},
            False,
        ),
        ("charge_transfers", 12, box, True, {"neutrality": True}, True),
        ("field_isolated", 9, cluster, False, {"neutrality": True, "total_charge": [0.5]}, False),
        ("field_periodic", 12, tilted, True, {}, False),
        ("field_transfers", 12, tilted, True, {"charge_flux": True}, True),
        ("charged_doublet", 12, tilted, True, {"neutrality": True}, False),
    ]
    for name, n_atoms, cell, periodic, changes, transfers in layouts:
        kernel = plain | {"coulomb_constant": COULOMB_CONSTANT} | changes
        n_channels = len(kernel["total_charge"])
        case = {
            "name": name,
            "symbols": [SYMBOLS[i % 3 > 0] for i in range(n_atoms)],
            "positions": spread_positions(rng, n_atoms, cell, periodic).tolist(),
            "cell": cell.tolist() if periodic else None,
            "model": {
                "symbols": SYMBOLS,
                "cutoff": CUTOFF,
                "n_channels": n_channels,
                "eps_inf": 1.0,
                "ghost_charges": transfers,
                "long_range": kernel,
                "network": network_parameters(rng, n_channels, transfers),
            },
        }
        if name == "charged_doublet":
            case["model"]["state"] = [-1.0, 2.0]
            case["model"]["network"]["state"] = [[0.3, 0.2], [-0.4, 0.25]]
        if name in fields:
            case["field"] = fields[name]
            case["model"]["eps_inf"] = 1.7
        if kernel["charge_flux"]:
            case["model"]["network"]["b"] = np.zeros((2, 2, n_channels)).tolist()
        (HERE / f"{name}.json").write_text(json.dumps(complete(case), indent=1) + "\n")
        print(f"wrote {name}.json")


if __name__ == "__main__":
    main()
