"""Settings of the loss: what is fitted, with which weight, from which epoch on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from les_md.settings import Settings

#: What a loss is made of, in the order of the vectors of `training.loss`.
QUANTITIES = ("energy", "forces", "stress", "dipole", "born_charges")
#: Those that frames may have or not, because charges alone enter them.
CHARGE_LABELS = ("dipole", "born_charges")


class StageSettings(Settings):
    """Loss weights from one epoch on; a weight that is left out keeps its value of the stage before."""

    start_epoch: int = Field(ge=1, description="epochs count from 0, the first stage is `training.loss` itself")
    energy: float | None = Field(None, ge=0)
    forces: float | None = Field(None, ge=0)
    stress: float | None = Field(None, ge=0)
    dipole: float | None = Field(None, ge=0)
    born_charges: float | None = Field(None, ge=0)


class LossWeights(BaseModel):
    """Weights of one stage with nothing left out."""

    start_epoch: int
    energy: float
    forces: float
    stress: float
    dipole: float
    born_charges: float


class LossSettings(Settings):
    """Weights of the squared (or Huber) errors per atom of the energy, per component of all other quantities."""

    energy: float = Field(10.0, ge=0, description="times (eV/atom)^2")
    forces: float = Field(1.0, ge=0, description="times (eV/angstrom)^2")
    stress: float = Field(0.0, ge=0, description="times (eV/angstrom^3)^2")
    dipole: float = Field(0.0, ge=0, description="times (e angstrom)^2")
    born_charges: float = Field(0.0, ge=0, description="times e^2")
    kind: Literal["squared", "huber"] = "squared"
    huber_delta: float = Field(0.01, gt=0, description="error (eV, angstrom) from which it is linear")
    stages: list[StageSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> LossSettings:
        starts = [stage.start_epoch for stage in self.stages]
        if starts != sorted(set(starts)):
            raise ValueError(f"`start_epoch` must grow from stage to stage, got {starts}")
        for weights in self.all_stages():
            if not any(getattr(weights, quantity) for quantity in QUANTITIES):
                raise ValueError(f"all weights are 0 from epoch {weights.start_epoch} on")
        if self.kind == "squared" and "huber_delta" in self.model_fields_set:
            raise ValueError("`huber_delta` has no effect with `kind: squared`: set `kind: huber` or leave it out")
        return self

    def all_stages(self) -> list[LossWeights]:
        """Weights of every stage in order, the first starting at epoch 0."""
        weights = [LossWeights(start_epoch=0, **{quantity: getattr(self, quantity) for quantity in QUANTITIES})]
        for stage in self.stages:
            weights.append(weights[-1].model_copy(update=stage.model_dump(exclude_none=True)))
        return weights

    def uses(self, quantity: str) -> bool:
        """Whether any stage fits `quantity`, one of `QUANTITIES`."""
        return any(getattr(weights, quantity) > 0 for weights in self.all_stages())
