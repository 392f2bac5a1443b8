"""les-eval: the numbers of its tables, its files and its errors, for checkpoints and exported files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from training_helpers import make_frames

from les_md import fields
from les_md.batch import collate, frame_from_atoms
from les_md.born_charges import born_effective_charges
from les_md.checkpoint import save_checkpoint
from les_md.evaluation import main
from les_md.export import export_model
from les_md.forces import evaluate
from les_md.model import LESModel
from les_md.settings import LongRangeSettings, ModelSettings


def random_model(neutrality: bool = False, n_channels: int = 1) -> LESModel:
    """An untrained model; its charges are large enough to see."""
    torch.manual_seed(3)
    settings = ModelSettings(
        symbols=["H", "O"],
        cutoff=3.5,
        n_radial=4,
        l_max=2,
        body_order=3,
        channels=4,
        hidden=[8],
        dtype="float64",
        eps_inf=1.44,
        long_range=LongRangeSettings(neutrality=neutrality, n_channels=n_channels),
    )
    model = LESModel(settings)
    model.set_offsets(torch.tensor([-3.0, -20.0]))
    frames = [frame_from_atoms(atoms, ["H", "O"], 3.5) for atoms in make_frames(3, 3)]
    model.initialize_scales(collate(frames), 0.5)
    return model


def prediction(model: LESModel, atoms: ase.Atoms, total_charge: float = 0.0) -> dict[str, np.ndarray]:
    output = evaluate(model, frame_from_atoms(atoms, ["H", "O"], 3.5, total_charge))
    return {name: tensor.detach().numpy() for name, tensor in output.items()}


def physical_charges(model: LESModel, atoms: ase.Atoms) -> np.ndarray:
    return 1.2 * prediction(model, atoms)[fields.LATENT_CHARGES].sum(1)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.pt", random_model(), {})
    return tmp_path / "model.pt"


def test_errors_are_those_of_the_model(model_file, write_frames, tmp_path, capsys):
    frames = make_frames(3, 2)
    data = write_frames(frames)
    assert main([str(model_file), str(data), "--output", str(tmp_path / "out"), "--batch-size", "2"]) == 0
    model = random_model()
    predicted = [prediction(model, atoms) for atoms in frames]
    per_atom = [
        (float(p["energy"][0]) - a.get_potential_energy()) / len(a) for p, a in zip(predicted, frames, strict=True)
    ]
    forces = np.vstack([p["forces"] - a.get_forces() for p, a in zip(predicted, frames, strict=True)])
    stress = np.stack(
        [
            -p["virial"][0] / a.get_volume() - a.get_stress(voigt=False)
            for p, a in zip(predicted[:3], frames[:3], strict=True)
        ]
    )
    record = json.loads((tmp_path / "out" / "errors.json").read_text())["errors"]
    for name, error in (("energy", np.array(per_atom)), ("forces", forces), ("stress", stress)):
        assert record[name]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
        assert record[name]["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
        assert record[name]["largest"] == pytest.approx(np.abs(error).max(), rel=1e-5)
        assert record[name]["n"] == error.size
        assert (tmp_path / "out" / f"parity_{name}.png").stat().st_size > 1000
    with open(tmp_path / "out" / "errors.csv") as file:
        assert [row["quantity"] for row in csv.DictReader(file)] == ["energy", "forces", "stress"]
    assert f"energy       {1000 * record['energy']['rmse']:10.4g}" in capsys.readouterr().out


def test_predictions_can_be_read_back(model_file, write_frames, tmp_path):
    frames = make_frames(1, 1)
    main([str(model_file), str(write_frames(frames)), "--output", str(tmp_path / "out")])
    written = ase.io.read(tmp_path / "out" / "predictions.xyz", ":")
    model = random_model()
    for before, after in zip(frames, written, strict=True):
        expected = prediction(model, before)
        assert after.get_potential_energy() == pytest.approx(float(expected["energy"][0]), abs=1e-6)
        np.testing.assert_allclose(after.get_forces(), expected["forces"], atol=1e-6)
        np.testing.assert_allclose(after.get_charges(), physical_charges(model, before), atol=1e-6)
        assert after.info["REF_energy"] == pytest.approx(before.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(after.arrays["REF_forces"], before.get_forces(), atol=1e-7)


def test_exported_file_gives_the_same_as_the_checkpoint(model_file, write_frames, tmp_path):
    frames = make_frames(2, 2)
    data = write_frames(frames)
    export_model(random_model(), tmp_path / "model.les.pt", frames)
    records = []
    for model, folder in ((model_file, "a"), (tmp_path / "model.les.pt", "b")):
        assert main([str(model), str(data), "--output", str(tmp_path / folder)]) == 0
        records.append(json.loads((tmp_path / folder / "errors.json").read_text()))
    for name, error in records[0]["errors"].items():
        assert error.pop("unit") == records[1]["errors"][name].pop("unit")
        other = records[1]["errors"][name]
        assert error.keys() == other.keys()
        for key, value in error.items():
            assert other[key] == (value if value is None else pytest.approx(value, rel=1e-6))
    for row, other in zip(records[0]["charges"], records[1]["charges"], strict=True):
        assert abs(row["mean"]) == pytest.approx(abs(other["mean"]), rel=1e-6)
        assert row["std"] == pytest.approx(other["std"], rel=1e-6)


@pytest.mark.parametrize("solver", ["mesh", "direct"])
def test_solver_of_exported_files(write_frames, tmp_path, capsys, solver):
    model = random_model()
    frames = make_frames(3, 1)
    export_model(model, tmp_path / "model.les.pt", frames)
    arguments = [str(tmp_path / "model.les.pt"), str(write_frames(frames)), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--solver", solver, "--accuracy", "1e-6"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("long-range energy: ")]
    assert ("mesh" in line) == (solver == "mesh")
    for frame, written in zip(frames, ase.io.read(tmp_path / "out" / "predictions.xyz", ":"), strict=True):
        expected = prediction(model, frame)[fields.FORCES]
        np.testing.assert_allclose(written.get_forces(), expected, atol=1e-5 * np.abs(expected).max())


def test_frames_of_different_cells_are_no_changing_cell(write_frames, tmp_path):
    """Warnings are errors here: a k-space cutoff of the model's own is worth none between unrelated frames."""
    model = random_model()
    model.settings.long_range.k_cutoff = np.pi
    frames = make_frames(2, 0)
    frames[1].set_cell(frames[1].cell * 1.1, scale_atoms=True)
    export_model(model, tmp_path / "model.les.pt", frames)
    assert main([str(tmp_path / "model.les.pt"), str(write_frames(frames))]) == 0


def test_total_charge_reaches_checkpoint_and_engine(write_frames, tmp_path):
    model = random_model(neutrality=True)
    frames = make_frames(2, 0)
    for charge, frame in enumerate(frames):
        frame.info["net"] = charge
    save_checkpoint(tmp_path / "model.pt", model, {})
    export_model(model, tmp_path / "model.les.pt", frames)
    for name in ("model.pt", "model.les.pt"):
        options = ["--total-charge-key", "net", "--output", str(tmp_path / name[:-3])]
        assert main([str(tmp_path / name), str(write_frames(frames)), *options]) == 0
        written = ase.io.read(tmp_path / name[:-3] / "predictions.xyz", ":")
        assert [abs(frame.get_charges().sum()) for frame in written] == pytest.approx([0.0, 1.2], abs=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_reference_charges_decide_the_common_sign(model_file, write_frames, tmp_path, capsys, sign):
    model = random_model()
    frames = make_frames(2, 1)
    for frame in frames:
        frame.arrays["true"] = sign * physical_charges(model, frame) + 0.01
    folder = tmp_path / "out"
    assert main([str(model_file), str(write_frames(frames)), "--charges-key", "true", "--output", str(folder)]) == 0
    record = json.loads((folder / "errors.json").read_text())
    assert record["charge_sign"] == sign
    assert record["errors"]["charges"]["rmse"] == pytest.approx(0.01, abs=1e-6)
    rows = {row["element"]: row for row in record["charges"]}
    for element in ("H", "O"):
        values = np.hstack([f.arrays["true"][[s == element for s in f.get_chemical_symbols()]] for f in frames])
        assert rows[element]["n"] == len(values)
        assert rows[element]["mean"] == pytest.approx(values.mean() - 0.01, abs=1e-6)
        assert rows[element]["std"] == pytest.approx(values.std(), abs=1e-6)
        assert rows[element]["reference_mean"] == pytest.approx(values.mean(), abs=1e-6)
    assert ("opposite sign" in capsys.readouterr().out) == (sign < 0)


def test_dipoles_of_isolated_frames(model_file, write_frames, tmp_path):
    model = random_model()
    frames = make_frames(1, 3)
    for frame in frames[1:]:
        frame.info["mu"] = -physical_charges(model, frame) @ frame.positions + [0.001, 0.0, 0.0]
    folder = tmp_path / "out"
    assert main([str(model_file), str(write_frames(frames)), "--dipole-key", "mu", "--output", str(folder)]) == 0
    dipole = json.loads((folder / "errors.json").read_text())["errors"]["dipole"]
    assert (dipole["n"], dipole["largest"]) == (9, pytest.approx(0.001, abs=1e-6))


def test_quadrupoles_are_compared_without_their_trace(model_file, write_frames, tmp_path, capsys):
    model = random_model()
    frames = make_frames(0, 2)
    expected, references = [], []
    for frame in frames:
        moment = np.einsum("i,ia,ib->ab", -physical_charges(model, frame), frame.positions, frame.positions)
        frame.info["dipole"] = -physical_charges(model, frame) @ frame.positions
        frame.info["quadrupole"] = moment + 7.0 * np.eye(3)
        frame.info["quadrupole"][0, 1] += 0.01
        expected.append(moment - np.trace(moment) / 3 * np.eye(3))
        references.append(expected[-1] + 0.01 * np.outer([1, 0, 0], [0, 1, 0]))
    folder = tmp_path / "out"
    assert main([str(model_file), str(write_frames(frames)), "--output", str(folder)]) == 0
    error = json.loads((folder / "errors.json").read_text())["errors"]["quadrupole"]
    assert (error["n"], error["largest"]) == (18, pytest.approx(0.01, abs=1e-6))
    assert error["rmse"] == pytest.approx(0.01 / 3, abs=1e-6)
    assert error["r2"] == pytest.approx(1 - (0.01 / 3) ** 2 / np.var(references), abs=1e-6)
    assert f"{error['r2']:.5f}  me*angstrom^2" in capsys.readouterr().out


def test_born_charges_of_an_isolated_system_are_derivatives_of_the_dipole():
    model = random_model(neutrality=True)
    atoms = make_frames(0, 1)[0]

    def dipole(positions):
        moved = atoms.copy()
        moved.positions = positions
        return physical_charges(model, moved) @ positions

    expected = np.zeros((3, 3, 3))
    for atom in range(3):
        for axis in range(3):
            step = np.zeros((3, 3))
            step[atom, axis] = 1e-5
            expected[atom, :, axis] = (dipole(atoms.positions + step) - dipole(atoms.positions - step)) / 2e-5
    computed = born_effective_charges(model, frame_from_atoms(atoms, ["H", "O"], 3.5)).numpy()
    np.testing.assert_allclose(computed, expected, atol=1e-8)


def test_born_charges_of_a_molecule_in_a_large_triclinic_cell_are_those_of_the_isolated_one():
    model = random_model(neutrality=True)  # with a charge that changes, the polarization depends on the origin
    atoms = make_frames(0, 1)[0]
    isolated = born_effective_charges(model, frame_from_atoms(atoms, ["H", "O"], 3.5)).numpy()
    atoms.set_cell(600.0 * (np.eye(3) + 0.2 * np.tri(3, k=-1)))
    atoms.pbc = True
    periodic = born_effective_charges(model, frame_from_atoms(atoms, ["H", "O"], 3.5)).numpy()
    np.testing.assert_allclose(periodic, isolated, atol=1e-3)


def test_born_charges_of_a_periodic_system_follow_the_formula():
    """Orthorhombic: q_i delta_ab + sum_j dq_j/dr_ib (L_a / 2 pi) sin(2 pi (r_ja - r_ia) / L_a), dq by differences."""
    model = random_model()
    atoms = make_frames(1, 0)[0]
    atoms.set_cell(np.diag([4.5, 4.7, 4.9]), scale_atoms=True)
    lengths = atoms.cell.lengths()
    computed = born_effective_charges(model, frame_from_atoms(atoms, ["H", "O"], 3.5)).numpy()
    atom = 2
    expected = np.diag([physical_charges(model, atoms)[atom]] * 3)
    for b in range(3):
        charges = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, b] += sign * 1e-5
            charges.append(physical_charges(model, moved))
        slope = (charges[0] - charges[1]) / 2e-5
        offset = atoms.positions - atoms.positions[atom]
        expected[:, b] += slope @ (lengths / (2 * np.pi) * np.sin(2 * np.pi * offset / lengths))
    np.testing.assert_allclose(computed[atom], expected, atol=1e-7)


def test_born_charges_are_compared_and_written(model_file, write_frames, tmp_path):
    model = random_model()
    frames = make_frames(1, 1)
    for frame in frames:
        born = born_effective_charges(model, frame_from_atoms(frame, ["H", "O"], 3.5)).numpy()
        frame.arrays["bec"] = born.reshape(-1, 9) - 0.02
        frame.arrays["true"] = physical_charges(model, frame)
    options = [
        "--born-charges",
        "--born-charges-key",
        "bec",
        "--charges-key",
        "true",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main([str(model_file), str(write_frames(frames)), *options]) == 0
    errors = json.loads((tmp_path / "out" / "errors.json").read_text())["errors"]
    assert errors["born_charges"]["mae"] == pytest.approx(0.02, abs=1e-6)
    written = ase.io.read(tmp_path / "out" / "predictions.xyz", ":")
    np.testing.assert_allclose(written[1].arrays["born_charges"], frames[1].arrays["bec"] + 0.02, atol=1e-7)


def test_selected_frames_only(model_file, write_frames, tmp_path):
    frames = make_frames(2, 1)
    frames[1].info["phase"] = 7
    out = tmp_path / "out"
    assert main([str(model_file), str(write_frames(frames)), "--select", "phase=7", "--output", str(out)]) == 0
    (predicted,) = ase.io.read(out / "predictions.xyz", ":")
    np.testing.assert_allclose(predicted.positions, frames[1].positions, atol=1e-7)


def test_short_range_model_and_frames_without_labels(write_frames, tmp_path, capsys):
    torch.manual_seed(0)
    model = LESModel(ModelSettings(symbols=["H", "O"], cutoff=3.5, channels=4, l_max=1, long_range=None))
    save_checkpoint(tmp_path / "model.pt", model, {})
    frames = make_frames(1, 1)
    for frame in frames:
        frame.calc = None
    assert main([str(tmp_path / "model.pt"), str(write_frames(frames)), "--output", str(tmp_path / "out")]) == 0
    assert "charges" not in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "errors.json").read_text())["errors"] == {}
    assert len(ase.io.read(tmp_path / "out" / "predictions.xyz", ":")) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--energy-key", "none"], "no frame has energy under `none`; check --energy-key"),
        (["--charges-key", "none"], "not every frame has charges under `none`; check --charges-key"),
        (["--dipole-key", "none"], "no isolated frame has a dipole under `none`; check --dipole-key"),
        (["--quadrupole-key", "none"], "no isolated frame has a quadrupole under `none`; check --quadrupole-key"),
        (["--stress-key", "a", "--virial-key", "b"], "--stress-key and --virial-key exclude each other"),
        (["--spin-key", "net"], "--spin-key has no effect: the model was trained without `spin_embedding`"),
        (["--born-charges-key", "bec"], "--born-charges-key and --born-charges-order need --born-charges"),
        (["--select", "label"], "--select must be given as NAME=VALUE, got 'label'"),
        (["--select", "label=CC"], "has label=CC; change data.select or --select"),
        (["--solver", "mesh"], "--solver is for exported files; write one with `les-export "),
        (["--accuracy", "1e-5"], "--accuracy is for exported files; write one with `les-export "),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
    ],
)
def test_wrong_options(model_file, write_frames, tmp_path, capsys, options, text):
    data = write_frames(make_frames(1, 1))
    assert main([str(model_file), str(data), "--output", str(tmp_path / "out"), *options]) == 1
    message = capsys.readouterr().err
    assert message.startswith("les-eval: error: ")
    assert text in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_files(model_file, write_frames, tmp_path, capsys):
    data = write_frames(make_frames(1, 0))
    chlorine = make_frames(1, 0)
    chlorine[0].symbols[0] = "Cl"
    other = write_frames(chlorine, "other.xyz")
    (tmp_path / "text.pt").write_text("no model")
    for model, path, text in (
        (tmp_path / "none.pt", data, "none.pt' does not exist; les-train writes model.pt"),
        (tmp_path / "text.pt", data, "text.pt is not a checkpoint of les-train"),
        (model_file, tmp_path / "none.xyz", "none.xyz' does not exist"),
        (model_file, other, "element Cl is not in the model, which knows H O"),
    ):
        assert main([str(model), str(path)]) == 1
        assert text in capsys.readouterr().err
