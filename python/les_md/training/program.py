"""The program `les-train`: reads its options and settings and starts a training."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from les_md.errors import LESError, command_line, report
from les_md.training.settings import load_settings


@command_line("les-train")
def main(arguments: list[str] | None = None) -> None:
    """Trains a model as the settings file says."""
    parser = argparse.ArgumentParser(prog="les-train", description="Train an LES potential on extended XYZ files.")
    parser.add_argument("config", type=Path, help="settings file (YAML)")
    parser.add_argument(
        "--from",
        dest="initial_model",
        type=Path,
        metavar="MODEL",
        help="checkpoint (model.pt) to start from, for fine-tuning; replaces training.initial_model",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run in the output folder")
    parser.add_argument("--overwrite", action="store_true", help="remove an earlier run from the output folder first")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace one setting, such as training.epochs=200; may be repeated",
    )
    options = parser.parse_args(arguments)
    if options.resume and options.overwrite:
        raise LESError("--resume and --overwrite exclude each other: continue the earlier run or remove it")
    settings = load_settings(options.config, options.overrides, options.initial_model)
    # the libraries of the training take seconds to load: mistakes in the settings are reported before
    import torch

    from les_md.training.run import process_rank, train

    try:
        train(settings, resume=options.resume, overwrite=options.overwrite)
    except LESError as error:
        # the first process reports the mistake of all; Lightning would end it first if another one failed
        status = 1 if process_rank() == 0 else 0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # the ordinary end aborts in threads of a process group whose other processes are gone
            if status != 0:
                report("les-train", error)
            sys.stdout.flush()
            os._exit(status)
        if status == 0:
            sys.exit(0)
        raise


if __name__ == "__main__":
    sys.exit(main())
