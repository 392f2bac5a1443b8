"""Total charge and spin multiplicity of a system as inputs of the network: one model for several charge states.

They enter each head as a shift of its first hidden layer, the same function for all atoms of an element, so energies
and charges stay smooth functions of the positions and the cost does not grow. The inputs are global: every atom of a
system is told of its charge and spin, however far it is from where they sit.
"""

import torch
from torch import Tensor, nn

#: Length of the embedding of a state.
N_EMBEDDING = 16


class StateEmbedding(nn.Module):
    """Shift of `width` hidden numbers for each element and state; zero for the neutral singlet.

    shift_t = V_t (g(Q, S) - g(0, 1)), with g one layer of smooth functions.
    """

    used: Tensor  # (2,), 1 for an input in use
    reference: Tensor  # (2,)

    def __init__(self, n_types: int, width: int, charge: bool, spin: bool) -> None:
        super().__init__()
        self.first = nn.Linear(2, N_EMBEDDING)
        self.elements = nn.Parameter(torch.randn(n_types, N_EMBEDDING, width) / N_EMBEDDING**0.5)
        self.register_buffer("used", torch.tensor([float(charge), float(spin)]))
        self.register_buffer("reference", torch.tensor([0.0, 1.0]))

    def embedding(self, state: Tensor) -> Tensor:
        return nn.functional.silu(self.first(state * self.used))

    def forward(self, state: Tensor, system_idx: Tensor, types: Tensor) -> Tensor:
        """`state` (n_systems, 2), charge (e) and multiplicity; `system_idx`, `types` (n_atoms,) -> (n_atoms, width)."""
        state = state.to(self.used.dtype)
        change = self.embedding(state) - self.embedding(self.reference)
        of_elements = torch.einsum("se,tew->stw", change, self.elements)
        rows = system_idx * self.elements.size(0) + types
        return of_elements.flatten(0, 1).index_select(0, rows)
