"""Entry `layer` of exported files: layer by layer, with messages exchanged between, the results are those of `local`.

A host with domains is played here: every atom of a periodic box has an owner, and ghosts are its periodic images.
"""

import io

import numpy as np
import pytest
import torch
import vesin
from structures import random_atoms, random_model

from les_md.export import torchscript, write_model_file
from les_md.model_file import read_record
from les_md.settings import LongRangeSettings
from les_md.torchforce import ExportedLayers


def exported(model):
    """The module as a host loads it."""
    buffer = io.BytesIO()
    with torchscript():
        torch.jit.save(torch.jit.script(ExportedLayers(model, None).eval()), buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


class Domain:
    """Owned atoms with some ghosts of one cutoff around them, and edges around owned atoms."""

    def __init__(self, atoms, owned, cutoff):
        i, j, shifts, vectors = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True).compute(
            atoms.positions, atoms.cell.array, True, "ijSD"
        )
        used = np.isin(i, owned)
        ghosts = sorted({(int(b), *map(int, s)) for b, s in zip(j[used], shifts[used], strict=True)})
        own = [(int(a), 0, 0, 0) for a in owned]
        rows = own + [ghost for ghost in ghosts if ghost not in own]
        row_of = {row: n for n, row in enumerate(rows)}
        centres = [row_of[(int(a), 0, 0, 0)] for a in i[used]]
        neighbours = [row_of[(int(b), *map(int, s))] for b, s in zip(j[used], shifts[used], strict=True)]
        types = np.array([["O", "H"].index(symbol) for symbol in atoms.get_chemical_symbols()])
        self.atoms = torch.tensor([row[0] for row in rows], dtype=torch.int64)
        self.n_owned = len(owned)
        edge_index = torch.tensor([centres, neighbours], dtype=torch.int64).view(2, -1)
        order = torch.argsort(edge_index[0], stable=True)
        self.edge_index = edge_index[:, order]
        self.vectors = torch.from_numpy(vectors[used])[order].requires_grad_(True)
        self.tensors = {
            "types": torch.from_numpy(types).index_select(0, self.atoms),
            "edge_index": self.edge_index,
            "edge_vectors": self.vectors,
        }


def evaluate_domains(module, domains, n_layers, n_atoms):
    """Runs all layers of all domains in turn; adds up energy and charges of the box."""
    for index in range(n_layers):
        for domain in domains:
            domain.tensors = module.layer(index, domain.tensors, domain.n_owned)
        if index + 1 < n_layers:
            owners = torch.cat([domain.atoms[: domain.n_owned] for domain in domains])
            messages = torch.cat([domain.tensors["messages"] for domain in domains])
            of_box = torch.zeros_like(messages).index_copy(0, owners, messages)
            for domain in domains:
                domain.tensors["messages"] = of_box.index_select(0, domain.atoms)
    energy = sum(domain.tensors["node_energies"].sum() for domain in domains)
    charges = [domain.tensors["latent_charges"] for domain in domains]
    of_box = torch.zeros(n_atoms, charges[0].size(1), dtype=charges[0].dtype)
    for domain, values in zip(domains, charges, strict=True):
        of_box = of_box.index_add(0, domain.atoms, values)
    return energy, of_box


def gradient_of_atoms(domains, gradients, n_atoms):
    """Derivatives with respect to positions (n_atoms, 3) from those to edge vectors."""
    total = torch.zeros(n_atoms, 3, dtype=torch.float64)
    for domain, gradient in zip(domains, gradients, strict=True):
        centres, neighbours = domain.atoms[domain.edge_index[0]], domain.atoms[domain.edge_index[1]]
        total = total.index_add(0, neighbours, gradient).index_add(0, centres, -gradient)
    return total


@pytest.mark.parametrize("n_layers", [2, 3])
@pytest.mark.parametrize("charge_flux", [False, True], ids=["charges", "transfers"])
def test_domains_add_up(n_layers, charge_flux):
    """Energy, charges and their gradients of three domains, one of them empty, against one domain without ghosts."""
    atoms = random_atoms(n_atoms=24, length=8.0, tilt=0.5)
    model = random_model(
        atoms=atoms, n_layers=n_layers, cutoff=3.0, long_range=LongRangeSettings(charge_flux=charge_flux)
    )
    module = exported(model)
    potentials = torch.linspace(-1.0, 1.0, len(atoms), dtype=torch.float64).unsqueeze(1)
    found = {}
    for name, split in {"one": [range(24)], "three": [range(9), [], range(9, 24)]}.items():
        domains = [Domain(atoms, list(owned), 3.0) for owned in split]
        energy, charges = evaluate_domains(module, domains, n_layers, len(atoms))
        target = energy + (potentials * charges).sum()
        gradients = torch.autograd.grad(target, [domain.vectors for domain in domains], allow_unused=True)
        gradients = [torch.zeros(0, 3) if g is None else g for g in gradients]
        found[name] = energy, charges, gradient_of_atoms(domains, gradients, len(atoms))
    whole = Domain(atoms, list(range(24)), 3.0)
    # without ghosts: neighbours are the atoms themselves
    whole.edge_index = torch.stack([whole.edge_index[0], whole.atoms[whole.edge_index[1]]])
    whole.atoms = whole.atoms[:24]
    output = module.local(whole.tensors["types"][:24], whole.edge_index, whole.vectors, 24)
    target = output["node_energies"].sum() + (potentials * output["latent_charges"]).sum()
    expected = gradient_of_atoms([whole], torch.autograd.grad(target, whole.vectors), len(atoms))
    for energy, charges, gradient in found.values():
        torch.testing.assert_close(energy, output["node_energies"].sum(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(charges, output["latent_charges"], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)


def test_record_tells_of_the_entry(tmp_path):
    for n_layers in (1, 2):
        path = tmp_path / f"{n_layers}.les.pt"
        write_model_file(random_model(n_layers=n_layers), path, {}, None, None)
        assert read_record(path)["layer_entry"] == (n_layers > 1)
        with torchscript():
            module = torch.jit.load(str(path))
        assert hasattr(module, "layer") == (n_layers > 1)
