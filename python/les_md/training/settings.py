"""Settings of `les-train`: the sections of config.yaml, their checks and defaults.

They stand apart from the training itself so that every mistake in the file is reported, as one line that names the key,
before data are read or a heavy library is loaded.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from les_md.errors import LESError
from les_md.settings import ModelSettings, Settings
from les_md.training.data_settings import DataSettings
from les_md.training.loss_settings import CHARGE_LABELS, LossSettings

#: Settings of the learning rate that mean something for each kind of schedule.
_SCHEDULE_KEYS = {
    "constant": set(),
    "cosine": {"final_factor"},
    "exponential": {"final_factor"},
    "reduce_on_plateau": {"final_factor", "factor", "patience"},
}


class ScheduleSettings(Settings):
    """How the learning rate changes, after a linear warm-up."""

    kind: Literal["constant", "cosine", "exponential", "reduce_on_plateau"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear growth from 0")
    final_factor: float = Field(0.01, gt=0, le=1, description="lowest learning rate as a part of `learning_rate`")
    factor: float = Field(0.5, gt=0, lt=1, description="reduce_on_plateau: one step multiplies by this")
    patience: int = Field(10, ge=1, description="reduce_on_plateau: epochs without a better validation loss")

    @model_validator(mode="after")
    def _consistent(self) -> ScheduleSettings:
        for key in sorted({"final_factor", "factor", "patience"} & self.model_fields_set - _SCHEDULE_KEYS[self.kind]):
            raise ValueError(f"`{key}` has no effect with `kind: {self.kind}`: leave it out")
        return self


#: Settings of `training` that mean something for gradient descent only.
_GRADIENT_DESCENT_KEYS = ("batch_size", "learning_rate", "schedule", "weight_decay", "gradient_clip", "ema_decay")


class TrainingSettings(Settings):
    """The optimisation."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(2, ge=1, description="frames of one step, over all processes together")
    optimizer: Literal["soap", "adamw", "levenberg_marquardt"] = "soap"
    learning_rate: float = Field(0.003, gt=0)
    schedule: ScheduleSettings = ScheduleSettings()
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="part by which a step of learning rate 1 lowers weights, not constants or what makes charges",
    )
    gradient_clip: float | None = Field(10.0, gt=0, description="largest norm of the gradient; null: no limit")
    ema_decay: float | None = Field(0.99, gt=0, lt=1, description="null: no averaging of the weights")
    early_stopping_patience: int | None = Field(None, ge=1, description="epochs without a better validation loss")
    initial_model: Path | None = Field(None, description="checkpoint (model.pt) to start from: fine-tuning")
    initial_fit: bool = Field(True, description="start from a least-squares fit of linear maps and element charges")
    loss: LossSettings = LossSettings()
    seed: int = Field(0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(1, ge=1, description="processes, one per GPU or sharing the CPU cores")
    deterministic: bool = Field(False, description="only reproducible operations; needed on GPUs, slower there")
    long_range_solver: Literal["auto", "mesh", "direct"] = Field("auto", description="of periodic frames")
    long_range_accuracy: float = Field(1e-5, ge=1e-8, le=1e-2, description="of the mesh, relative error of forces")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSettings:
        for stage in self.loss.stages:
            if stage.start_epoch >= self.epochs:
                raise ValueError(
                    f"stage of `loss` with `start_epoch` {stage.start_epoch} never starts: `epochs` is {self.epochs}"
                )
        if self.optimizer == "levenberg_marquardt":
            for key in _GRADIENT_DESCENT_KEYS:
                if key in self.model_fields_set:
                    raise ValueError(f"`{key}` has no effect with `optimizer: levenberg_marquardt`: leave it out")
            if self.loss.kind != "squared":
                raise ValueError("`optimizer: levenberg_marquardt` needs `loss.kind: squared`")
            if self.devices > 1 or self.device == "gpu":
                raise ValueError("`optimizer: levenberg_marquardt` runs as one process on the CPU")
        if self.initial_model is not None and self.initial_fit and "initial_fit" in self.model_fields_set:
            raise ValueError("`initial_fit` has no effect with `initial_model`: leave it out")
        if self.long_range_solver == "direct" and "long_range_accuracy" in self.model_fields_set:
            raise ValueError(
                "`long_range_accuracy` has no effect with `long_range_solver: direct`: set `mesh` or leave it out"
            )
        return self


class TrainSettings(Settings):
    """The whole config.yaml."""

    data: DataSettings
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    output: Path = Field(description="folder for checkpoint, metrics, model and plots")

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        long_range = self.model.long_range
        keeps_charge = long_range is not None and (long_range.neutrality or long_range.charge_flux)
        if self.data.total_charge_key is not None and not keeps_charge and not self.model.charge_embedding:
            raise ValueError(
                "`data.total_charge_key` has no effect without `model.long_range.neutrality: true`, "
                "`model.long_range.charge_flux: true` or `model.charge_embedding: true`"
            )
        if self.model.charge_embedding and self.data.total_charge_key is None:
            raise ValueError(
                "`model.charge_embedding` needs the total charge of every frame: set data.total_charge_key"
            )
        if self.model.spin_embedding and self.data.spin_key is None:
            raise ValueError("`model.spin_embedding` needs the multiplicity of every frame: set data.spin_key")
        if self.data.spin_key is not None and not self.model.spin_embedding:
            raise ValueError("`data.spin_key` has no effect without `model.spin_embedding: true`")
        for quantity in CHARGE_LABELS:
            fitted = self.training.loss.uses(quantity)
            if fitted and long_range is None:
                raise ValueError(f"`training.loss.{quantity}` needs charges: leave `model.long_range: null` out")
            if getattr(self.data, f"{quantity}_key") is not None and not fitted:
                raise ValueError(f"`data.{quantity}_key` has no effect without a weight in `training.loss.{quantity}`")
        for key in ("long_range_solver", "long_range_accuracy"):
            if long_range is None and key in self.training.model_fields_set:
                raise ValueError(f"`training.{key}` has no effect with `model.long_range: null`: leave it out")
        return self


def load_settings(
    path: str | Path, overrides: list[str] | None = None, initial_model: Path | None = None
) -> TrainSettings:
    """Reads config.yaml at `path` and applies `overrides` of the form key.path=value (the value is YAML).

    An `initial_model` takes the place of `training.initial_model`.

    Raises `LESError` for a missing or unreadable file, a wrong key, or a wrong value.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LESError(f"settings file '{path}' does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LESError(f"cannot read settings file '{path}': {_one_line(error)}") from None
    if not isinstance(raw, dict):
        raise LESError(
            f"settings file '{path}' must hold the sections data, model, training and output, got no mapping"
        )
    for override in overrides or []:
        _apply_override(raw, override)
    for section in ("data", "model", "training"):
        if section in raw and raw[section] is None:  # a heading with nothing below it
            raw[section] = {}
    if initial_model is not None and isinstance(raw.setdefault("training", {}), dict):
        raw["training"]["initial_model"] = str(initial_model)
    return check_settings(raw, str(path))


def check_settings(raw: dict[str, Any], source: str) -> TrainSettings:
    """Turns the mapping `raw`, read from `source`, into settings; `LESError` names the first mistake."""
    training = raw.get("training")
    initial = training.get("initial_model") if isinstance(training, dict) else None
    if isinstance(initial, str):
        # the section `model` is that of the checkpoint, which only torch can read
        from les_md.training.initial_model import model_section

        raw = raw | {"model": model_section(raw.get("model"), initial)}
    try:
        settings = TrainSettings.model_validate(raw)
    except ValidationError as error:
        raise LESError(f"{source}: {_describe(error)}") from None
    if settings.training.initial_model is not None:
        from les_md.training.initial_model import check_agreement

        check_agreement(settings.model, settings.training.initial_model)
    return settings


def dump_settings(settings: TrainSettings) -> str:
    """`settings` as YAML text that `load_settings` reads back to the same settings.

    Settings that were not given are written too, except those that would be refused next to the others.
    """
    return yaml.safe_dump(settings_record(settings), sort_keys=False)


def settings_record(settings: TrainSettings) -> dict[str, Any]:
    """`settings` as nested dictionaries of plain values (JSON types)."""
    record = settings.model_dump(mode="json")
    schedule = record["training"]["schedule"]
    for key in {"final_factor", "factor", "patience"} - _SCHEDULE_KEYS[schedule["kind"]]:
        del schedule[key]
    if record["training"]["loss"]["kind"] == "squared":
        del record["training"]["loss"]["huber_delta"]
    if record["training"]["optimizer"] == "levenberg_marquardt":
        for key in _GRADIENT_DESCENT_KEYS:
            del record["training"][key]
    if record["training"]["initial_model"] is not None:
        del record["training"]["initial_fit"]
    if record["model"]["long_range"] is None:
        del record["training"]["long_range_solver"], record["training"]["long_range_accuracy"]
    elif record["training"]["long_range_solver"] == "direct":
        del record["training"]["long_range_accuracy"]
    return record


def _apply_override(raw: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise LESError(f"--set must be given as key.path=value, got '{override}'")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LESError(f"--set {path}: cannot read the value '{text}': {_one_line(error)}") from None
    section = raw
    for key in keys[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise LESError(f"--set {path}: `{key}` is a single value, not a section")
    section[keys[-1]] = value


def _describe(error: ValidationError) -> str:
    """One line for the first mistake; wrong keys come first, because they often cause the others (a missing key)."""
    mistakes = sorted(error.errors(include_url=False), key=lambda mistake: mistake["type"] != "extra_forbidden")
    mistake = mistakes[0]
    location = [str(part) for part in mistake["loc"]]
    path = ".".join(location) or "settings"
    if mistake["type"] == "extra_forbidden":
        valid = _keys_at(TrainSettings, location[:-1])
        closest = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        hint = f"did you mean `{closest[0]}`?" if closest else f"valid keys are {', '.join(valid)}"
        return f"unknown key `{path}`: {hint}"
    if mistake["type"] == "missing":
        return f"key `{path}` is missing"
    if mistake["type"] == "value_error":
        return f"`{path}`: {mistake['ctx']['error']}" if location else str(mistake["ctx"]["error"])
    message = "Input should be a mapping" if mistake["type"] == "model_type" else mistake["msg"]
    return f"`{path}`: {message[0].lower()}{message[1:]}, got {mistake['input']!r}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Keys of the section at `location` below `model`."""
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        model = next(kind for kind in (annotation, *_arguments(annotation)) if _is_section(kind))
    return list(model.model_fields)


def _arguments(annotation: Any) -> list[Any]:
    return [inner for part in get_args(annotation) for inner in (part, *_arguments(part))]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
