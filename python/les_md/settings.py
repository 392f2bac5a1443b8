"""Settings of a model: what a user may choose before training, checked when they are read.

They are stored in the checkpoint, and the long-range part goes into the record of the exported file.
"""

from __future__ import annotations

import math
from typing import Literal

from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from les_md.constants import COULOMB_CONSTANT


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, defaults are checked too."""

    model_config = ConfigDict(extra="forbid", validate_default=True, validate_assignment=True)


class LongRangeSettings(Settings):
    """Latent Ewald summation: kernel, charge channels and neutrality.

    Source: Cheng, npj Comput. Mater. 11, 80 (2025).
    """

    smearing: float = Field(1.0, gt=0, description="sigma of exp(-sigma^2 k^2/2), angstrom")
    k_cutoff: float | None = Field(None, gt=0, description="largest |k| of the sum, 1/angstrom; null: converged")
    coulomb_constant: float = Field(COULOMB_CONSTANT, gt=0, description="1/(4 pi eps0), eV angstrom / e^2")
    remove_self_interaction: bool = True
    n_channels: int = Field(1, ge=1, description="charge channels; their energies add up")
    neutrality: bool = Field(False, description="shift the charges of a frame to its total charge")
    charge_flux: bool = Field(
        False, description="charges are transfers between neighbours on top of constant charges of the elements"
    )
    total_charge: list[float] | None = Field(
        None, description="total charge per channel for hosts, e; default: all in the first channel, 0"
    )

    @model_validator(mode="after")
    def _total_charge_per_channel(self) -> LongRangeSettings:
        if self.total_charge is not None and len(self.total_charge) != self.n_channels:
            raise ValueError(
                f"`total_charge` must have one number per channel ({self.n_channels}), got {len(self.total_charge)}"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_neutrality(self) -> LongRangeSettings:
        if self.charge_flux and self.neutrality:
            raise ValueError("`charge_flux` keeps the total charge by itself; set `neutrality` to false")
        return self


class ModelSettings(Settings):
    """Cartesian atomic cluster expansion with an energy head and a charge head.

    Source: Cheng, npj Comput. Mater. 10, 157 (2024); the names follow that paper where it has one.
    """

    symbols: list[str] = Field(default_factory=list, description="chemical symbols in type order")
    cutoff: float = Field(4.5, gt=0, description="neighbour radius, angstrom")
    n_radial: int = Field(8, ge=1, description="radial basis functions")
    l_max: int = Field(3, ge=0, le=6, description="highest angular degree")
    body_order: int = Field(4, ge=2, le=5, description="atoms in one term, the centre counted")
    channels: int = Field(
        16, ge=1, description="channels of the atomic basis, mixed from radial functions and elements"
    )
    n_embedding: int = Field(4, ge=1, description="longest element embedding of the neighbours")
    n_layers: int = Field(1, ge=1, le=4, description="1: strictly local; more: message passing")
    n_messages: int = Field(8, ge=1, description="numbers that a neighbour passes on to each layer after the first")
    hidden: list[int] = Field(default_factory=lambda: [32, 16], description="widths of the hidden layers of both heads")
    long_range: LongRangeSettings | None = Field(default_factory=LongRangeSettings)
    charge_embedding: bool = Field(False, description="the network is told the total charge of the system")
    spin_embedding: bool = Field(False, description="the network is told the spin multiplicity of the system")
    eps_inf: float = Field(1.0, gt=0, description="q_physical = sqrt(eps_inf) q_latent")
    dtype: Literal["float32", "float64"] = "float32"

    @field_validator("symbols")
    @classmethod
    def _known_symbols(cls, symbols: list[str]) -> list[str]:
        for symbol in symbols:
            if symbol not in atomic_numbers:
                raise ValueError(f"`symbols` must be chemical symbols such as O or Na, got '{symbol}'")
        if len(set(symbols)) != len(symbols):
            raise ValueError(f"`symbols` must not repeat an element, got {symbols}")
        return symbols

    @field_validator("hidden")
    @classmethod
    def _positive_widths(cls, hidden: list[int]) -> list[int]:
        if not hidden or any(width < 1 for width in hidden):
            raise ValueError(f"`hidden` must be one or more widths of at least 1, got {hidden}")
        return hidden

    @model_validator(mode="after")
    def _one_total_charge(self) -> ModelSettings:
        if self.charge_embedding and self.long_range is not None and self.long_range.total_charge is not None:
            raise ValueError(
                "`charge_embedding` takes the total charge of each frame; leave `long_range.total_charge` out"
            )
        return self

    @property
    def state_inputs(self) -> list[str]:
        """What the network is told of a system as a whole: "total_charge", "spin"."""
        names = (("total_charge", self.charge_embedding), ("spin", self.spin_embedding))
        return [name for name, used in names if used]

    @property
    def n_channels(self) -> int:
        """Charge channels; 0 for a short-range-only model."""
        return self.long_range.n_channels if self.long_range is not None else 0

    @property
    def receptive_field(self) -> float:
        """Distance up to which an atom feels its surroundings through the network, angstrom."""
        return self.n_layers * self.cutoff

    @property
    def atomic_charge_scale(self) -> float:
        """Factor from the sum of latent charges over channels to the physical charge."""
        return math.sqrt(self.eps_inf)
