#!/usr/bin/env bash
# Compiles the CUDA kernels, the programs that use them and the kernels of OpenMM's CUDA platform, and links them; needs no
# GPU. nvcc comes from CUDACXX, PATH or
# /usr/local/cuda, else from the PyPI packages of the CUDA toolkit, as does a cuFFT that the toolkit lacks.
# Usage: scripts/cuda_compile.sh [architectures], for instance "80;90"; "all" (80 86 89 90 100 120) is the default and
# "native" is the GPU at hand. Environment: PYTHON (of the environment with les_md), CUDACXX, JOBS (compilers at once),
# OPENMM=no (leaves out the kernels of OpenMM's CUDA platform).
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

torch="$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')"
options=(-DCMAKE_CUDA_COMPILER="$nvcc" -DCUFFT_DIR="$cufft" -DTORCH_DIR="$torch" -DCMAKE_CUDA_FLAGS="--threads=${JOBS:-1}"
    -DCMAKE_PREFIX_PATH="$("$python" -c 'from les_md.utils import cmake_prefix_path; print(cmake_prefix_path)')")
case "$architectures" in
    all) ;;
    native) options+=(-DCMAKE_CUDA_ARCHITECTURES=native) ;;
    *) options+=(-DLES_CUDA_ARCHITECTURES="$architectures") ;;
esac
bin="$(dirname "$("$python" -c 'import sys; print(sys.executable)')")"
export PATH="$bin:$PATH"
command -v make >/dev/null || export CMAKE_GENERATOR=Ninja
# the architectures are cached values that only a new folder takes over
folder="$build/${architectures//;/_}"
cmake -S csrc/cuda -B "$folder" "${options[@]}"
cmake --build "$folder" --parallel "${JOBS:-1}"
echo "cuda_compile: libles_cuda.so, libles_device.so, mesh_times, step_times, check_device and check_step are in $folder"

[ "${OPENMM:-}" != no ] || exit 0
# OpenMM's CUDA platform: its libraries come from PyPI to see that every name exists; that of the driver is not needed
openmm="$("$python" -c 'import openmm; print(openmm.__version__)' 2>/dev/null || true)"
if [ -z "$openmm" ]; then
    echo "cuda_compile: OpenMM is not installed for \`$python\`: its plugin is left out"
    exit 0
fi
installed="$("$python" -c 'import openmm, os; print(os.path.join(openmm.__path__[0], "..", "OpenMM.libs"))')"
libraries="$installed/lib/plugins"
[ -e "$libraries/libOpenMMCUDA.so" ] || libraries="$packages/OpenMM.libs/lib/plugins"
[ -e "$libraries/libOpenMMCUDA.so" ] || from_pypi "OpenMM-CUDA-13==$openmm"
plugin="$build/openmm"
# the kernels go to OpenMM as text; here they are compiled with the words of its dialect
mkdir -p "$plugin"
for precision in SINGLE MIXED DOUBLE; do
    "$nvcc" -ptx -std=c++17 -arch=compute_80 -I. -include tests/cuda/openmm_dialect.h -D "USE_${precision}_PRECISION" \
        -DNUM_PARTICLES=61 -DPADDED_NUM_PARTICLES=64 -DANGSTROM_PER_NM=10.0 -Werror all-warnings \
        -o "$plugin/les_force_$precision.ptx" openmm_plugin/platforms/common/kernels/les_force.cu
done
cmake -S openmm_plugin/platforms/cuda -B "$plugin" -DLES_CUDA_INCLUDE="$toolkit/include" \
    -DLES_OPENMM_CUDA_LIBRARY="$libraries/libOpenMMCUDA.so" \
    -DOPENMM_DIR="$installed" \
    -DCMAKE_PREFIX_PATH="$("$python" -c 'from les_md.utils import cmake_prefix_path; print(cmake_prefix_path)')"
cmake --build "$plugin"
"$python" scripts/undefined_symbols.py "$plugin/libOpenMMLESCUDA.so" "$libraries/libOpenMMCUDA.so"
echo "cuda_compile: libOpenMMLESCUDA.so is in $plugin"
