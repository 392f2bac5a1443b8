"""The program `les-models`: the models that come with the package, and their paths for other command lines."""

from __future__ import annotations

import argparse
import sys

from les_md.errors import LESError, command_line
from les_md.pretrained_models import list_pretrained, pretrained, read_card, read_pretrained_record


@command_line("les-models")
def main(arguments: list[str] | None = None) -> None:
    """Lists the models, or prints the path or the card of one."""
    parser = argparse.ArgumentParser(
        prog="les-models",
        description="Trained models that come with les-md. With a name: the path of its file alone, as in "
        "lmp -in in.water -var model $(les-models water-pbe0).",
    )
    parser.add_argument("name", nargs="?", help="model; without it: a list of all")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--checkpoint", action="store_true", help="path of the checkpoint, for les-export and les-eval")
    what.add_argument("--card", action="store_true", help="the model card: data, licence, settings, errors, limits")
    options = parser.parse_args(arguments)
    if options.name is None:
        if options.checkpoint or options.card:
            raise LESError("--checkpoint and --card need the name of a model; `les-models` lists them")
        for name in list_pretrained():
            print(_summary(name))
    elif options.card:
        print(read_card(options.name), end="")
    else:
        print(pretrained(options.name, options.checkpoint))


def _summary(name: str) -> str:
    record = read_pretrained_record(name)
    errors = record["errors"]["les"]
    return (
        f"{name}: {record['what']}\n"
        f"  elements    {' '.join(record['symbols'])}, cutoff {record['cutoff']:g} angstrom\n"
        f"  errors      {errors['energy_meV_per_atom']:.2f} meV/atom, {errors['forces_meV_per_angstrom']:.1f} "
        f"meV/angstrom ({record['errors']['frames']})\n"
        f"  file        {pretrained(name)}"
    )


if __name__ == "__main__":
    sys.exit(main())
