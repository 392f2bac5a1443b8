"""The program `les-data`: where public data sets are, whether local files are the expected ones, settings for them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from les_md.datasets.catalogue import Dataset, dataset, datasets, sha256_of
from les_md.errors import LESError, command_line


@command_line("les-data")
def main(arguments: list[str] | None = None) -> None:
    """Lists, explains, converts and checks data sets; see `--help`."""
    options = _parser().parse_args(arguments)
    if options.command is None:
        _list()
        return
    entry = dataset(options.name)
    if options.command == "show":
        _show(entry)
    elif options.command == "convert":
        _convert(entry, options.source, options.output)
    elif options.command == "check":
        for path in options.files:
            print(check(entry, path))
    else:
        print(entry.settings_file.read_text(encoding="utf-8"), end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="les-data", description="Public data sets for les-train. Without a command: a list of them."
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    texts = {
        "show": "what a data set is, where to get it, under which licence",
        "convert": "write the extended XYZ files from the published ones",
        "check": "compare local files with the expected SHA-256 and number of frames",
        "config": "print settings of les-train for a data set",
    }
    for command, text in texts.items():
        sub = commands.add_parser(command, help=text, description=f"{text[0].upper()}{text[1:]}.")
        sub.add_argument("name", help="data set; `les-data` lists them")
        if command == "convert":
            sub.add_argument("source", type=Path, help="folder with the published files")
            sub.add_argument("--output", type=Path, default=Path(), help="folder for the files (default: this one)")
        elif command == "check":
            sub.add_argument("files", type=Path, nargs="+", help="extended XYZ files; known by their names")
    return parser


def _list() -> None:
    for entry in datasets():
        print(f"{entry.name:16s} {entry.what}")
    print("les-data show NAME says where to get one; none of the data is part of les-md")


def _show(entry: Dataset) -> None:
    print(entry.what)
    print(f"reference   {entry.reference}")
    print(f"where       {entry.where}")
    print(f"licence     {entry.licence}")
    for file in entry.files:
        print(f"file        {file.name}, {file.frames} frames, SHA-256 {file.sha256}")
    print(
        f"convert     les-data convert {entry.name} FOLDER, with FOLDER the one named above ({len(entry.source)} files)"
    )
    print(f"train       les-data config {entry.name} > {entry.settings}; les-train {entry.settings}")


def _convert(entry: Dataset, source: Path, output: Path) -> None:
    # brings ASE's readers, which the other commands do not need
    from les_md.datasets.convert import convert

    for path in convert(entry, source, output):
        print(check(entry, path))


def check(entry: Dataset, path: Path) -> str:
    """One line that says that `path` is the expected file; LESError if it is not."""
    expected = entry.file(path.name)
    got = sha256_of(path)
    if got == expected.sha256:
        return f"{path}: {expected.frames} frames, SHA-256 as expected"
    import ase.io

    try:
        n_frames = sum(1 for _ in ase.io.iread(path, ":", format="extxyz"))
    except Exception as error:  # ASE's readers raise whatever their format runs into
        raise LESError(f"{path} cannot be read as extended XYZ: {type(error).__name__}: {error}") from error
    frames = "the expected number of frames" if n_frames == expected.frames else f"{n_frames} frames"
    raise LESError(
        f"{path}: expected {expected.frames} frames and SHA-256 {expected.sha256}, got {frames} and {got}; "
        f"make it again with `les-data convert {entry.name}`"
    )


if __name__ == "__main__":
    sys.exit(main())
