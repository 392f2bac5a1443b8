"""Builds the C++ tests as a separate CMake project on the installed engine and runs them with ctest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference_cases import CASES, FIELD_CASES, HERE, load_case, network_of, write_case_model

from les_md import fields, model_file
from les_md.export import torchscript, write_model_file
from les_md.utils import cmake_prefix_path

TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model files of all cases, and some that must be refused."""
    folder = tmp_path_factory.mktemp("models")
    for name in CASES + FIELD_CASES:
        for dtype in ("float64", "float32"):
            write_case_model(load_case(name), folder / f"{name}_{dtype}.les.pt", dtype)
    with torchscript():
        scripted = torch.jit.load(str(folder / "periodic_float64.les.pt"))
        torch.jit.save(scripted, str(folder / "plain.pt"))
        record = model_file.read_record(folder / "periodic_float64.les.pt")
        for name, change in (
            ("newer", {"format_version": 99}),
            ("dipoles", {"outputs": [*record["outputs"], "latent_dipoles"]}),
        ):
            text = json.dumps(record | change)
            torch.jit.save(scripted, str(folder / f"{name}.les.pt"), _extra_files={fields.METADATA_RECORD: text})
    return folder


def run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_cpp_project(models, tmp_path):
    build = tmp_path / "build"
    run(
        TOOLS / "cmake", "-S", Path(__file__).parent, "-B", build, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={TOOLS / 'ninja'}",
        f"-DCMAKE_PREFIX_PATH={cmake_prefix_path}", f"-DCASES_DIR={HERE}", f"-DMODELS_DIR={models}",
    )  # fmt: skip
    run(TOOLS / "cmake", "--build", build)
    output = run(TOOLS / "ctest", "--test-dir", build, "--output-on-failure")
    assert "100% tests passed" in output


def test_written_record_is_read_back(models):
    record = model_file.read_record(models / "two_channels_float32.les.pt")
    assert record["dtype"] == "float32"
    assert record["n_channels"] == 2
    assert record["content_hash"].startswith("sha256:")
    again = models / "again.les.pt"
    write_model_file(network_of(load_case("two_channels"), "float32"), again, {}, None, None)
    assert model_file.read_record(again)["content_hash"] == record["content_hash"]
