"""Model files of the reference cases: `python tests/data/reference_cases.py case.json out.les.pt float64`.

The network is the closed form of README.md behind the entries of an exported file, so the cases test hosts and engine
without any training, and show that another network fits the contract.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit import Final

from les_md.export import write_model_file
from les_md.model import DTYPES
from les_md.settings import LongRangeSettings, ModelSettings

HERE = Path(__file__).resolve().parent
FIELD_CASES = sorted(path.stem for path in HERE.glob("field_*.json"))
CASES = sorted(path.stem for path in HERE.glob("*.json") if path.stem not in FIELD_CASES)


class ClosedFormNetwork(nn.Module):
    """e_i = sum_j a f^2, q_i = q0 + sum_j (b f^2 + transfers), with f = 1 - (r / cutoff)^2."""

    has_state: Final[bool]

    def __init__(self, settings: ModelSettings, parameters: dict[str, Any], ghost_charges: bool) -> None:
        super().__init__()
        dtype = DTYPES[settings.dtype]
        self.settings = settings
        self.n_channels = settings.n_channels
        self.ghost_charges = ghost_charges
        self.cutoff = settings.cutoff
        self.charge_flux = settings.long_range is not None and settings.long_range.charge_flux
        self.has_state = bool(settings.state_inputs)
        if self.has_state:
            # 1 + c . (total charge, multiplicity - 1) for pair energies and for q0
            self.register_buffer("state_factors", torch.tensor(parameters["state"], dtype=torch.float64))
            self.register_buffer("state", torch.tensor([0.0, 1.0], dtype=torch.float64))
        for name in ("a", "q0", "b", "t"):
            self.register_buffer(name, torch.tensor(parameters[name], dtype=dtype))
        self.register_buffer("element_energies", torch.tensor(parameters["e0"], dtype=torch.float64))

    @torch.jit.unused
    def constant_charges(self) -> list[float]:
        charges: list[float] = self.q0.double().sum(1).tolist() if self.charge_flux else []
        return charges

    def forward(
        self,
        types: Tensor,
        edge_index: Tensor,
        edge_vectors: Tensor,
        n_centre: int,
        state: Tensor | None = None,
        system_idx: Tensor | None = None,
    ) -> dict[str, Tensor]:
        a, q0 = self.a, self.q0
        if self.has_state:
            change = (self.state if state is None else state[0]) - torch.tensor([0.0, 1.0], dtype=torch.float64)
            factors = (1.0 + torch.matmul(self.state_factors, change)).to(a.dtype)
            a, q0 = factors[0] * a, factors[1] * q0
        owned = edge_index[0] < n_centre
        edge_index = edge_index[:, owned]
        vectors = edge_vectors[owned].to(self.a.dtype)
        centres, neighbours = edge_index[0], edge_index[1]
        f = torch.square(1.0 - vectors.square().sum(1) / self.cutoff**2)
        pair = types[centres] * self.a.size(0) + types[neighbours]
        zeros = torch.zeros(n_centre, dtype=f.dtype, device=f.device)
        energies = zeros.index_add(0, centres, a.flatten()[pair] * f)
        transfers = self.t.flatten(0, 1)[pair] * f.unsqueeze(1)
        charges = torch.zeros(types.size(0), self.n_channels, dtype=f.dtype, device=f.device)
        charges[:n_centre] = q0[types[:n_centre]]
        charges = charges.index_add(0, centres, self.b.flatten(0, 1)[pair] * f.unsqueeze(1) + transfers)
        if self.ghost_charges:
            charges = charges.index_add(0, neighbours, -transfers)
        output = {
            "node_energies": energies,
            "offset_energies": self.element_energies[types[:n_centre]],
            "latent_charges": charges,
        }
        if self.charge_flux:
            dipoles = torch.zeros(n_centre, 3, dtype=f.dtype, device=f.device)
            output["transfer_dipoles"] = dipoles.index_add(0, centres, -transfers.sum(1, keepdim=True) * vectors)
        return output


def load_case(name: str) -> dict[str, Any]:
    """The reference case `name`."""
    return json.loads((HERE / f"{name}.json").read_text())


def network_of(case: dict[str, Any], dtype: str) -> ClosedFormNetwork:
    """The closed-form network of a case."""
    model = case["model"]
    has_state = "state" in model
    kernel = {key: value for key, value in model["long_range"].items() if key != "total_charge" or not has_state}
    long_range = LongRangeSettings(n_channels=model["n_channels"], **kernel)
    settings = ModelSettings(
        symbols=model["symbols"],
        cutoff=model["cutoff"],
        long_range=long_range,
        eps_inf=model.get("eps_inf", 1.0),
        charge_embedding=has_state,
        spin_embedding=has_state,
        dtype=dtype,
    )
    return ClosedFormNetwork(settings, model["network"], model["ghost_charges"])


def write_case_model(case: dict[str, Any], path: str | Path, dtype: str = "float64", bound: bool = False) -> Path:
    """Writes the model file of a case; `bound` ties its TorchForce entry to the atoms of the case.

    The file holds the state of the case, so that hosts need no options for it.
    """
    symbols = case["symbols"] if bound else None
    state = tuple(case["model"]["state"]) if "state" in case["model"] else None
    write_model_file(network_of(case, dtype), path, {}, None, symbols, state)  # type: ignore[arg-type]
    return Path(path)


if __name__ == "__main__":
    write_case_model(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3])
