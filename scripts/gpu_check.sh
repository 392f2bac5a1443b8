#!/usr/bin/env bash
# Builds the CUDA kernels for the GPU at hand, compares mesh and whole evaluation with the CPU, runs compute-sanitizer over
# the comparisons, times both, and runs the hosts with device cuda, LAMMPS also on several ranks that share the GPU. One
# command for a machine with a GPU, an nvcc and an environment with les_md (`make env`) on a CUDA build of torch.
# Usage: scripts/gpu_check.sh. Environment: PYTHON, CUDACXX, NVIDIA_SMI, LARGEST (atoms in the timings of the mesh, 10000000),
# LARGEST_STEP (of whole evaluations, 1000000).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "gpu_check: error: $1" >&2
    exit 1
}

"${NVIDIA_SMI:-nvidia-smi}" -L 2>/dev/null | grep -q GPU || fail "no GPU is found (nvidia-smi lists none); run it where there is one"
nvcc="${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}"
"$nvcc" --version >/dev/null 2>&1 || fail "$nvcc is not a CUDA compiler; install the CUDA toolkit or set CUDACXX"
sanitizer="$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)"
[ -n "$sanitizer" ] || fail "compute-sanitizer is not found; it is part of the CUDA toolkit, add its bin folder to PATH"

"${NVIDIA_SMI:-nvidia-smi}" -L
CUDACXX="$nvcc" scripts/cuda_compile.sh native
folder=build/cuda/native

python="${PYTHON:-.venv/bin/python}"
models="$folder/models"
mkdir -p "$models"
for case in tests/data/*.json; do
    for dtype in float64 float32; do
        "$python" tests/data/reference_cases.py "$case" "$models/$(basename "$case" .json)_$dtype.les.pt" "$dtype"
    done
done
"$python" tests/cuda/networks.py "$models"
torch_lib="$("$python" -c 'import torch; print(torch.__path__[0])')/lib"
export LD_LIBRARY_PATH="$torch_lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

echo "gpu_check: the mesh on the GPU, whole and divided among domains, against the CPU solver"
"$folder/check_device"
echo "gpu_check: the evaluation on the GPU against the engine on the CPU"
"$folder/check_step" tests/data "$models"
for tool in memcheck racecheck; do
    echo "gpu_check: compute-sanitizer $tool"
    "$sanitizer" --tool "$tool" --error-exitcode 1 "$folder/check_device" few
    "$sanitizer" --tool "$tool" --error-exitcode 1 "$folder/check_step" tests/data "$models" few
done
echo "gpu_check: the hosts with device cuda"
"$python" tests/cuda/check_hosts.py
echo "gpu_check: times of the mesh"
"$folder/mesh_times" "${LARGEST:-10000000}" float32 1e-4
"$folder/mesh_times" "${LARGEST:-10000000}" float64 1e-4
echo "gpu_check: times of whole evaluations"
"$python" benchmarks/gpu/water_model.py "$models/water.les.pt"
"$folder/step_times" "$models/water.les.pt" "${LARGEST_STEP:-1000000}"
echo "gpu_check: all is well"
