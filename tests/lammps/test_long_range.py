"""The long-range keywords: what the mesh gives against the direct sum, what is printed, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from lammps_runs import DIRECT, Lammps, Outcome, assert_close, box_script, evaluate_script, model_script, virial_of

ModelFile = Callable[[str], Path]
Structures = dict[str, ase.Atoms]

MESH = "solver mesh accuracy 1e-6"
#: Allowed differences between MESH and the direct sum, relative to the largest value.
TOLERANCES = {"energies": 1e-6, "forces": 3e-6, "virial": 5e-6, "charges": 1e-12}


def numbers(outcome: Outcome, name: str) -> dict[str, np.ndarray]:
    """Every number of one evaluation by quantity."""
    thermo = outcome.thermo()
    columns = outcome.dump(f"{name}.txt")
    return {
        "energies": np.array([thermo["E_vdwl"][0], thermo["E_coul"][0], thermo["c_atom_sum"][0]]),
        "forces": outcome.forces(f"{name}.txt"),
        "virial": virial_of(thermo),
        "charges": columns["q"],
    }


def long_range_lines(outcome: Outcome) -> list[str]:
    """What the style printed about its long-range sum."""
    prefix = "pair_style les: long-range energy: "
    return [line.removeprefix(prefix) for line in outcome.output.splitlines() if line.startswith(prefix)]


def warnings_in(outcome: Outcome) -> list[str]:
    return [line for line in outcome.output.splitlines() if line.startswith("WARNING: pair_style les:")]


def test_mesh_as_direct_on_any_ranks(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """Every model: the mesh agrees with the direct sum to its accuracy, and with itself on other ranks to rounding."""
    cases = [
        ("plain", "triclinic"),
        ("plain", "orthogonal"),
        ("two_layers", "triclinic"),
        ("two_channels", "triclinic"),
        ("neutral", "orthogonal"),
        ("own_cutoff", "triclinic"),
    ]
    results: dict[tuple[str, int], dict[str, Outcome]] = {}
    for solver, ranks in (("direct", 1), ("mesh", 1), ("mesh", 2), ("mesh", 4)):
        script = ""
        for model, structure in cases:
            name = f"{model}-{structure}-{solver}-{ranks}"
            script += f"clear\nprint 'case {name}'\n" + box_script(structures[structure], lammps.folder, name=name)
            script += model_script(model_file(model), MESH if solver == "mesh" else DIRECT)
            script += evaluate_script(name)
        results[solver, ranks] = lammps.succeed(script, ranks).cases()
    for model, structure in cases:
        case = f"{model}-{structure}"
        direct = numbers(results["direct", 1][f"{case}-direct-1"], f"{case}-direct-1")
        mesh = numbers(results["mesh", 1][f"{case}-mesh-1"], f"{case}-mesh-1")
        for quantity, values in mesh.items():
            assert_close(values, direct[quantity], TOLERANCES[quantity], f"{case} {quantity}")
        assert np.abs(mesh["forces"] - direct["forces"]).max() > 0, "the mesh was not used"
        for ranks in (2, 4):
            name = f"{case}-mesh-{ranks}"
            for quantity, values in numbers(results["mesh", ranks][name], name).items():
                assert_close(values, mesh[quantity], 1e-9, f"{name} {quantity}")


@pytest.mark.parametrize(
    "keywords",
    [
        "solver mesh mesh 24 24 24 accuracy 1e-6",
        "solver mesh mesh_spacing 0.4 interpolation_nodes 10 accuracy 1e-6",
        "solver mesh window b_spline accuracy 1e-4",
        "solver mesh mesh_dtype float32 accuracy 1e-4",
    ],
)
def test_every_keyword_takes_effect(
    lammps: Lammps, model_file: ModelFile, structures: Structures, keywords: str
) -> None:
    """The forces stay within the accuracy, and the printed line has what was asked for."""
    script = box_script(structures["orthogonal"], lammps.folder)
    outcome = lammps.succeed(script + model_script(model_file("plain"), keywords) + evaluate_script("a"))
    direct = lammps.succeed(script + model_script(model_file("plain"), DIRECT) + evaluate_script("b"))
    accuracy = float(keywords.split("accuracy ")[1])
    assert_close(outcome.forces("a.txt"), direct.forces("b.txt"), 3 * accuracy, keywords)
    (line,) = long_range_lines(outcome)
    for part in {"mesh 24": "24 x 24 x 24", "nodes 10": "10", "b_spline": "spline", "float32": "float32"}.items():
        if part[0] in keywords:
            assert part[1] in line
    assert line.startswith("mesh ")
    assert long_range_lines(direct)[0].startswith("direct sum")


def test_model_in_real_units(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    """`mesh_spacing` is in angstrom in both unit styles: the same mesh."""
    lines = []
    for units in ("metal", "real"):
        script = box_script(structures["triclinic"], lammps.folder, units)
        script += model_script(model_file("plain"), "solver mesh mesh_spacing 0.5") + "run 0\n"
        lines += long_range_lines(lammps.succeed(script, 2))
    assert len(lines) == 2
    assert lines[0] == lines[1]


def test_printed_again_only_when_it_changed(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain"), MESH)
    script += "run 0\nrun 0\nchange_box all x scale 2.0 remap\nrun 0\nrun 0\n"
    lines = long_range_lines(lammps.succeed(script, 2))
    assert len(lines) == 2, lines
    assert lines[0] != lines[1]


def test_changed_options_make_a_new_solver(lammps: Lammps, model_file: ModelFile, structures: Structures) -> None:
    script = box_script(structures["orthogonal"], lammps.folder) + model_script(model_file("plain"), MESH)
    script += "run 0\npair_style les solver direct\nrun 0\n"
    lines = long_range_lines(lammps.succeed(script, 2))
    assert len(lines) == 2
    assert lines[1].startswith("direct sum")


@pytest.mark.parametrize("solver", ["mesh", "direct"])
def test_own_cutoff_in_a_changing_box(
    lammps: Lammps, model_file: ModelFile, structures: Structures, solver: str
) -> None:
    """Energies of such a model jump when the box changes: one warning, none with a frozen k-set or a fixed box."""
    box = box_script(structures["orthogonal"], lammps.folder)
    change = "fix box all deform 1 x erate 0.5 remap x\ntimestep 1e-4\nrun 20\nrun 20\n"
    counts = {}
    for keywords in ("", "freeze_k_set yes", "freeze_k_set no"):
        model = model_script(model_file("own_cutoff"), f"solver {solver} {keywords}")
        counts[keywords] = warnings_in(lammps.succeed(box + model + change, 2))
    assert [len(lines) for lines in counts.values()] == [1, 0, 1], counts
    assert "freeze_k_set" in counts[""][0]
    assert not warnings_in(lammps.succeed(box + model_script(model_file("own_cutoff")) + "run 5\n", 2))
    assert not warnings_in(lammps.succeed(box + model_script(model_file("plain"), f"solver {solver}") + change, 2))


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ("accuracy 1", "`accuracy` must be between 1e-8 and 1e-2, got 1 "),
        ("accuracy 1e-9", "`accuracy` must be between 1e-8 and 1e-2, got 1e-09"),
        ("accuracy 1e-7 mesh_dtype float32", "float32 mesh reaches an `accuracy` of 1e-6 at best, got 1e-07"),
        ("mesh_dtype float16", "must be float32 or float64, got float16"),
        ("solver pppm", "`solver` must be auto, mesh or direct, got pppm"),
        ("window gauss", "`window` must be kaiser_bessel or b_spline, got gauss"),
        ("interpolation_nodes 3", "`interpolation_nodes` must be 4 to 16, got 3"),
        ("mesh_spacing -0.5", "`mesh_spacing` must be positive, got -0.5"),
        ("mesh 24 24 24 mesh_spacing 0.5", "`mesh` and `mesh_spacing` exclude each other"),
        ("mesh 24 -24 24", "`mesh` must have .* got -24"),
        ("freeze_k_set yes", "`freeze_k_set` is for models with their own k_cutoff"),
        ("graphs on", "`graphs` on is for device cuda, where steps can be captured, got device cpu; leave `graphs` at"),
    ],
)
def test_unusable_values(
    lammps: Lammps, model_file: ModelFile, structures: Structures, keywords: str, match: str
) -> None:
    """Said by the engine, when the run starts."""
    script = box_script(structures["orthogonal"], lammps.folder)
    lammps.refuse(script + model_script(model_file("plain"), keywords) + "run 0\n", match)


@pytest.mark.parametrize(
    ("model", "keywords", "match"),
    [
        (
            "plain",
            "solver mesh mesh 8 8 8 interpolation_nodes 10",
            "as many points .* `interpolation_nodes` .10., got 8",
        ),
        ("own_cutoff", "solver mesh mesh 8 8 8 interpolation_nodes 6", "`mesh` must have at least 9 points"),
    ],
)
def test_mesh_too_small(
    lammps: Lammps, model_file: ModelFile, structures: Structures, model: str, keywords: str, match: str
) -> None:
    """Seen in the first evaluation, by all ranks."""
    script = box_script(structures["orthogonal"], lammps.folder)
    lammps.refuse(script + model_script(model_file(model), keywords) + "run 0\n", match)


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ("accuracy high", "keyword accuracy must be followed by a relative force error such as 1e-4, got high"),
        ("accuracy", "keyword accuracy must be followed by .*, got nothing"),
        ("mesh 4 4", "keyword mesh must be followed by three whole numbers of mesh points, got 4 4 "),
        ("mesh 4 4 accuracy 1e-4", "keyword mesh must be followed by three whole numbers .*, got 4 4 accuracy"),
        ("mesh 4 4 4.5", "keyword mesh must be followed by three whole numbers .*, got 4 4 4.5"),
        ("mesh 4 4 4e9", "keyword mesh must be followed by three whole numbers .*, got 4 4 4e9"),
        ("mesh_spacing wide", "keyword mesh_spacing must be followed by a number of angstrom, got wide"),
        ("interpolation_nodes 6.5", "keyword interpolation_nodes must be followed by a whole number .*, got 6.5"),
        ("freeze_k_set on", "keyword freeze_k_set must be followed by yes or no, got on"),
        ("deterministic on", "keyword deterministic must be followed by yes or no, got on"),
        ("graphs yes", "keyword graphs must be followed by auto, on or off, got yes"),
        ("order 6", "unknown keyword order, expected one of device, threads, graph_memory, total_charge, solver"),
    ],
)
def test_unreadable_values(lammps: Lammps, keywords: str, match: str) -> None:
    """Said where the keyword is read."""
    lammps.refuse(f"region box block 0 9 0 9 0 9\ncreate_box 1 box\npair_style les {keywords}\n", match)
