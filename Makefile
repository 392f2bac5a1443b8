# Two commands matter: `make demo` runs the main job end to end, `make test` builds what is missing and tests it.
# Both make the environment first (`make env`). Stamp files record what is done, so that a second call does no work again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra options for pip where it installs torch, for instance the index of PyTorch's CPU-only builds
TORCH_FLAGS ?=
TORCH := torch==2.13.0
# Compilers at once
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Options of the demo, for instance DEMO_FLAGS=--quick
DEMO_FLAGS ?=
# Options of pytest, for instance TEST_FLAGS="-k ewald"
TEST_FLAGS ?=

# Compute capabilities for `make cuda-compile`: a list such as "80;90", or all (80 86 89 90 100 120)
CUDA_ARCHITECTURES ?= all

CPP_FILES = $(shell find csrc lammps_plugin openmm_plugin tests benchmarks -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
SOURCES := $(shell find python csrc lammps_plugin openmm_plugin cmake examples/training -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: help env demo test leaks cuda-compile lint format clean FORCE

help:
	@echo "make env     environment in $(VENV), with the package and its programs installed"
	@echo "make demo    the whole path on water: data, training, export, LAMMPS, OpenMM, plots (folder demo/)"
	@echo "make test    all tests"
	@echo "make leaks   LAMMPS with plugin and engine built with sanitizers: leaks and memory errors"
	@echo "make cuda-compile   the CUDA kernels, compiled and linked; needs no GPU (docs/gpu.md)"
	@echo "make lint    ruff, mypy, clang-format"
	@echo "make format  rewrite the sources as the linters want them"
	@echo "make clean   remove build/ and the environment"
	@echo "make test-openmm-torch   exported files in OpenMM-Torch, in an environment of its own ($(OPENMM_TORCH))"

env: $(VENV)/.package

demo: env
	$(BIN)/python examples/water_demo/run.py --output demo $(DEMO_FLAGS)

test: env
	$(BIN)/python -m pytest tests $(TEST_FLAGS)

leaks: env
	$(BIN)/python tests/lammps/check_leaks.py

cuda-compile: env
	PYTHON=$(BIN)/python JOBS=$(JOBS) scripts/cuda_compile.sh "$(CUDA_ARCHITECTURES)"

# An environment whose making was interrupted has `.unfinished` and is made anew; pip's cache keeps that short.
$(VENV)/.requirements: requirements-dev.txt
	@scripts/check_system.sh $(PYTHON)
	@if [ -e $(VENV)/.unfinished ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then rm -rf $(VENV); fi
	@[ -e $(BIN)/python ] || { echo "make env: environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@touch $(VENV)/.unfinished
	$(BIN)/python -m pip install $(TORCH_FLAGS) $(TORCH)
	$(BIN)/python -m pip install $(TORCH) -r requirements-dev.txt
	@rm -f $(VENV)/.unfinished
	@touch $@

# The list of sources changes when a file comes or goes, which the dates of the remaining files do not show.
build/sources.txt: FORCE
	@mkdir -p build
	@printf '%s\n' $(sort $(SOURCES)) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# The wheel is built in a kept folder, so that only what changed is compiled; then it replaces the installed package whole.
$(VENV)/.package: $(VENV)/.requirements build/sources.txt $(SOURCES) CMakeLists.txt pyproject.toml
	@rm -rf build/wheel
	PATH="$(abspath $(BIN)):$$PATH" CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(BIN)/python -m pip wheel --no-build-isolation \
	    --no-deps --config-settings=cmake.define.LES_WARNINGS_AS_ERRORS=ON --config-settings=build-dir='build/{wheel_tag}' --wheel-dir build/wheel .
	@rm -rf $(VENV)/lib/python3*/site-packages/les_md $(VENV)/lib/python3*/site-packages/les_md-*.dist-info
	$(BIN)/python -m pip install --no-deps --force-reinstall build/wheel/les_md-*.whl
	@touch $@

# Exported files in OpenMM-Torch: made with the package, run in an environment without it.
OPENMM_TORCH := .venv-openmm-torch

.PHONY: test-openmm-torch
test-openmm-torch: env $(OPENMM_TORCH)/.requirements
	$(BIN)/python tests/openmm_torch/make_cases.py build/openmm_torch
	$(OPENMM_TORCH)/bin/python -m pytest tests/openmm_torch/check_torchforce.py $(TEST_FLAGS)

$(OPENMM_TORCH)/.requirements: tests/openmm_torch/requirements.txt
	@rm -rf $(OPENMM_TORCH)
	$(PYTHON) -m venv $(OPENMM_TORCH)
	$(OPENMM_TORCH)/bin/python -m pip install $(TORCH_FLAGS) $$(grep ^torch= $<)
	$(OPENMM_TORCH)/bin/python -m pip install -r $<
	@touch $@

lint: $(VENV)/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CPP_FILES)

format: $(VENV)/.requirements
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_FILES)

clean:
	rm -rf build $(VENV) $(OPENMM_TORCH)
