"""Total charge and spin multiplicity as inputs of a model: what they do, through Python, engine, ASE and TorchForce."""

import warnings

import numpy as np
import pytest
import torch
from reference_cases import load_case, write_case_model
from structures import random_atoms, random_model

from les_md import fields
from les_md.ase import LESCalculator
from les_md.batch import collate, frame_from_atoms
from les_md.checkpoint import save_checkpoint
from les_md.constants import ANGSTROM_PER_NANOMETRE, KILOJOULE_PER_MOLE_PER_EV
from les_md.engine import Engine
from les_md.errors import LESError
from les_md.export import export_model, load_exported, main, torchscript, write_model_file
from les_md.forces import edge_vectors_of, evaluate
from les_md.model_file import read_record
from les_md.network.kernels import training_kernels
from les_md.settings import LongRangeSettings, ModelSettings
from les_md.torchforce import ExportedRows

BOTH = {"charge_embedding": True, "spin_embedding": True}
KINDS = {
    "one layer": {},
    "two layers": {"n_layers": 2},
    "transfers": {"long_range": LongRangeSettings(charge_flux=True)},
    "neutral": {"long_range": LongRangeSettings(neutrality=True)},
    "short range": {"long_range": None},
}


def state_model(**settings):
    """A random model with both inputs whose outputs follow them clearly."""
    model = random_model(**BOTH | settings)
    with torch.no_grad():
        model.energy_head.output.weight.normal_()
    return model


def frame_of(atoms, charge=None, spin=None):
    return frame_from_atoms(atoms, ["O", "H"], 3.5, charge, spin)


def numbers(model, frame):
    return {name: value.detach().numpy() for name, value in evaluate(model, frame).items()}


def test_neutral_singlets_are_those_of_the_network_without_inputs():
    atoms = random_atoms()
    model = state_model()
    plain = random_model()
    state = {name: value for name, value in model.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(state)
    expected, default, given = numbers(plain, frame_of(atoms)), numbers(model, frame_of(atoms)), None
    given = numbers(model, frame_of(atoms, 0.0, 1.0))
    other = numbers(model, frame_of(atoms, 1.0, 2.0))
    for name in (fields.ENERGY, fields.FORCES, fields.LATENT_CHARGES):
        assert np.array_equal(default[name], expected[name])
        assert np.array_equal(given[name], expected[name])
        assert np.abs(other[name] - expected[name]).max() > 1e-3


@pytest.mark.parametrize("used", ["charge_embedding", "spin_embedding"])
def test_an_input_that_is_not_used_changes_nothing(used):
    atoms = random_atoms()
    model = random_model(**{used: True})
    energies = [float(numbers(model, frame_of(atoms, *state))["energy"][0]) for state in ((0, 1), (1, 1), (0, 3))]
    assert (energies[1] == energies[0]) == (used == "spin_embedding")
    assert (energies[2] == energies[0]) == (used == "charge_embedding")


@pytest.mark.parametrize("kind", KINDS)
def test_every_system_of_a_batch_has_its_own_state(kind):
    model = state_model(**KINDS[kind])
    structures = [random_atoms(seed=1), random_atoms(9, seed=2, periodic=False), random_atoms(seed=3)]
    states = [(1.0, 2.0), (None, 3.0), (-2.0, None)]
    frames = [frame_of(atoms, *state) for atoms, state in zip(structures, states, strict=True)]
    together = numbers(model, collate(frames))
    single = [numbers(model, frame) for frame in frames]
    for name in (fields.ENERGY, fields.FORCES, fields.VIRIAL, fields.LATENT_CHARGES):
        np.testing.assert_allclose(together[name], np.concatenate([s[name] for s in single]), atol=1e-10)
    if kind == "neutral":
        sums = [float(s[fields.LATENT_CHARGES].sum()) for s in single]
        assert sums == pytest.approx([1.0, 0.0, -2.0], abs=1e-12)


def test_gradients_of_the_weights_by_finite_differences():
    """Through the compiled steps of the training, with a loss on energies and forces."""
    model = state_model(n_layers=2)
    batch = collate([frame_of(random_atoms(9, seed=1), 1.0, 2.0), frame_of(random_atoms(9, seed=2), -1.0, 1.0)])

    def loss(create_graph):
        output = evaluate(model, batch, create_graph=create_graph, virial=False)
        return (output[fields.FORCES].square().sum() + output[fields.ENERGY].square().sum() * 1e-4) * 1e-2

    parameters = [*model.energy_state.parameters(), *model.charge_state.parameters()]
    with training_kernels():
        gradients = torch.autograd.grad(loss(True), parameters)
    generator = torch.Generator().manual_seed(3)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        data, step, values = parameter.data, 1e-5, []
        for sign in (1, -1):
            parameter.data = data + sign * step * direction
            values.append(float(loss(False).detach()))
        parameter.data = data
        assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_engine_as_python(tmp_path, kind):
    atoms = random_atoms()
    model = state_model(**KINDS[kind])
    write_model_file(model, tmp_path / "m.les.pt", {}, None, None)
    assert read_record(tmp_path / "m.les.pt")["format_version"] == 2
    for charge, spin in ((1.0, 2.0), (-1.0, 1.0)):
        engine = Engine(tmp_path / "m.les.pt", solver="direct", total_charge=charge, spin=spin)
        results = engine.compute(
            atoms.positions, engine.types_of(atoms.get_chemical_symbols()), np.asarray(atoms.cell), True
        )  # fmt: skip
        expected = numbers(model, frame_of(atoms, charge, spin))
        assert results["energy"] == pytest.approx(float(expected["energy"][0]), rel=1e-12)
        np.testing.assert_allclose(results["forces"], expected["forces"], atol=1e-9)
        np.testing.assert_allclose(results["virial"], expected["virial"][0], atol=1e-8)
        np.testing.assert_allclose(results["latent_charges"], expected["latent_charges"], atol=1e-12)


def test_layers_of_a_file_know_the_state(tmp_path):
    """The entry `layer`, which hosts with domains call."""
    atoms = random_atoms()
    model = state_model(n_layers=2)
    write_model_file(model, tmp_path / "m.les.pt", {}, None, None)
    with torchscript():
        module = torch.jit.load(str(tmp_path / "m.les.pt"))
    module.set_state(-1.0, 3.0)
    frame = frame_of(atoms)
    arguments = (frame[fields.TYPES], frame[fields.EDGE_INDEX], edge_vectors_of(frame))
    whole = module.local(*arguments, len(atoms))
    tensors = dict(zip(("types", "edge_index", "edge_vectors"), arguments, strict=True))
    for index in range(2):
        tensors = module.layer(index, tensors, len(atoms))
    for name in (fields.NODE_ENERGIES, fields.LATENT_CHARGES):
        torch.testing.assert_close(tensors[name], whole[name], rtol=1e-12, atol=1e-12)
    module.set_state(0.0, 1.0)
    assert float((module.local(*arguments, len(atoms))["node_energies"] - whole["node_energies"]).abs().max()) > 1e-3


def test_what_was_not_given_is_said_once_unless_the_file_has_it(tmp_path):
    atoms = random_atoms()
    write_model_file(state_model(), tmp_path / "a.les.pt", {}, None, None)

    def energy(name, **options):
        engine = Engine(tmp_path / name, solver="direct", **options)
        types = engine.types_of(atoms.get_chemical_symbols())
        first = engine.compute(atoms.positions, types, np.asarray(atoms.cell), True)["energy"]
        assert engine.compute(atoms.positions, types, np.asarray(atoms.cell), True)["energy"] == first
        return first

    with pytest.warns(UserWarning, match="takes total_charge and spin as input, which was not given: a total charge of "
                                         "0 and a multiplicity of 1 are used") as told:  # fmt: skip
        neutral = energy("a.les.pt")
    assert len(told) == 1
    with pytest.warns(UserWarning, match="takes spin as input, which was not given: a multiplicity of 1 is used"):
        charged = energy("a.les.pt", total_charge=1.0)
    with pytest.warns(UserWarning, match="takes total_charge as input, which was not given: a total charge of 0 is"):
        energy("a.les.pt", spin=2.0)
    write_model_file(state_model(), tmp_path / "b.les.pt", {}, None, None, (1.0, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert energy("b.les.pt") == charged
        assert energy("b.les.pt", total_charge=0.0) == neutral


def test_options_of_models_that_have_no_use_for_them(tmp_path):
    write_model_file(random_model(), tmp_path / "m.les.pt", {}, None, None)
    assert read_record(tmp_path / "m.les.pt")["format_version"] == 1
    with pytest.raises(LESError, match="total_charge needs a model trained with `neutrality: true` or `charge_embedd"):
        Engine(tmp_path / "m.les.pt", total_charge=1.0)
    with pytest.raises(LESError, match="spin needs a model trained with `spin_embedding: true`"):
        Engine(tmp_path / "m.les.pt", spin=2.0)
    with torchscript():
        module = torch.jit.load(str(tmp_path / "m.les.pt"))
    with pytest.raises(torch.jit.Error, match="takes neither total charge nor spin"):
        module.set_state(0.0, 1.0)
    write_model_file(state_model(), tmp_path / "s.les.pt", {}, None, None)
    for spin in (0.0, float("nan"), float("inf")):
        with pytest.raises(LESError, match="spin must be a multiplicity 2S \\+ 1, at least 1, got"):
            Engine(tmp_path / "s.les.pt", spin=spin)
    with pytest.raises(LESError, match="total_charge must be a finite number"):
        Engine(tmp_path / "s.les.pt", total_charge=float("nan"))
    with pytest.raises(ValueError, match=r"leave `long_range.total_charge` out"):
        ModelSettings(symbols=["O"], charge_embedding=True, long_range=LongRangeSettings(total_charge=[1.0]))


def test_calculator(tmp_path):
    atoms = random_atoms()
    model = state_model()
    write_model_file(model, tmp_path / "m.les.pt", {}, None, None)
    atoms.calc = LESCalculator(tmp_path / "m.les.pt", total_charge=1.0, spin=2.0, solver="direct")
    expected = numbers(model, frame_of(atoms, 1.0, 2.0))
    assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"][0]), rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-9)


@pytest.mark.parametrize("kind", ["one layer", "neutral"])
def test_bound_file(tmp_path, kind, capsys):
    """`les-export --atoms --total-charge --spin`: the TorchForce entry has the state, frozen as OpenMM-Torch does."""
    atoms = random_atoms(periodic=False)
    model = state_model(**KINDS[kind])
    atoms.write(tmp_path / "atoms.xyz")
    save_checkpoint(tmp_path / "model.pt", model, {})
    options = ["--atoms", str(tmp_path / "atoms.xyz"), "--check", str(tmp_path / "atoms.xyz")]
    assert main([str(tmp_path / "model.pt"), *options, "--total-charge", "-1", "--spin", "2"]) == 0
    assert "inputs       total_charge -1, spin 2 unless a host gives others" in capsys.readouterr().out
    record = read_record(tmp_path / "model.les.pt")
    assert record["state"] == {"total_charge": -1.0, "spin": 2.0}
    with torchscript():
        module = torch.jit.freeze(torch.jit.load(str(tmp_path / "model.les.pt")).eval())
    energy = float(module(torch.from_numpy(atoms.positions / ANGSTROM_PER_NANOMETRE)))
    expected = numbers(model, frame_of(atoms, -1.0, 2.0))["energy"][0]
    assert energy / KILOJOULE_PER_MOLE_PER_EV == pytest.approx(float(expected), rel=1e-10)
    # exported again, the state stays
    again, _ = load_exported(tmp_path / "model.les.pt")
    assert again.settings.state_inputs == ["total_charge", "spin"]
    assert main([str(tmp_path / "model.les.pt"), "-o", str(tmp_path / "again.les.pt"), *options[2:]]) == 0
    assert read_record(tmp_path / "again.les.pt")["state"] == record["state"]


def test_export_refuses_what_a_model_does_not_take(tmp_path, capsys):
    atoms = random_atoms(periodic=False)
    atoms.write(tmp_path / "atoms.xyz")
    save_checkpoint(tmp_path / "model.pt", random_model(charge_embedding=True), {})
    arguments = [str(tmp_path / "model.pt"), "--check", str(tmp_path / "atoms.xyz")]
    assert main([*arguments, "--spin", "2"]) == 1
    assert "--spin needs a model trained with `spin_embedding: true`" in capsys.readouterr().err
    assert main([*arguments, "--total-charge", "nan"]) == 1
    assert "--total-charge must be a number of elementary charges, got nan" in capsys.readouterr().err


def test_check_of_the_export_goes_through_the_state(tmp_path, monkeypatch):
    """A file that forgets its state is not kept."""
    model = state_model()
    monkeypatch.setattr("les_md.export.ExportedRows", Forgetful)
    with pytest.raises(LESError, match="of the file differ from the checkpoint"):
        export_model(model, tmp_path / "m.les.pt", [random_atoms()])
    assert not (tmp_path / "m.les.pt").exists()


class Forgetful(ExportedRows):
    @torch.jit.export
    def set_state(self, total_charge: float, spin: float) -> None:
        """Does nothing."""


def test_options_come_before_the_state_of_a_file(tmp_path):
    case = load_case("charged_doublet")
    path = write_case_model(case, tmp_path / "m.les.pt")
    arguments = (np.array(case["positions"]), Engine(path).types_of(case["symbols"]), np.array(case["cell"]), True)
    assert Engine(path).compute(*arguments)["latent_charges"].sum() == pytest.approx(-1.0, abs=1e-12)
    for charge in (0.0, 2.0):
        results = Engine(path, total_charge=charge).compute(*arguments)
        assert results["latent_charges"].sum() == pytest.approx(charge, abs=1e-12)
