"""A bound file called as OpenMM-Torch's TorchForce calls it, compared with LESForce.

TorchForce freezes the module, passes positions in nm (float64 on the Reference platform, float32 on GPUs in single and
mixed precision) and, for a periodic force, the box vectors in rows in the same precision; it takes the energy as a
scalar and the forces from backward().
"""

from __future__ import annotations

import ase
import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm_systems import KILOJOULE_PER_MOLE_PER_EV, evaluate, make_context, make_model, waters

from les_md.errors import LESError
from les_md.export import torchscript, write_model_file
from les_md.openmm import LESForce, torchforce_module


def frozen(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    with torchscript():
        return torch.jit.freeze(module.eval())


def call_as_torchforce(
    module: torch.jit.ScriptModule, atoms: ase.Atoms, dtype: torch.dtype
) -> tuple[float, np.ndarray]:
    """Energy (kJ/mol) and forces (kJ/mol/nm)."""
    positions = (torch.tensor(atoms.positions) * 0.1).to(dtype).requires_grad_(True)
    inputs = [positions]
    if atoms.pbc.all():
        inputs.append((torch.tensor(atoms.cell.array) * 0.1).to(dtype))
    energy = module.forward(*inputs)
    assert energy.dtype == torch.float64
    assert energy.dim() == 0
    assert energy.is_contiguous()
    energy.backward()
    assert positions.grad is not None
    assert positions.grad.dtype == dtype
    assert positions.grad.is_contiguous()
    return energy.item(), -positions.grad.numpy()


@pytest.mark.parametrize("periodic", [True, False], ids=["triclinic", "isolated"])
@pytest.mark.parametrize(
    ("network", "positions", "tolerance"),
    [("float64", torch.float64, 1e-6), ("float64", torch.float32, 1e-4), ("float32", torch.float64, 1e-4)],
    ids=["float64", "float32 positions", "float32 network"],
)
def test_agrees_with_les_force(model_file, tmp_path, periodic, network, positions, tolerance):
    atoms = waters(periodic)
    symbols = atoms.get_chemical_symbols()
    bound = tmp_path / "bound.les.pt"
    write_model_file(make_model(dtype=network, n_channels=2, neutrality=True), bound, {}, None, symbols)
    # the bound file still serves the other hosts
    expected = evaluate(make_context(atoms, LESForce(bound, symbols, periodic=periodic, solver="direct")))
    offsets = -8 * (2 * 13.6 + 432.5)
    with torchscript():
        from_file = torch.jit.load(bound)
    from_python = torchforce_module(model_file(dtype=network, n_channels=2, neutrality=True), symbols)
    for module in (frozen(from_file), frozen(from_python)):
        for _ in range(3):  # later calls run optimised code
            energy, forces = call_as_torchforce(module, atoms, positions)
        assert energy / KILOJOULE_PER_MOLE_PER_EV - offsets == pytest.approx(expected.energy - offsets, rel=tolerance)
        scale = np.abs(expected.forces).max()
        np.testing.assert_allclose(
            forces / KILOJOULE_PER_MOLE_PER_EV / 10, expected.forces, rtol=0, atol=tolerance * scale
        )


def test_saved_module_is_bound(model_file, tmp_path):
    atoms = waters(True)
    module = torchforce_module(model_file(), atoms.get_chemical_symbols())
    with torchscript():
        module.save(str(tmp_path / "bound.pt"))
        again = torch.jit.load(tmp_path / "bound.pt")
    expected, _ = call_as_torchforce(module, atoms, torch.float64)
    assert call_as_torchforce(again, atoms, torch.float64)[0] == pytest.approx(expected, rel=1e-12)


def test_topology_binds_its_elements(model_file):
    topology = openmm.app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    for symbol in ("O", "H", "H"):
        topology.addAtom(symbol, openmm.app.Element.getBySymbol(symbol), residue)
    module = torchforce_module(model_file(), topology)
    assert module.bound_types.tolist() == [1, 0, 0]


def test_unbound_file_refuses(model_file):
    with torchscript():
        module = torch.jit.load(model_file())
    with pytest.raises(
        torch.jit.Error, match="this model file is not bound to an atom list; run les-export with --atoms"
    ):
        module.forward(torch.zeros(3, 3))


def test_other_number_of_atoms_is_refused(model_file):
    module = torchforce_module(model_file(), ["O", "H", "H"])
    with pytest.raises(torch.jit.Error, match="bound to 3 atoms, got 24"):
        module.forward(torch.tensor(waters(False).positions) * 0.1)


def test_unknown_element_and_missing_file(model_file, tmp_path):
    with pytest.raises(LESError, match="element Xe is not in the model, which knows H O"):
        torchforce_module(model_file(), ["O", "Xe"])
    with pytest.raises(LESError, match="does not exist"):
        torchforce_module(tmp_path / "none.les.pt", ["O"])
