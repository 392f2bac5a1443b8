"""ASE calculator on the compiled engine: the same numbers as LAMMPS and OpenMM get from the file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from les_md.batch import is_periodic
from les_md.engine import Engine
from les_md.errors import LESError


class LESCalculator(Calculator):
    """Energy, forces, stress and charges of an exported LES model.

    Properties: `energy` and `free_energy` (eV, equal), `energies` (n_atoms,) eV, which sum to the energy, `forces`
    (n_atoms, 3) eV/angstrom, `stress` (6,) eV/angstrom^3 in ASE's Voigt order (periodic systems), `charges` (n_atoms,)
    e, scaled to physical charges, `dipole` (3,) e angstrom (isolated systems, about the origin of the coordinates),
    `born_effective_charges` (n_atoms, 3, 3) e, dP_a/dr_ib, computed when asked for. `results` also holds
    `latent_charges` (n_atoms, n_channels), `short_range_energy`, `long_range_energy`, `field_energy`, and for models
    with charge transfers `cell_dipole` (3,) e angstrom, volume times polarization for the positions as they are.

    After the first evaluation one line on stderr says how the long-range energy is summed and how accurately;
    `engine.long_range_description` has it for the last evaluation.

    Args:
        model: exported file (`les-export model.pt`).
        device: "cpu", or "cuda" or "cuda:N" with a CUDA build of torch, see docs/gpu.md.
        threads: threads of the engine; None leaves torch's setting.
        total_charge: e, for models trained with neutrality or `charge_embedding`; None takes the model's own.
        spin: multiplicity 2S + 1, for models with the spin as input; None takes that of the file, 1 by default.
        field: external electric field (3,), V/angstrom; part of energy, forces and stress, or forces alone where a
            periodic cell has no polarization (les_md warns).
        solver, accuracy, window, interpolation_nodes, mesh_spacing, mesh, mesh_dtype, freeze_k_set: how the long-range
            energy of a periodic system is summed, as for `les_md.engine.Engine`; the spacing is in angstrom.
        deterministic: True: on a GPU, the same bits in every run; on the CPU that is so anyway with the same `threads`.
        graphs: on a GPU, whole steps as CUDA graphs, one launch each: "auto" (up to 10^4 atoms), "on" or "off"; "on" is
            refused on the CPU.
        keywords: go to ASE's Calculator.
    """

    implemented_properties: list[str] = [  # noqa: RUF012 - as the base class declares it
        "energy", "free_energy", "energies", "forces", "stress", "charges", "dipole",
        "born_effective_charges",
    ]  # fmt: skip

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        total_charge: float | None = None,
        spin: float | None = None,
        *,
        field: Iterable[float] = (0.0, 0.0, 0.0),
        solver: str = "auto",
        accuracy: float = 1e-4,
        window: str = "kaiser_bessel",
        interpolation_nodes: int | None = None,
        mesh_spacing: float | None = None,
        mesh: Iterable[int] | None = None,
        mesh_dtype: str | None = None,
        freeze_k_set: bool = False,
        deterministic: bool = False,
        graphs: str = "auto",
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.engine = Engine(
            model,
            device=device,
            threads=threads,
            total_charge=total_charge,
            spin=spin,
            solver=solver,
            accuracy=accuracy,
            window=window,
            interpolation_nodes=interpolation_nodes,
            mesh_spacing=mesh_spacing,
            mesh=mesh,
            mesh_dtype=mesh_dtype,
            freeze_k_set=freeze_k_set,
            deterministic=deterministic,
            graphs=graphs,
        )
        self.field = tuple(field)
        self._described = self.engine.record["long_range"] is None
        self.charge_scale = float(self.engine.record["atomic_charge"]["scale"])

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Evaluates `atoms`; called by ASE. Raises LESError for mixed periodicity or a property without meaning."""
        super().calculate(atoms, properties, system_changes)
        system = self.atoms
        assert system is not None
        periodic = is_periodic(system)
        for name in properties or []:
            if name == "stress" and not periodic:
                raise LESError("stress needs a system that is periodic in all directions, got an isolated one")
            if name == "dipole" and periodic:
                raise LESError(
                    "dipole needs an isolated system (pbc='F F F'), got a periodic one, where it is not defined"
                )
        types = self.engine.types_of(system.get_chemical_symbols())
        born = "born_effective_charges" in (properties or [])
        cell = np.asarray(system.cell)
        results = self.engine.compute(system.positions, types, cell, periodic, field=self.field, born_charges=born)
        if not self._described:
            print(f"LESCalculator: long-range energy: {self.engine.long_range_description}", file=sys.stderr)
            self._described = True
        charges = results["latent_charges"].sum(axis=1) * self.charge_scale
        self.results = {
            "energy": results["energy"],
            "free_energy": results["energy"],
            "energies": results["atom_energies"],
            "forces": results["forces"],
            "charges": charges,
            "latent_charges": results["latent_charges"],
            "short_range_energy": results["short_range_energy"],
            "long_range_energy": results["long_range_energy"],
            "field_energy": results["field_energy"],
        }
        if born:
            self.results["born_effective_charges"] = results["born_charges"]
        if periodic and self.engine.record.get("element_charges"):
            self.results["cell_dipole"] = results["polarization"]
        if periodic:
            stress = -results["virial"] / abs(np.linalg.det(np.asarray(system.cell)))
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        else:
            self.results["dipole"] = charges @ system.positions
