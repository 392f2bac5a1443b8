"""The reference way of running LES: a calculator for ASE in Python alone, without engine, mesh or exported file."""

from __future__ import annotations

from typing import Any, ClassVar

import ase
from ase.calculators.calculator import Calculator, all_changes

from les_md import fields
from les_md.batch import frame_from_atoms
from les_md.forces import evaluate
from les_md.model import LESModel


class ReferenceCalculator(Calculator):
    """Energy and forces of a LESModel: neighbours on the host by vesin in every step, network and direct sum over wave
    vectors by torch on `device`, one backward pass."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, model: LESModel, device: str) -> None:
        super().__init__()
        self.model, self.device = model.to(device), device

    def calculate(
        self, atoms: ase.Atoms | None = None, properties: Any = None, system_changes: list[str] = all_changes
    ) -> None:
        """Called by ASE."""
        super().calculate(atoms, properties, system_changes)
        settings = self.model.settings
        batch = frame_from_atoms(self.atoms, settings.symbols, settings.cutoff)
        results = evaluate(self.model, {name: values.to(self.device) for name, values in batch.items()}, virial=False)
        self.results = {
            "energy": float(results[fields.ENERGY].detach()),
            "forces": results[fields.FORCES].cpu().numpy(),
        }
