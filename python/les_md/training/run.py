"""One training from settings to model, in the order a reader would expect: data, model, fit, report.

Everything is checked before the output folder is touched. With several processes Lightning starts the program again for
each further process; only the first one writes and prints.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import DDPStrategy

from les_md.checkpoint import save_checkpoint
from les_md.errors import LESError
from les_md.files import write_file
from les_md.model import LESModel
from les_md.network.kernels import training_kernels
from les_md.training import data
from les_md.training.callbacks import EpochRecorder, Progress, WeightAverage
from les_md.training.data import TrainingData
from les_md.training.initial_model import print_initial_errors
from les_md.training.labels import check_hash, read_frames
from les_md.training.levenberg_marquardt import LeastSquaresModule
from les_md.training.loss_settings import CHARGE_LABELS
from les_md.training.report import errors_of, print_start, summary, write_report
from les_md.training.run_state import (
    CONFIG_FILE,
    MODEL_FILE,
    OUTPUT_FILES,
    RunState,
    load_run,
    write_metrics,
)
from les_md.training.schedule import LearningRate
from les_md.training.settings import TrainSettings, dump_settings, settings_record
from les_md.training.start_model import build_model
from les_md.training.trainer_module import TrainerModule, periodic_sum_of

#: Settings that may change when a run is resumed: they do not alter the epochs already done.
_MAY_CHANGE = {"training.epochs", "training.early_stopping_patience", "training.device", "training.devices", "output"}


def train(settings: TrainSettings, resume: bool = False, overwrite: bool = False) -> None:
    """Trains a model. Raises LESError for everything a user can mend; nothing is written before all checks are passed.

    Args:
        resume: continue the run in the output folder.
        overwrite: remove the files of an earlier run from the output folder.
    """
    first_process = process_rank() == 0
    folder = settings.output
    if first_process:
        _check_output(folder, resume, overwrite)
    accelerator = _accelerator(settings)
    dataset = prepare_data(settings)
    settings = settings.model_copy(deep=True)
    settings.model.symbols = dataset.symbols
    identity = {"settings": settings_record(settings), "data": dataset.fingerprint}
    run, parts = _load_earlier(folder, identity) if resume else (RunState(), {})

    torch.manual_seed(settings.training.seed)
    model = build_model(settings, dataset)
    if parts:
        try:
            model.load_state_dict(parts["model"])
        except RuntimeError:
            raise LESError(
                f"the run in '{folder}' was made by another version of les-md; start again with --overwrite"
            ) from None
    if first_process:
        _start_output(folder, settings, overwrite)
        write_metrics(folder, run.rows)
        print_start(settings, dataset, model, run, accelerator)
        if settings.training.initial_model is not None and not parts:
            print_initial_errors(model, dataset, settings.training.batch_size, periodic_sum_of(settings.training))

    # an earlier process may have been stopped after its last epoch, but before the report
    if run.n_epochs < settings.training.epochs and not run.stopped_early:
        _fit(settings, dataset, model, run, parts, identity, accelerator)
    if first_process:
        write_report(settings, dataset, model, run)


def prepare_data(settings: TrainSettings) -> TrainingData:
    """Reads and checks all data; LESError names the first mistake."""
    loss, source = settings.training.loss, settings.data
    need = (loss.uses("energy"), loss.uses("forces"), loss.uses("stress"))
    optional = [quantity for quantity in CHARGE_LABELS if loss.uses(quantity)]
    for path in (*source.train, *source.valid):
        check_hash(path, source.sha256.get(path.name))
    train_frames = read_frames(source.train, source, *need, optional)
    if source.valid:
        valid_frames = read_frames(source.valid, source, *need, optional)
        if len(train_frames) < 2:
            raise LESError("training needs at least 2 frames, got 1")
    else:
        if len(train_frames) < 2:
            raise LESError("training needs at least 2 frames, one to fit and one to validate, got 1")
        train_frames, valid_frames = data.split_frames(
            train_frames, source.valid_fraction or 0.1, settings.training.seed
        )
    data.check_training_frames(train_frames, settings)
    if settings.model.long_range is None or not settings.model.long_range.charge_flux:
        data.drop_periodic_dipoles(valid_frames)
    initial_model = settings.training.initial_model
    symbols = data.choose_symbols(train_frames, valid_frames, settings.model.symbols, initial_model)
    element_energies = np.zeros(len(symbols))  # of a model that is fine-tuned: known with the model
    if initial_model is None:
        element_energies = data.element_energies(train_frames, symbols, source.element_energies)
    built = data.build_frames(train_frames + valid_frames, symbols, settings.model.cutoff, source.allow_lone_atoms)
    return TrainingData(
        train=built[: len(train_frames)],
        valid=built[len(train_frames) :],
        symbols=symbols,
        element_energies=element_energies,
        fingerprint=data.fingerprint(built),
        check_frames=data.representative_frames(valid_frames + train_frames),
    )


def _fit(
    settings: TrainSettings,
    dataset: TrainingData,
    model: LESModel,
    run: RunState,
    parts: dict[str, Any],
    identity: dict[str, Any],
    accelerator: str,
) -> None:
    training = settings.training
    n_ranks = training.devices
    rank = process_rank()
    least_squares = training.optimizer == "levenberg_marquardt"
    batch_size = 1 if least_squares else training.batch_size
    train_batches = data.FrameBatches(dataset.train, batch_size, rank, n_ranks, seed=training.seed)
    valid_batches = data.FrameBatches(dataset.valid, training.batch_size, rank, n_ranks)
    counts = {"train": data.count(dataset.train), "valid": data.count(dataset.valid)}
    learning_rate = LearningRate(training, len(train_batches))
    if parts:
        learning_rate.load_state(parts["learning_rate"])
    module_kind = LeastSquaresModule if least_squares else TrainerModule
    module = module_kind(model, training, train_batches, learning_rate, run.n_epochs, parts.get("optimizer"))
    average = WeightAverage(model, None if least_squares else training.ema_decay, parts.get("average"))

    def save_model(row: dict[str, Any]) -> None:
        errors = {"train": errors_of(row, "train"), "valid": errors_of(row, "valid")}
        save_checkpoint(settings.output / MODEL_FILE, model, summary(settings, dataset, row["epoch"], errors))

    recorder = EpochRecorder(settings.output, run, average, counts, identity, save_model)
    with _quiet_trainer():
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=n_ranks,
            strategy=_strategy(accelerator, n_ranks),
            max_epochs=training.epochs - run.n_epochs,
            gradient_clip_val=None if least_squares else training.gradient_clip,
            deterministic=training.deterministic,
            inference_mode=False,  # forces are gradients, also in validation
            use_distributed_sampler=False,  # FrameBatches shares the frames out
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[average, recorder, Progress(run, counts, training.epochs)],
        )
        with training_kernels():
            trainer.fit(module, train_dataloaders=train_batches, val_dataloaders=valid_batches)


def _check_output(folder: Path, resume: bool, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LESError(f"`output` must be a folder, but '{folder}' is a file")
    if not resume and not overwrite and any((folder / name).exists() for name in OUTPUT_FILES):
        raise LESError(
            f"output folder '{folder}' holds an earlier run; continue it with --resume, replace it with --overwrite, "
            "or choose another `output`"
        )


def _start_output(folder: Path, settings: TrainSettings, overwrite: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            for name in OUTPUT_FILES:
                (folder / name).unlink(missing_ok=True)
        write_file(folder / CONFIG_FILE, dump_settings(settings).encode())
    except OSError as error:
        raise LESError(f"cannot write to output folder '{folder}': {error.strerror}") from None


def _load_earlier(folder: Path, identity: dict[str, Any]) -> tuple[RunState, dict[str, Any]]:
    """State of the run in `folder`, a fresh one if no epoch was finished; LESError if settings or data changed."""
    loaded = load_run(folder)
    if loaded is None:
        if process_rank() == 0:
            print(f"no finished epoch in '{folder}': starting from the beginning")
        return RunState(), {}
    run, parts = loaded
    before, now = _flat(parts["settings"]), _flat(identity["settings"])
    for key in sorted({*before, *now} - _MAY_CHANGE):
        if before.get(key) != now.get(key):
            raise LESError(
                f"--resume needs the settings of the earlier run, but `{key}` was {before.get(key)!r} and is "
                f"{now.get(key)!r} now; set it back, or start again with --overwrite"
            )
    if parts["data"] != identity["data"]:
        raise LESError("--resume needs the data of the earlier run, but they changed; start again with --overwrite")
    if now["training.epochs"] > run.n_epochs:
        run.stopped_early = (
            run.stopped_early
            and before["training.early_stopping_patience"] == (now["training.early_stopping_patience"])
        )
    return run, parts


def _flat(record: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as one dictionary with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def process_rank() -> int:
    """Number of this process, from the environment in which the trainer library starts it."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def _accelerator(settings: TrainSettings) -> str:
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    training = settings.training
    if training.device == "gpu" and n_gpus == 0:
        raise LESError("`training.device` is gpu, but torch finds no CUDA device; set it to cpu or auto")
    if training.device == "cpu" or n_gpus == 0 or training.optimizer == "levenberg_marquardt":
        return "cpu"
    if training.devices > n_gpus:
        raise LESError(f"`training.devices` is {training.devices}, but there are {n_gpus} GPUs; lower it")
    return "gpu"


def _strategy(accelerator: str, n_ranks: int) -> Any:
    if n_ranks == 1:
        return "auto"
    backend = "gloo" if accelerator == "cpu" else "nccl"
    # buffers never change in training, and every parameter has a gradient (see TrainerModule.training_step)
    return DDPStrategy(process_group_backend=backend, broadcast_buffers=False, find_unused_parameters=False)


@contextmanager
def _quiet_trainer() -> Iterator[None]:
    """Keeps the trainer library's notices and advice off the terminal; warnings of other modules pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
