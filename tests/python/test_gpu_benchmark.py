"""benchmarks/gpu without a GPU: its flow with a peer that is right and then wrong, its tables, its reference way."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "benchmarks" / "mesh", ROOT / "benchmarks" / "gpu")

#: A peer that sums directly, and from 90 atoms on with another Coulomb constant.
TORCH_PME = """
import torch
from les_md.ewald import periodic_energy

class CoulombPotential:
    def __init__(self, smearing):
        self.smearing = smearing

class P3MCalculator(torch.nn.Module):
    def __init__(self, potential, mesh_spacing, interpolation_nodes):
        super().__init__()
        self.smearing = potential.smearing

    def forward(self, charges, cell, positions, pairs, distances):
        constant = 1.0 if len(charges) < 90 else 1.01
        arguments = (positions.double(), cell.double(), self.smearing, 6.0, constant, True)
        energy = periodic_energy(charges, *arguments)
        return 0.5 * torch.autograd.grad(energy, charges, create_graph=True)[0]
"""


@pytest.fixture
def benchmark(monkeypatch):
    """Modules of the benchmark, whose folders are on the path as when its programs are called."""

    def forget() -> None:
        # other benchmarks have modules of the same names
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(ROOT / "benchmarks")):
                del sys.modules[name]

    forget()
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(folder)
    yield lambda name: __import__(name)
    forget()


def cells_of(report, label):
    """Cells of the first row with this label."""
    row = next(line for line in report.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in row.split("|")[2:-1]]


def test_peers_are_checked_and_named(benchmark, tmp_path, monkeypatch):
    for name, text in (("torchpme", TORCH_PME), ("nvalchemiops", "raise RuntimeError('no kernels here')")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", benchmark("run").path_list(str(tmp_path), *sys.path))
    words = ["--device", "cpu", "--only", "mesh", "--sizes", "90", "60", "--seconds", "0.05", "--dtype", "float64"]
    with pytest.raises(SystemExit, match=r"^gpu benchmark: error: wrong results: torch-pme P3M, 90 atoms: "):
        benchmark("run").main([*words, "--output", str(tmp_path / "out")])
    report = (tmp_path / "out" / "report.md").read_text()
    assert all(float(cell) > 0.0 for cell in cells_of(report, "les_md"))
    right, wrong = cells_of(report, "torch-pme P3M")
    assert float(right) > 0.0
    assert wrong.startswith("no mesh tried has an error of 2e-04; the best ")
    assert cells_of(report, "nvalchemi PME") == ["no kernels here", "-"]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    errors = results["mesh"]["rows"]["torch-pme P3M"][0]["errors"]
    assert set(errors) == {"forces", "energy", "potentials"}
    assert max(errors.values()) < 1e-6
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "results.json"}


def test_missing_peers_are_named(benchmark, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    task = {"mode": "solver", "device": "cuda", "solver": "nvalchemi", "sizes": [60]}
    monkeypatch.setattr(sys, "argv", ["mesh_worker.py", json.dumps(task)])
    benchmark("mesh_worker").main()
    assert json.loads(capsys.readouterr().out) == {"atoms": 60, "failed": "nvalchemi-toolkit-ops is not installed"}


def test_random_numbers_are_those_of_splitmix64(benchmark):
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert benchmark("boxes").uniform(3).tolist() == [(z >> 11) * 2.0**-53 for z in first]


def test_frames_ask_for_a_search_once_in_15_steps(benchmark):
    _, frames = benchmark("boxes").moving_water(60)
    moved = np.linalg.norm(frames - frames[0], axis=2).max(axis=1)
    assert len(frames) == 30
    assert moved[14] < 0.25 < moved[16]


def test_programs_for_the_gpu(benchmark, tmp_path, monkeypatch):
    """Lines of mesh_times become rows, compared with the reference, also where it ended early."""
    run = benchmark("run")
    program = tmp_path / "mesh_times"
    line = {
        "atoms": 1000, "mesh": [36, 36, 36], "nodes": 7, "energy": -159.5, "plain_us": 40.0, "graph_us": 30.0,
        "scattered_us": 20.0, "floor_us": 1.0,
    }  # fmt: skip
    program.write_text(f"#!/bin/sh\necho 'A GPU, 2000 GB/s'\necho '{json.dumps(line)}' > $4/mesh_times.jsonl\n"
                       "echo 'mesh_times: error: out of memory' >&2\nexit 1\n")  # fmt: skip
    program.chmod(0o755)
    options = run.argparse.Namespace(
        output=tmp_path / "out", programs=tmp_path, device="cuda", dtype="float32", accuracy=1e-4, sizes=[1000, 10000],
        timeout=60.0, seconds=0.1, words=[],
    )  # fmt: skip
    measured = run.Benchmark(options)
    checked = [{"atoms": 1000, "failed": "wrong energy", "wrong": True}]
    monkeypatch.setattr(measured, "worker", lambda *arguments, **task: checked)
    references = {}
    rows = measured.own_on_gpu(references)
    assert references == {"1000": {"energy": -159.5}}
    assert rows["bandwidth floor"] == [{"atoms": 1000, "seconds": 1e-6}, {"failed": "out of memory"}]
    assert rows["les_md"][0]["failed"] == "wrong energy"
    assert measured.wrong == []  # `worker`, which is not called here, has noted it
    checked[0] = {"failed": "status 1: no message"}
    measured.own_on_gpu({})
    assert measured.wrong == ["les_md, 1000 atoms: not compared with a reference"]
    assert rows["les_md, deterministic"][0]["seconds"] == pytest.approx(30e-6)
    assert measured.program("step_times", 1000) == (
        [], f"{tmp_path / 'step_times'} is not there; run scripts/gpu_check.sh compile",
    )  # fmt: skip


def test_whole_steps_agree_with_the_reference_way(benchmark, tmp_path):
    worker = benchmark("step_worker")
    task = {"device": "cpu", "seconds": 0.0, "folder": str(tmp_path), "model": str(tmp_path / "water.les.pt")}
    threads = torch.get_num_threads()
    model = benchmark("water_model").water_model()
    benchmark("les_md.export").export.write_model_file(model, task["model"], {}, None, None)
    answers = []
    for way in ("engine", "reference"):
        of_way = task | {"way": way}
        answers.append([worker.measure(of_way, worker.make_calculator(of_way), 60)])
    torch.set_num_threads(threads)
    assert all(answer["seconds"] > 0.0 for (answer,) in answers)
    (difference,) = benchmark("run").compare_forces(*answers)
    assert 0.0 < difference < benchmark("run").DIFFERENCE


def test_a_gpu_must_be_there(benchmark, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^gpu benchmark: error: torch finds no GPU; run it where there is one"):
        benchmark("run").main([])


@pytest.mark.parametrize("words", [["--device", "cpu", "--sizes", "61"], ["--sizes", "60"], ["--largest", "10"]])
def test_sizes_that_are_refused(benchmark, capsys, words):
    with pytest.raises(SystemExit):
        benchmark("run").main(words)
    assert "--sizes are even" in capsys.readouterr().err or "--largest" in words


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import time; print('{\"atoms\": 30}', flush=True); time.sleep(60)", "took longer than 2 s"),
        ("import sys; print('{\"atoms\": 30}', flush=True); sys.exit('no luck')", "status 1: no luck"),
    ],
    ids=["too slow", "crash"],
)
def test_processes_that_end_early_end_their_row(benchmark, tmp_path, program, reason):
    run = benchmark("run")
    options = run.argparse.Namespace(
        output=tmp_path, device="cpu", dtype="float32", accuracy=1e-4, timeout=2.0, words=[]
    )
    answers = run.Benchmark(options).answers("a peer", [sys.executable, "-c", program])
    assert answers == [{"atoms": 30}, {"failed": reason}]


def test_seconds_on_a_gpu_are_those_of_its_events(benchmark, monkeypatch):
    clock = [0.0]  # milliseconds on the device

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.time = clock[0]

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return end.time - self.time

    def run():
        clock[0] += 0.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert benchmark("timing").seconds_of(run, 4, "cuda") == pytest.approx(2e-3)
    assert benchmark("timing").median_seconds(run, "cuda", 60.0) == pytest.approx(5e-4)
    assert clock[0] < 1000.0
