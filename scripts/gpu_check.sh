#!/usr/bin/env bash
# Builds the CUDA kernels for the GPU at hand, compares them with the CPU solver, runs compute-sanitizer over the
# comparison, and times them against the bandwidth of the device. One command for a machine with a GPU, an nvcc and an
# environment with les_md (`make env`).
# Usage: scripts/gpu_check.sh. Environment: PYTHON, CUDACXX, NVIDIA_SMI, LARGEST (atoms in the timings, 10000000).
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

echo "gpu_check: the mesh on the GPU against the CPU solver"
"$folder/check_device"
for tool in memcheck racecheck; do
    echo "gpu_check: compute-sanitizer $tool"
    "$sanitizer" --tool "$tool" --error-exitcode 1 "$folder/check_device" few
done
echo "gpu_check: times"
"$folder/mesh_times" "${LARGEST:-10000000}" float32 1e-4
"$folder/mesh_times" "${LARGEST:-10000000}" float64 1e-4
echo "gpu_check: all is well"
