"""Reading of labels, offsets, batches: right numbers from all ways in which data sets store them."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces
from training_helpers import label, make_frames

from les_md import fields
from les_md.errors import LESError
from les_md.training import data
from les_md.training.data_settings import DataSettings
from les_md.training.labels import read_frames


def read(path, **settings):
    return read_frames([path], DataSettings(train=[path], **settings), True, True, True)


def test_labels_of_the_closed_form_are_consistent():
    """The generator itself: forces and stress are derivatives of its energy."""
    atoms = make_frames(1, 0)[0]

    class ClosedForm(ase.calculators.calculator.Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms, properties, system_changes):
            self.results = dict(label(atoms.copy()).calc.results)

    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    copy = atoms.copy()
    copy.calc = ClosedForm()
    np.testing.assert_allclose(calculate_numerical_forces(copy, eps=1e-5), forces, atol=1e-6)
    strain = np.zeros((3, 3))
    strain[0, 1] = strain[1, 0] = 0.5e-5
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
        energies.append(label(strained).get_potential_energy())
    assert (energies[0] - energies[1]) / 2e-5 / atoms.get_volume() == pytest.approx(stress[0, 1], abs=1e-7)


def test_default_keys_read_what_ase_wrote(write_frames):
    frames = make_frames(2, 1)
    read_back = read(write_frames(frames))
    for before, after in zip(frames, read_back, strict=True):
        assert after.energy == pytest.approx(before.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(after.forces, before.get_forces(), atol=1e-7)
    np.testing.assert_allclose(read_back[0].stress, frames[0].get_stress(voigt=False), atol=1e-7)
    assert read_back[2].stress is None


def test_custom_keys_and_virial(write_frames):
    frames = make_frames(2, 0)
    for frame in frames:
        frame.info["dft_energy"] = frame.get_potential_energy()
        frame.arrays["dft_forces"] = frame.get_forces()
        frame.info["dft_virial"] = -frame.get_stress(voigt=False) * frame.get_volume()
        frame.info["net_charge"] = -2
    expected = [frame.get_stress(voigt=False) for frame in frames]
    for frame in frames:
        frame.calc = None
    keys = {name: f"dft_{name}" for name in ("energy", "forces", "virial")}
    keys = {f"{name}_key": key for name, key in keys.items()} | {"total_charge_key": "net_charge"}
    read_back = read(write_frames(frames), **keys)
    np.testing.assert_allclose(read_back[1].stress, expected[1], atol=1e-7)
    assert read_back[1].total_charge == -2.0
    tensors = data.build_frame(read_back[1], ["H", "O"], 3.0, False)
    assert float(tensors[fields.TOTAL_CHARGE]) == -2.0


def test_stress_as_six_numbers_is_in_ase_order(write_frames):
    frame = make_frames(1, 0)[0]
    voigt = frame.get_stress(voigt=True)
    frame.info["voigt"] = voigt
    read_back = read(write_frames([frame]), stress_key="voigt")[0]
    np.testing.assert_allclose(read_back.stress, frame.get_stress(voigt=False), atol=1e-7)


def test_element_energies_are_the_least_squares_fit(write_frames):
    frames = read(write_frames(make_frames(6, 2)))
    for frame in frames:
        n_oxygen = int((frame.atoms.numbers == 8).sum())
        frame.energy = -20.0 * n_oxygen - 3.0 * (len(frame.atoms) - n_oxygen)
    np.testing.assert_allclose(data.element_energies(frames, ["H", "O"], None), [-3.0, -20.0], atol=1e-9)
    np.testing.assert_array_equal(data.element_energies(frames, ["H", "O"], {"O": 1.0, "H": 2.0}), [2.0, 1.0])


def test_element_energies_of_one_composition_have_smallest_norm(write_frames):
    frames = read(write_frames(make_frames(0, 3)))
    for frame in frames:
        frame.energy = -10.0
    # 2 h + o = -10 with h^2 + o^2 smallest: h = -4, o = -2
    np.testing.assert_allclose(data.element_energies(frames, ["H", "O"], None), [-4.0, -2.0], atol=1e-12)


def test_batches_cover_every_frame_once_on_any_number_of_processes(write_frames):
    frames = data.build_frames(read(write_frames(make_frames(4, 5))), ["H", "O"], 3.5, False)
    for index, frame in enumerate(frames):
        frame[data.LABEL_ENERGY] = torch.tensor([float(index)], dtype=torch.float64)
    for n_ranks in (1, 2, 3):
        ranks = [data.FrameBatches(frames, 4, rank, n_ranks, seed=7) for rank in range(n_ranks)]
        steps = list(zip(*ranks, strict=True))
        assert len(steps) == len(ranks[0]) == 3
        seen = [
            value
            for step in steps
            for batch, _ in step
            if batch is not None
            for value in batch[data.LABEL_ENERGY].tolist()
        ]
        assert sorted(seen) == list(range(9))
        # the last step has one frame: other processes get none, but the same counts
        assert [batch is None for batch, _ in steps[-1]] == [False, *[True] * (n_ranks - 1)]
        assert all(counts["energy"] == 1 for _, counts in steps[-1])


def test_order_depends_on_seed_and_epoch_only(write_frames):
    frames = data.build_frames(read(write_frames(make_frames(8, 0))), ["H", "O"], 3.5, False)

    def order(seed, epoch):
        batches = data.FrameBatches(frames, 1, seed=seed)
        batches.epoch = epoch
        return [float(batch[data.LABEL_ENERGY]) for batch, _ in batches]

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


def test_split_is_reproducible_and_complete(write_frames):
    frames = read(write_frames(make_frames(8, 0)))
    train, valid = data.split_frames(frames, 0.25, seed=5)
    again = data.split_frames(frames, 0.25, seed=5)
    assert ([f.source for f in train], [f.source for f in valid]) == tuple([f.source for f in part] for part in again)
    assert len(valid) == 2
    assert {f.source for f in train} | {f.source for f in valid} == {f.source for f in frames}


def test_symbols_are_in_order_of_atomic_number_unless_given(write_frames):
    frames = read(write_frames(make_frames(2, 0)))
    assert data.choose_symbols(frames, [], []) == ["H", "O"]
    assert data.choose_symbols(frames, [], ["O", "H"]) == ["O", "H"]


def test_lone_atoms_are_accepted_when_allowed(write_frames):
    frame = read(write_frames([label(ase.Atoms("OH", [[0, 0, 0], [6.0, 0, 0]]))]))[0]
    with pytest.raises(LESError, match=r"atom 0 \(O\) has no neighbour within the cutoff of 3.5 angstrom"):
        data.build_frame(frame, ["H", "O"], 3.5, False)
    assert data.build_frame(frame, ["H", "O"], 3.5, True)[fields.EDGE_INDEX].shape == (2, 0)
    single = read(write_frames([label(ase.Atoms("O", [[0, 0, 0]]))]))[0]
    assert data.build_frame(single, ["O"], 3.5, False)[fields.EDGE_INDEX].shape == (2, 0)
