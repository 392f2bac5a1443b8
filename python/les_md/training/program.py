"""The program `les-train`: reads its options and settings and starts a training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from les_md.errors import LESError, command_line
from les_md.training.settings import load_settings


@command_line("les-train")
def main(arguments: list[str] | None = None) -> None:
    """Trains a model as the settings file says."""
    parser = argparse.ArgumentParser(prog="les-train", description="Train an LES potential on extended XYZ files.")
    parser.add_argument("config", type=Path, help="settings file (YAML)")
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
    settings = load_settings(options.config, options.overrides)
    # the libraries of the training take seconds to load: mistakes in the settings are reported before
    from les_md.training.run import process_rank, train

    try:
        train(settings, resume=options.resume, overwrite=options.overwrite)
    except LESError:
        if process_rank() != 0:
            # the first process reports the same mistake; Lightning would end it first if this one failed
            sys.exit(0)
        raise


if __name__ == "__main__":
    sys.exit(main())
