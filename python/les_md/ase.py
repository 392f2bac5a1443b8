"""ASE calculator on the compiled engine: the same numbers as LAMMPS and OpenMM get from the file."""

from __future__ import annotations

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
    e, scaled to physical charges, `dipole` (3,) e angstrom (isolated systems, about the origin of the coordinates).
    `results` also holds `latent_charges` (n_atoms, n_channels), `short_range_energy` and `long_range_energy`.

    Args:
        model: exported file (`les-export model.pt`).
        device: "cpu", or "cuda" with a CUDA build of torch.
        threads: threads of the engine; None leaves torch's setting.
        total_charge: e, for models trained with neutrality; None takes the model's own.
    """

    implemented_properties: list[str] = [  # noqa: RUF012 - as the base class declares it
        "energy", "free_energy", "energies", "forces", "stress", "charges", "dipole",
    ]  # fmt: skip

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        total_charge: float | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.engine = Engine(model, device=device, threads=threads, total_charge=total_charge)
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
        results = self.engine.compute(system.positions, types, np.asarray(system.cell), periodic)
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
        }
        if periodic:
            stress = -results["virial"] / abs(np.linalg.det(np.asarray(system.cell)))
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        else:
            self.results["dipole"] = charges @ system.positions
