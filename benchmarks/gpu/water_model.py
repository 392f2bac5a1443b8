"""Writes a model file of default size for water, with random weights: what times need, and nothing else.

python benchmarks/gpu/water_model.py water.les.pt
"""

import sys

import torch

from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings


def water_model() -> LESModel:
    """The model, the same in every process."""
    torch.manual_seed(1)
    return LESModel(ModelSettings(symbols=["H", "O"], long_range=LongRangeSettings())).eval()


def main() -> None:
    write_model_file(water_model(), sys.argv[1], {}, None, None)


if __name__ == "__main__":
    main()
