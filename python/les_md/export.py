"""From a checkpoint to the one file that every host loads, checked before it counts (`les-export`)."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch

from les_md import fields
from les_md.batch import AtomsBatch, collate, frame_from_atoms, types_of
from les_md.charge_sign import fix_charge_sign, parse_charge_sign
from les_md.checkpoint import load_checkpoint
from les_md.errors import LESError, command_line
from les_md.files import write_file
from les_md.forces import evaluate
from les_md.model import DTYPES, LESModel
from les_md.model_file import content_hash, make_record, read_record
from les_md.settings import ModelSettings
from les_md.torchforce import ExportedLayers, ExportedModel, ExportedRows
from les_md.training.loss_settings import CHARGE_LABELS

#: Largest relative difference between checkpoint and exported file, by the precision of the exported network.
CHECK_TOLERANCE = {"float32": 1e-4, "float64": 1e-6}

#: Total charge and spin multiplicity of the check, for models that take them as inputs.
CHECK_STATE = {"total_charge": 1.0, "spin": 2.0}


@contextlib.contextmanager
def torchscript() -> Iterator[None]:
    """TorchScript is what the file is; its deprecation notices say nothing to the user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated", category=DeprecationWarning)
        yield


def copy_model(model: LESModel, dtype: str | None = None) -> LESModel:
    """A copy of `model`, in another precision if `dtype` is given."""
    settings = model.settings.model_copy(update={"dtype": dtype or model.settings.dtype}, deep=True)
    copy = LESModel(settings)
    copy.load_state_dict(model.state_dict())
    return copy


def write_model_file(
    model: LESModel,
    path: str | Path,
    training: dict[str, Any],
    charge_sign: dict[str, Any] | None,
    bound: list[str] | None,
    state: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Compiles `model` and writes it with its record, complete or not at all; returns the record.

    `state` is the total charge and the spin multiplicity of a model that takes them as inputs; see `make_record`.
    """
    bound_types = None if bound is None else torch.from_numpy(types_of(bound, model.settings.symbols))
    # a network that is no LESModel has one entry for all of it
    has_layer_entry = isinstance(model, LESModel) and model.backbone.has_layer_entry
    has_rows_entry = isinstance(model, LESModel) and model.backbone.has_rows_entry
    entries = ExportedLayers if has_layer_entry else ExportedRows if has_rows_entry else ExportedModel
    exported = entries(model, bound_types).eval()
    for parameter in exported.parameters():
        parameter.requires_grad_(False)
    if state is not None:
        exported.set_state(*state)
        if exported.neutrality:
            exported.total_charge[0] = state[0]
    constants = model.constant_charges()
    record = make_record(
        model.settings,
        training,
        charge_sign,
        bound,
        model.ghost_charges,
        constants,
        has_layer_entry,
        state,
        has_rows_entry,
    )
    record["content_hash"] = content_hash(record, exported.state_dict())
    buffer = io.BytesIO()
    with torchscript():
        scripted = torch.jit.script(exported)
        torch.jit.save(scripted, buffer, _extra_files={fields.METADATA_RECORD: json.dumps(record)})
    write_file(Path(path), buffer.getvalue())
    return record


def load_exported(path: str | Path) -> tuple[LESModel, dict[str, Any]]:
    """Model and record of an exported file."""
    record = read_record(path)
    with torchscript():
        scripted = torch.jit.load(str(path), map_location="cpu")
    model = LESModel(ModelSettings(**record["settings"]))
    prefix = "model."
    state = {name[len(prefix) :]: value for name, value in scripted.state_dict().items() if name.startswith(prefix)}
    model.load_state_dict(state)
    return model, record


def check_exported(path: str | Path, model: LESModel, frames: list[ase.Atoms]) -> dict[str, float]:
    """Compares the engine on the file with `model` in Python, in float64, on `frames`.

    Returns:
        largest differences relative to the largest value: energy, forces, charges.
    """
    from les_md.engine import Engine, unrelated_frames

    # a state that is not the default one, so that its way through the file is checked too
    charge, spin = (CHECK_STATE[name] if name in model.settings.state_inputs else None for name in CHECK_STATE)
    # the direct sum, as the Python model: closer than a mesh needs to be
    engine = Engine(path, total_charge=charge, spin=spin, solver="direct")
    tolerance = CHECK_TOLERANCE[engine.record["dtype"]]
    differences = {"energy": 0.0, "forces": 0.0, "charges": 0.0}
    for atoms in frames:
        frame = frame_from_atoms(atoms, model.settings.symbols, model.settings.cutoff, charge, spin)
        expected = evaluate(model, frame, virial=False)
        periodic = bool(np.all(atoms.pbc))
        types = engine.types_of(atoms.get_chemical_symbols())
        with unrelated_frames():
            got = engine.compute(atoms.positions, types, np.asarray(atoms.cell), periodic)
        offsets = model.element_energies[types].numpy()
        # what adds up to the energy sets its scale: offsets would hide a difference
        energy_size = float(np.abs(got["node_energies"] - offsets).sum()) + abs(got["long_range_energy"])
        pairs = {
            "energy": (np.array([got["energy"]]), expected[fields.ENERGY].detach().numpy(), energy_size),
            "forces": (got["forces"], expected[fields.FORCES].detach().numpy(), 0.0),
            "charges": (got["latent_charges"], expected[fields.LATENT_CHARGES].detach().numpy(), 0.0),
        }
        for name, (a, b, size) in pairs.items():
            scale = size or max(float(np.abs(b).max(initial=0.0)), 1e-3)
            differences[name] = max(differences[name], float(np.abs(a - b).max(initial=0.0)) / scale)
    for name, difference in differences.items():
        if not difference <= tolerance:
            raise LESError(
                f"check of {path}: {name} of the file differ from the checkpoint by {difference:.1e} relative, "
                f"expected at most {tolerance:.0e}; the file was not kept"
            )
    return differences


def export_model(
    model: LESModel,
    path: str | Path,
    frames: list[ase.Atoms],
    training: dict[str, Any] | None = None,
    symbols_of_atoms: list[str] | None = None,
    dtype: str | None = None,
    charge_sign: tuple[str | None, int] = (None, -1),
    state: tuple[float, float] | None = None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Writes `model` as a TorchScript file and checks it against `model` on real frames.

    Args:
        frames: structures for the sign of the charges and the check.
        training: summary for the record.
        symbols_of_atoms: atom list that `forward` (TorchForce) is bound to; None leaves it unbound.
        dtype: "float32" or "float64"; None keeps the model's.
        charge_sign: element and sign that fix the common sign of the charges; None: the most electronegative.
        state: total charge and spin multiplicity of the file where a host gives none; None: 0 and 1.

    Returns:
        the record, and the differences found by the check.
    """
    path = Path(path)
    reference = copy_model(model)
    sign = None
    if model.n_channels > 0:
        fitted = fitted_charge_sign(training or {})
        sign = fix_charge_sign(reference, batch_of(frames, model.settings), *charge_sign, fitted)
    temporary = path.with_name(path.name + ".unchecked")
    try:
        arguments = (training or {}, sign, symbols_of_atoms, state)
        record = write_model_file(copy_model(reference, dtype), temporary, *arguments)
        differences = check_exported(temporary, copy_model(reference, "float64"), frames)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return record, differences


def fitted_charge_sign(training: dict[str, Any]) -> bool:
    """Whether a training with this summary learned the sign of the charges, from dipoles or Born charges."""
    loss = training.get("settings", {}).get("training", {}).get("loss", {})
    return any(stage.get(quantity) for stage in (loss, *loss.get("stages", [])) for quantity in CHARGE_LABELS)


def batch_of(frames: list[ase.Atoms], settings: ModelSettings) -> AtomsBatch:
    """All `frames` as one batch."""
    return collate([frame_from_atoms(atoms, settings.symbols, settings.cutoff) for atoms in frames])


def frames_to_plain(frames: list[ase.Atoms]) -> list[dict[str, Any]]:
    """Structures as plain values, for the checkpoint."""
    return [
        {
            "symbols": atoms.get_chemical_symbols(),
            "positions": atoms.positions.tolist(),
            "cell": np.asarray(atoms.cell).tolist(),
            "pbc": [bool(flag) for flag in atoms.pbc],
        }
        for atoms in frames
    ]


def frames_from_plain(plain: list[dict[str, Any]]) -> list[ase.Atoms]:
    """The inverse of `frames_to_plain`."""
    return [ase.Atoms(f["symbols"], positions=f["positions"], cell=f["cell"], pbc=f["pbc"]) for f in plain]


def read_structures(path: str, index: str = ":") -> list[ase.Atoms]:
    """Structures of any file ASE reads; raises LESError if there are none."""
    try:
        frames = ase.io.read(path, index)
    except FileNotFoundError as error:
        raise LESError(f"structure file {path} does not exist") from error
    except Exception as error:  # ASE's readers raise whatever their format runs into
        raise LESError(f"structure file {path} cannot be read by ASE: {type(error).__name__}: {error}") from error
    if not frames:
        raise LESError(f"structure file {path} holds no structure")
    return list(frames)


def is_exported(path: Path) -> bool:
    """Whether `path` is an exported file rather than a checkpoint."""
    try:
        read_record(path)
    except LESError:
        return False
    return True


def default_output(path: Path) -> Path:
    """model.les.pt beside model.pt; an exported file keeps its stem."""
    stem = path.name.removesuffix(".les.pt") if path.name.endswith(".les.pt") else path.stem
    return path.with_name(stem + ".les.pt")


@command_line("les-export")
def main(arguments: list[str] | None = None) -> None:
    """Command-line program `les-export`."""
    parser = argparse.ArgumentParser(
        "les-export", description="Write the TorchScript file that LAMMPS, OpenMM and ASE load."
    )
    parser.add_argument("model", type=Path, help="checkpoint of les-train (model.pt), or an exported file to change")
    parser.add_argument("-o", "--output", type=Path, help="default: model.les.pt beside the checkpoint")
    parser.add_argument("--atoms", help="structure file whose atom list the TorchForce entry is bound to")
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="precision of the network in the file")
    parser.add_argument("--check", help="structure file to check on; default: frames kept in the checkpoint")
    parser.add_argument("--charge-sign", help="element and sign that fix the sign of the charges, such as O=-1")
    parser.add_argument(
        "--total-charge", type=float, help="e, where a host gives none, of a model with `charge_embedding`; default: 0"
    )
    parser.add_argument(
        "--spin", type=float, help="multiplicity, where a host gives none, of a model with `spin_embedding`; default: 1"
    )
    options = parser.parse_args(arguments)

    if not options.model.is_file():
        raise LESError(f"model {options.model} does not exist; les-train writes it as model.pt in its output folder")
    source_is_exported = is_exported(options.model)
    output = options.output or default_output(options.model)
    if source_is_exported:
        model, old_record = load_exported(options.model)
        training = old_record["training"]
        if output.resolve() == options.model.resolve():
            raise LESError(f"output {output} is the input file; name another with --output")
    else:
        model, training = load_checkpoint(options.model)
    frames = read_structures(options.check) if options.check else frames_from_plain(training.get("check_frames", []))
    if not frames:
        raise LESError(f"{options.model} holds no frames to check on; give some with --check FILE")
    bound = read_structures(options.atoms, "-1:")[0].get_chemical_symbols() if options.atoms else None
    element, sign = parse_charge_sign(options.charge_sign) if options.charge_sign else (None, -1)
    kept = options.charge_sign is None and not fitted_charge_sign(training)
    if source_is_exported and kept and old_record["charge_sign"]:
        element, sign = old_record["charge_sign"]["element"], old_record["charge_sign"]["sign"]
    state = asked_state(model, options.total_charge, options.spin)
    if source_is_exported and state is None and old_record.get("state"):
        state = (old_record["state"]["total_charge"], old_record["state"]["spin"])
    record, differences = export_model(model, output, frames, training, bound, options.dtype, (element, sign), state)
    print_summary(output, model, record, differences, len(frames))


def asked_state(model: LESModel, total_charge: float | None, spin: float | None) -> tuple[float, float] | None:
    """Total charge and spin multiplicity of the file; LESError for one the model does not take."""
    inputs = model.settings.state_inputs
    if total_charge is not None and "total_charge" not in inputs:
        raise LESError("--total-charge needs a model trained with `charge_embedding: true`; leave it out")
    if spin is not None and "spin" not in inputs:
        raise LESError("--spin needs a model trained with `spin_embedding: true`; leave it out")
    if spin is not None and not 1.0 <= spin < math.inf:
        raise LESError(f"--spin must be a multiplicity 2S + 1, at least 1, got {spin:g}")
    if total_charge is not None and not math.isfinite(total_charge):
        raise LESError(f"--total-charge must be a number of elementary charges, got {total_charge}")
    if total_charge is None and spin is None:
        return None
    return total_charge or 0.0, 1.0 if spin is None else spin


def print_summary(
    path: Path, model: LESModel, record: dict[str, Any], differences: dict[str, float], n_frames: int
) -> None:
    """Says what was written."""
    long_range = record["long_range"]
    kernel = "none"
    if long_range:
        cut = f"k_cutoff {long_range['k_cutoff']} 1/angstrom" if long_range["k_cutoff"] else "converged"
        kernel = f"smearing {long_range['smearing']} angstrom, {cut}, {record['n_channels']} charge channel(s)"
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    bound = f"{len(record['bound_symbols'])} atoms" if record["bound_symbols"] else "no atom list (--atoms binds one)"
    print(f"wrote        {path} ({path.stat().st_size / 1024:.0f} kB)")
    print(f"elements     {' '.join(record['symbols'])}")
    print(f"cutoff       {record['cutoff']} angstrom, {record['n_layers']} layer(s)")
    print(f"parameters   {n_parameters}, {record['dtype']}")
    print(f"long range   {kernel}")
    if record["state_inputs"]:
        state = record["state"] or {"total_charge": 0.0, "spin": 1.0}
        defaults = ", ".join(f"{name} {state[name]:g}" for name in record["state_inputs"])
        print(f"inputs       {defaults} unless a host gives others")
    if record["charge_sign"]:
        sign = "negative" if record["charge_sign"]["sign"] < 0 else "positive"
        print(f"charge sign  {record['charge_sign']['element']} is {sign}")
    print(f"TorchForce   bound to {bound}")
    print(
        f"checked      {n_frames} frame(s): relative differences energy {differences['energy']:.1e}, "
        f"forces {differences['forces']:.1e}, charges {differences['charges']:.1e}"
    )
