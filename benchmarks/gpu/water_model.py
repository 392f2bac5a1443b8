"""Writes a model file of default size for water, with random weights: what times need, and nothing else.

python benchmarks/gpu/water_model.py water.les.pt
"""

import sys

import torch

from les_md.export import write_model_file
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings


def main() -> None:
    torch.manual_seed(1)
    settings = ModelSettings(symbols=["H", "O"], long_range=LongRangeSettings())
    write_model_file(LESModel(settings).eval(), sys.argv[1], {}, None, None)


if __name__ == "__main__":
    main()
