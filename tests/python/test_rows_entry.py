"""Entry `rows` of exported files: the numbers of `local`, without an operation that waits for a value on a device."""

import functools
import io

import pytest
import torch
import vesin
from structures import random_atoms, random_model
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from les_md.export import torchscript, write_model_file
from les_md.model_file import read_record
from les_md.settings import LongRangeSettings
from les_md.torchforce import ExportedRows

MODELS = {
    "one layer": {},
    "two layers": {"n_layers": 2},
    "two channels": {"long_range": LongRangeSettings(n_channels=2)},
    "transfers": {"long_range": LongRangeSettings(charge_flux=True)},
    "three layers with transfers": {"n_layers": 3, "long_range": LongRangeSettings(charge_flux=True)},
    "short range": {"long_range": None},
    "charge and spin": {"charge_embedding": True, "spin_embedding": True},
}

#: Operators whose result, or the shape of it, the host needs from the device.
WAITING = {
    "aten::nonzero", "aten::nonzero_numpy", "aten::argwhere", "aten::item", "aten::_local_scalar_dense", "aten::Bool",
    "aten::Int", "aten::Float", "aten::IntImplicit", "aten::FloatImplicit", "aten::ScalarImplicit", "aten::tolist",
    "prim::tolist", "aten::masked_select", "aten::unique", "aten::_unique", "aten::_unique2", "aten::unique_dim",
    "aten::unique_consecutive", "aten::repeat_interleave", "aten::bincount", "aten::equal", "aten::allclose",
    "aten::is_nonzero", "aten::tensor", "aten::index", "aten::index_put", "aten::index_put_", "aten::where",
}  # fmt: skip


class Table:
    """Edges of some atoms in slots, rows sorted by element, as a device has them; all atoms owned or ghosts behind."""

    def __init__(self, model, atoms, centres=None, ghosts=False):
        types = torch.tensor([model.settings.symbols.index(symbol) for symbol in atoms.get_chemical_symbols()])
        i, j, shifts, vectors = (
            torch.from_numpy(array)
            for array in vesin.NeighborList(cutoff=model.settings.cutoff, full_list=True, sorted=True).compute(
                atoms.positions, atoms.cell.array, bool(atoms.pbc.all()), "ijSD"
            )
        )
        i, j = i.long(), j.long()
        if ghosts:  # every periodic image is an atom of its own
            outside = shifts.bool().any(1)
            images, rows = torch.cat([j[outside].unsqueeze(1), shifts[outside].long()], 1).unique(
                dim=0, return_inverse=True
            )
            j = j.clone()
            j[outside] = len(types) + rows
            types = torch.cat([types, types[images[:, 0]]])
        self.types, self.edge_index, self.edge_vectors = types, torch.stack([i, j]), vectors
        centres = torch.arange(len(atoms)) if centres is None else torch.tensor(centres)
        self.atoms = centres[torch.argsort(types[centres], stable=True)]
        self.runs = torch.bincount(types[centres], minlength=len(model.settings.symbols)).tolist()
        slots = int(torch.bincount(i, minlength=1).max()) + 3
        self.neighbours = self.atoms.to(torch.int32).unsqueeze(1).repeat(1, slots)
        self.vectors = torch.tensor([model.settings.cutoff, 0.0, 0.0], dtype=torch.float64).repeat(
            len(centres), slots, 1
        )
        self.edges = []  # row, slot and number of each edge
        for row, atom in enumerate(self.atoms.tolist()):
            for slot, edge in enumerate(torch.nonzero(i == atom).squeeze(1).tolist()):
                self.neighbours[row, slot], self.vectors[row, slot] = j[edge], vectors[edge]
                self.edges.append((row, slot, edge))

    def arguments(self):
        return self.types, self.neighbours, self.vectors, self.atoms, self.runs


@functools.cache
def made(name):
    """Atoms, a model, and the module as a host loads it."""
    atoms = random_atoms(n_atoms=14, tilt=0.5)
    model = random_model(atoms=atoms, **MODELS[name])
    buffer = io.BytesIO()
    with torchscript():
        torch.jit.save(torch.jit.script(ExportedRows(model, None).eval()), buffer)
        buffer.seek(0)
        module = torch.jit.load(buffer)
    if model.has_state:
        model.state.copy_(torch.tensor([1.0, 2.0]))
        module.set_state(1.0, 2.0)
    return atoms, model, module


def gradients(output, vectors):
    """Of energies and charges with fixed potentials."""
    charges = output["latent_charges"]
    potentials = torch.linspace(-1.0, 1.0, charges.numel(), dtype=charges.dtype).view_as(charges)
    return torch.autograd.grad(output["node_energies"].sum() + (potentials * charges).sum(), vectors)[0]


@pytest.mark.parametrize("ghosts", [False, True], ids=["periodic", "ghosts"])
@pytest.mark.parametrize("name", MODELS)
def test_same_numbers_as_local(ghosts, name):
    """Energies, charges, dipoles and gradients on the edges, in one piece and, of one layer, in blocks of rows."""
    atoms, model, module = made(name)
    n_layers = model.settings.n_layers
    whole = Table(model, atoms, ghosts=ghosts)
    if ghosts and n_layers > 1:
        with pytest.raises(torch.jit.Error, match="a network of several layers takes rows of all atoms"):
            module.rows(*whole.arguments())
        return
    leaf = whole.edge_vectors.clone().requires_grad_(True)
    expected = module.local(whole.types, whole.edge_index, leaf, len(atoms))
    expected_gradient = gradients(expected, leaf)
    splits = [[range(14)]] + [[[0], [3], [*range(1, 3), *range(4, 14)]]] * (n_layers == 1)
    for split in splits:
        found = {key: torch.zeros_like(value) for key, value in expected.items()}
        gradient = torch.zeros_like(expected_gradient)
        for centres in split:
            table = Table(model, atoms, list(centres), ghosts)
            table.vectors.requires_grad_(True)
            output = module.rows(*table.arguments())
            assert output.keys() == expected.keys()
            for key, value in output.items():
                if key == "latent_charges":
                    found[key] = found[key] + value
                else:
                    found[key] = found[key].index_copy(0, table.atoms, value)
            of_rows = gradients(output, table.vectors)
            for row, slot, edge in table.edges:
                gradient[edge] = of_rows[row, slot]
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-12)


def test_one_element_missing_and_no_rows(model):
    """Elements that the system has not are runs of length 0."""
    atoms = random_atoms(n_atoms=6)
    atoms.symbols[:] = "H"
    table = Table(model, atoms)
    assert table.runs == [0, 6]
    expected = model(table.types, table.edge_index, table.edge_vectors, 6)
    torch.testing.assert_close(model.rows(*table.arguments())["node_energies"], expected["node_energies"])
    none = model.rows(table.types, table.neighbours[:0], table.vectors[:0], torch.zeros(0, dtype=torch.int64), [0, 0])
    assert none["node_energies"].shape == (0,)
    assert not none["latent_charges"].any()


def operators(graph):
    """All kinds of nodes of a graph and of the blocks in it."""
    kinds = set()
    pending = list(graph.nodes())
    while pending:
        node = pending.pop()
        kinds.add(node.kind())
        for block in node.blocks():
            pending += list(block.nodes())
    return kinds


@pytest.mark.parametrize("name", MODELS)
def test_no_waiting_operator(name):
    """Neither in the graph, with everything called from it, nor when it runs with tensors that hold no numbers."""
    atoms, model, module = made(name)
    graph = module.rows.graph.copy()
    torch._C._jit_pass_inline(graph)
    assert operators(graph) & WAITING == set()
    local = module.local.graph.copy()
    torch._C._jit_pass_inline(local)
    assert {"aten::Bool", "aten::bincount"} <= operators(local)

    table = Table(model, atoms)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        vectors = fake.from_tensor(table.vectors).requires_grad_(True)
        arguments = [fake.from_tensor(x) for x in (table.types, table.neighbours)]
        output = model.rows(*arguments, vectors, fake.from_tensor(table.atoms), table.runs)
        assert gradients(output, vectors).shape == table.vectors.shape
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            model(arguments[0], fake.from_tensor(table.edge_index), fake.from_tensor(table.edge_vectors), len(atoms))


def test_record_tells_of_the_entry(tmp_path):
    for n_layers in (1, 2):
        path = tmp_path / f"{n_layers}.les.pt"
        write_model_file(random_model(n_layers=n_layers), path, {}, None, None)
        assert read_record(path)["rows_entry"]
        with torchscript():
            assert hasattr(torch.jit.load(str(path)), "rows")
