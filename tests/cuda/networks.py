"""Models with the network of this package, random weights: of one and two layers, with charge transfers, short-range;
"whole_..." is without an entry `layer`.

python tests/cuda/networks.py FOLDER writes them for H and O in both precisions, for the programs that check
the device, and the models of the reference cases.
"""

import sys
from pathlib import Path

import torch

from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings

NETWORKS = {
    "one_layer": (1, LongRangeSettings(neutrality=True)),
    "two_layers": (2, LongRangeSettings(n_channels=2)),
    "whole_two_layers": (2, LongRangeSettings()),
    "transfers": (1, LongRangeSettings(charge_flux=True)),
    "two_layers_transfers": (2, LongRangeSettings(charge_flux=True)),
    "short_range": (1, None),
}


def write_networks(folder: Path, symbols: list[str]) -> None:
    for name, (n_layers, long_range) in NETWORKS.items():
        for dtype in ("float64", "float32"):
            settings = ModelSettings(
                symbols=symbols, cutoff=4.0, n_radial=4, l_max=2, body_order=3, channels=4, hidden=[8],
                n_layers=n_layers, dtype=dtype, long_range=long_range,
            )  # fmt: skip
            torch.manual_seed(3)
            model = LESModel(settings).eval()
            model.backbone.has_layer_entry &= not name.startswith("whole_")
            write_model_file(model, folder / f"{name}_{dtype}.les.pt", {}, None, None)


def write_references(folder: Path) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "data"))
    from reference_cases import CASES, FIELD_CASES, load_case, write_case_model

    for name in CASES + FIELD_CASES:
        for dtype in ("float64", "float32"):
            write_case_model(load_case(name), folder / f"{name}_{dtype}.les.pt", dtype)


if __name__ == "__main__":
    write_networks(Path(sys.argv[1]), ["H", "O"])
    write_references(Path(sys.argv[1]))
