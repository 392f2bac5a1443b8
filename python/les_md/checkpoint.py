"""The checkpoint `model.pt` that training leaves: settings, parameters and a summary of the training.

It is data only (no pickled code), read with torch's safe loader.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from les_md.errors import LESError
from les_md.files import write_file
from les_md.model import LESModel
from les_md.settings import ModelSettings

FORMAT = "les-md-checkpoint"
FORMAT_VERSION = 1


def save_checkpoint(path: str | Path, model: LESModel, training: dict[str, Any]) -> None:
    """Writes `model` and `training` (plain values only) to `path`, complete or not at all; LESError if it cannot be."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": model.settings.model_dump(),
        "state": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        "training": training,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(Path(path), buffer.getvalue())


def load_checkpoint(path: str | Path) -> tuple[LESModel, dict[str, Any]]:
    """Model and training summary of `path`; raises LESError if it is missing or not a checkpoint."""
    path = Path(path)
    if not path.is_file():
        raise LESError(f"checkpoint {path} does not exist; les-train writes it as model.pt in its output folder")
    if _is_torchscript(path):
        raise LESError(
            f"{path} is an exported file, whose network cannot be trained; give the checkpoint it was made from, "
            "model.pt in the output folder of les-train"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler runs into
        raise LESError(f"{path} is not a checkpoint of les-train ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LESError(f"{path} is not a checkpoint of les-train")
    if content["format_version"] > FORMAT_VERSION:
        raise LESError(
            f"{path} has checkpoint format {content['format_version']}, this les-md reads up to {FORMAT_VERSION}; "
            "update les-md with `pip install -U les-md`"
        )
    try:
        model = LESModel(ModelSettings(**content["settings"]))
        model.load_state_dict(content["state"])
    except (ValidationError, RuntimeError) as error:
        raise LESError(f"{path} does not fit this version of les-md: {str(error).splitlines()[0]}") from error
    return model, content["training"]


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
