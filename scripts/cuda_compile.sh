#!/usr/bin/env bash
# Compiles the CUDA kernels and the programs that use them and links them; needs no GPU. nvcc comes from CUDACXX, PATH or
# /usr/local/cuda, else from the PyPI packages of the CUDA toolkit, as does a cuFFT that the toolkit lacks.
# Usage: scripts/cuda_compile.sh [architectures], for instance "80;90"; "all" (80 86 89 90 100 120) is the default and
# "native" is the GPU at hand. Environment: PYTHON (of the environment with les_md), CUDACXX, JOBS (architectures at once).
set -euo pipefail
cd "$(dirname "$0")/.."

architectures="${1:-all}"
python="${PYTHON:-.venv/bin/python}"
build=build/cuda
packages="$PWD/$build/packages"
nvcc="${CUDACXX:-$(command -v nvcc || true)}"
[ -n "$nvcc" ] || { [ -x /usr/local/cuda/bin/nvcc ] && nvcc=/usr/local/cuda/bin/nvcc; } || true

if ! "$python" -c 'import les_md' 2>/dev/null; then
    echo "cuda_compile: error: les_md is not installed for \`$python\`; run \`make env\`, or name another with PYTHON=" >&2
    exit 1
fi
from_pypi() {
    "$python" -m pip install --quiet --no-deps --upgrade --target "$packages" "$@"
}
if [ -z "$nvcc" ]; then
    nvcc="$packages/nvidia/cu13/bin/nvcc"
    [ -x "$nvcc" ] || from_pypi nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
    # the names that nvcc and the linker look for
    ln -sfn lib "$packages/nvidia/cu13/lib64"
    ln -sf libcudart.so.13 "$packages/nvidia/cu13/lib/libcudart.so"
fi
# nvcc may be a wrapper elsewhere; it tells where its toolkit is
toolkit="$("$nvcc" --dryrun any.cu 2>&1 | sed -n 's/^#\$ TOP=//p')"
cufft="$toolkit"
if ! ls "$toolkit"/include/cufft.h >/dev/null 2>&1 || ! ls "$toolkit"/lib*/libcufft.so* >/dev/null 2>&1; then
    cufft="$packages/nvidia/cu13"
    [ -e "$cufft/include/cufft.h" ] || from_pypi nvidia-cufft==12.0.0.61
fi

options=(-DCMAKE_CUDA_COMPILER="$nvcc" -DCUFFT_DIR="$cufft" -DCMAKE_CUDA_FLAGS="--threads=${JOBS:-1}"
    -DCMAKE_PREFIX_PATH="$("$python" -c 'from les_md.utils import cmake_prefix_path; print(cmake_prefix_path)')")
case "$architectures" in
    all) ;;
    native) options+=(-DCMAKE_CUDA_ARCHITECTURES=native) ;;
    *) options+=(-DLES_CUDA_ARCHITECTURES="$architectures") ;;
esac
bin="$(dirname "$("$python" -c 'import sys; print(sys.executable)')")"
export PATH="$bin:$PATH"
# the architectures are cached values that only a new folder takes over
folder="$build/${architectures//;/_}"
cmake -S csrc/cuda -B "$folder" "${options[@]}"
cmake --build "$folder"
echo "cuda_compile: libles_cuda.so, libles_device.so, mesh_times, step_times, check_device and check_step are in $folder"
