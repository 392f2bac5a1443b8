"""Exported files on a GPU without one: nothing in them stays on the CPU when the module is somewhere else."""

import io

import pytest
import torch
from structures import random_model
from test_rows_entry import MODELS, Table, made
from torch._subclasses.fake_tensor import FakeTensorMode

from les_md.export import torchscript
from les_md.torchforce import ExportedLayers, ExportedRows


def saved_and_loaded(module):
    buffer = io.BytesIO()
    with torchscript():
        torch.jit.save(module, buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


def on_gpu(tensors):
    return [torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda") for tensor in tensors]


@pytest.mark.parametrize("name", MODELS)
def test_rows_on_a_gpu(name):
    """With tensors that hold no numbers, where one of the CPU among those of the GPU is an error as it is there."""
    atoms, model, module = made(name)
    table = Table(model, atoms)
    module = saved_and_loaded(module)
    with FakeTensorMode(), torch.jit.optimized_execution(False):
        for part in module.modules():
            own = dict(part.named_parameters(recurse=False)) | dict(part.named_buffers(recurse=False))
            for key, tensor in zip(own, on_gpu(own.values()), strict=True):
                part._c.setattr(key, tensor)
        tensors = on_gpu((table.types, table.neighbours, table.vectors, table.atoms))
        output = module.rows(*tensors, table.runs)
        assert {str(tensor.device) for tensor in output.values()} == {"cuda:0"}
        with pytest.raises(RuntimeError, match=r"torch.index_select\(types, 0, atoms\)\s+~+ <--- HERE"):
            module.rows(*tensors[:3], torch.arange(len(table.atoms)), table.runs)


def nodes_of(block):
    """All nodes of a graph, those of the blocks in it too."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


def of_fixed_device(graph):
    """Nodes of a graph that make a tensor on a device that the file names, or on the CPU where it names none."""
    for node in nodes_of(graph):
        if node.kind() == "prim::Constant" and node.output().type().kind() == "TensorType":
            yield str(node)
        if node.schema() == "(no schema)":
            continue
        arguments = torch._C.parse_schema(node.schema()).arguments
        if arguments and arguments[0].name == "self":  # where that is
            continue
        for argument, value in zip(arguments, node.inputs(), strict=False):
            if argument.name == "device" and value.node().kind() == "prim::Constant":
                yield str(node)


@pytest.mark.parametrize("name", ["charge and spin", "three layers with transfers", "short range"])
def test_entries_make_tensors_where_their_input_is(name):
    """`local`, `layer` and `forward` too, which cannot do without numbers."""
    model = random_model(**MODELS[name])
    has_layers = model.n_layers > 1
    with torchscript():
        scripted = torch.jit.script((ExportedLayers if has_layers else ExportedRows)(model, torch.zeros(3).long()))
    module = saved_and_loaded(scripted.eval())
    for entry in ["local", "rows", "forward"] + ["layer"] * has_layers:
        graph = getattr(module, entry).graph.copy()
        torch._C._jit_pass_inline(graph)
        assert list(of_fixed_device(graph)) == [], entry
    # the state comes as numbers of the host, which are copied
    assert len(list(of_fixed_device(module.set_state.graph))) == (1 if model.has_state else 0)
