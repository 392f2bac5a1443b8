"""Settings of the data: which files and frames, under which keys and in which form their labels are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from les_md.settings import Settings
from les_md.training.born_order import POLARIZATION_FIRST, Order


class DataSettings(Settings):
    """Where the frames are and under which keys their labels are stored."""

    train: list[Path] = Field(description="extended XYZ files; one path or a list")
    valid: list[Path] = Field(default_factory=list, description="extended XYZ files; leave out to split `train`")
    valid_fraction: float | None = Field(None, gt=0, lt=1, description="part of `train` for validation; default 0.1")
    select: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="only frames whose entries have these values, such as {label: CC}"
    )
    energy_key: str | None = Field(None, description="default: `energy` or `REF_energy`, eV")
    forces_key: str | None = Field(None, description="default: `forces` or `REF_forces`, eV/angstrom")
    stress_key: str | None = Field(None, description="default: `stress` or `REF_stress`, eV/angstrom^3")
    virial_key: str | None = Field(None, description="read virials (-stress x volume, eV) in place of stresses")
    total_charge_key: str | None = Field(None, description="total charge of a frame, e; default: that of the model")
    spin_key: str | None = Field(None, description="spin multiplicity 2S + 1 of a frame")
    dipole_key: str | None = Field(None, description="default: `dipole` or `REF_dipole`, e angstrom")
    born_charges_key: str | None = Field(None, description="default: `born_charges` or `REF_born_charges`, e")
    born_charges_order: Order = Field(
        POLARIZATION_FIRST, description="first of the two indices as stored: polarization_first or displacement_first"
    )
    element_energies: dict[str, float] | Literal["fit"] | None = Field(
        None, description="eV per atom, or a least-squares fit; default: that of the initial model, or fit"
    )
    allow_lone_atoms: bool = Field(False, description="accept frames in which an atom has no neighbour")
    sha256: dict[str, str] = Field(default_factory=dict, description="expected SHA-256 of files, by file name")

    @field_validator("train", "valid", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, Path)) else value

    @model_validator(mode="after")
    def _consistent(self) -> DataSettings:
        if not self.train:
            raise ValueError("`train` must name at least one file")
        if self.valid and self.valid_fraction is not None:
            raise ValueError("`valid` and `valid_fraction` exclude each other: set one of them")
        if self.stress_key is not None and self.virial_key is not None:
            raise ValueError("`stress_key` and `virial_key` exclude each other: set one of them")
        names = {path.name for path in (*self.train, *self.valid)}
        for name in self.sha256:
            if name not in names:
                raise ValueError(f"`sha256` names {name}, which is neither in `train` nor in `valid`")
        return self
