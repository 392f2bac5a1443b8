#!/usr/bin/env bash
# Checks and times everything on the GPU at hand, in parts, the most telling first. A part that fails does not stop the
# others. For a machine with a GPU, an nvcc and an environment with les_md on a CUDA build of torch; needs no network.
# Usage: scripts/gpu_check.sh [part ...]; all of them without one:
#   compile     the kernels for the GPU at hand, and the programs of the next parts (kept in build/cuda/native)
#   models      model files for them; needs no GPU
#   mesh        the mesh, whole and divided among domains, against the CPU solver
#   step        whole evaluations against the engine on the CPU; where they fail, each case by itself
#   ase, lammps, openmm   the hosts with device cuda, LAMMPS also on several ranks that share the GPU
#   mesh_times, step_times   times, the mesh in both precisions
#   peers       both again beside torch-pme, nvalchemi-toolkit-ops and the reference way (benchmarks/gpu/run.py)
#   memcheck, racecheck      compute-sanitizer over some of the comparisons: slow
# Each part writes RESULTS/part.txt, and a line into RESULTS/summary.txt; the exit status is 1 if one failed.
# Environment: PYTHON, CUDACXX, NVIDIA_SMI, JOBS (compilers at once), LIMIT (seconds for each part, 300), LIMIT_PEERS
# (seconds for the part peers, 1800), RESULTS (build/gpu_check), LARGEST (atoms in the timings of the mesh, 10000000),
# LARGEST_STEP (of evaluations, 1000000).
set -uo pipefail
cd "$(dirname "$0")/.."

all=(compile models mesh step ase lammps openmm mesh_times step_times peers memcheck racecheck)
parts=("$@")
[ $# -gt 0 ] || parts=("${all[@]}")
python="${PYTHON:-.venv/bin/python}"
results="${RESULTS:-build/gpu_check}"
folder=build/cuda/native
models="$folder/models"
smi="${NVIDIA_SMI:-nvidia-smi}"
nvcc="${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}"
sanitizer="$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")"
steps=(periodic triclinic isolated one_atom two_elements net_charge neutralized two_channels charge_transfers
    field_isolated field_periodic field_transfers one_layer two_layers transfers short_range default_stream)

fail() {
    echo "gpu_check: error: $1" >&2
    exit 1
}

for part in "${parts[@]}"; do
    [[ " ${all[*]} " == *" $part "* ]] || fail "there is no part $part; parts are ${all[*]}"
done
[ "${parts[*]}" = models ] || "$smi" -L 2>/dev/null | grep -q GPU ||
    fail "no GPU is found (nvidia-smi lists none); run it where there is one"
if [[ " ${parts[*]} " == *" compile "* ]]; then
    "$nvcc" --version >/dev/null 2>&1 || fail "$nvcc is not a CUDA compiler; install the CUDA toolkit or set CUDACXX"
fi

compile() { JOBS="${JOBS:-$(nproc)}" CUDACXX="$nvcc" PYTHON="$python" OPENMM=no scripts/cuda_compile.sh native; }
models() { mkdir -p "$models" && "$python" tests/cuda/networks.py "$models" &&
    "$python" benchmarks/gpu/water_model.py "$models/water.les.pt"; }
has_programs() {
    [ -x "$folder/check_step" ] && return
    echo "$folder/check_step is not there; run the part compile first, with les_md installed"
    return 1
}
mesh() { has_programs && "$folder/check_device"; }
step() {
    has_programs || return
    "$folder/check_step" tests/data "$models" && return
    for case in "${steps[@]}"; do
        echo "-- $case"
        timeout 60 "$folder/check_step" tests/data "$models" "$case" || echo "-- $case failed"
    done
    return 1
}
ase() { "$python" tests/cuda/check_hosts.py ase; }
lammps() { "$python" tests/cuda/check_hosts.py lammps; }
openmm() { "$python" tests/cuda/check_hosts.py openmm; }
mesh_times() {
    has_programs && "$folder/mesh_times" "${LARGEST:-10000000}" float32 1e-4 &&
        "$folder/mesh_times" "${LARGEST:-10000000}" float64 1e-4
}
step_times() { has_programs && "$folder/step_times" "$models/water.les.pt" "${LARGEST_STEP:-1000000}"; }
peers() {
    has_programs && "$python" benchmarks/gpu/run.py --programs "$folder" --largest "${LARGEST:-10000000}" \
        --largest-step "${LARGEST_STEP:-1000000}" --output "$results/peers"
}
sanitize() {
    [ -x "$sanitizer" ] || {
        echo "compute-sanitizer is not found; it is part of the CUDA toolkit, add its folder to PATH"
        return 1
    }
    has_programs && "$sanitizer" --tool "$1" --error-exitcode 1 "$folder/check_device" few &&
        "$sanitizer" --tool "$1" --error-exitcode 1 "$folder/check_step" tests/data "$models" few
}
memcheck() { sanitize memcheck; }
racecheck() { sanitize racecheck; }

mkdir -p "$results"
{
    "$smi"
    "$nvcc" --version
    nproc
    "$python" -c 'import sys, torch; print(sys.version, torch.__version__, torch.version.cuda, torch.cuda.is_available())
from les_md import _build_info; print({k: v for k, v in vars(_build_info).items() if not k.startswith("_")})'
} >"$results/machine.txt" 2>&1
cat "$results/machine.txt"
# CUDA's libraries are those of torch, wherever les_md and OpenMM are installed
torch="$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null)"
libraries="$torch/lib$(printf ':%s' "$torch"/../nvidia/cu*/lib)"
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" PYTHONUNBUFFERED=1
export python results folder models nvcc sanitizer
export -f has_programs compile models mesh step ase lammps openmm mesh_times step_times peers sanitize memcheck racecheck

failed=0
: >"$results/summary.txt"
for part in "${parts[@]}"; do
    echo "gpu_check: $part"
    start=$SECONDS
    limit="${LIMIT:-300}"
    [ "$part" != peers ] || limit="${LIMIT_PEERS:-1800}"
    timeout -k 10 "$limit" bash -uo pipefail -c "$(declare -p steps); $part" 2>&1 | tee "$results/$part.txt"
    status=${PIPESTATUS[0]}
    case $status in
        0) said="passed" ;;
        124 | 137) said="ran out of time" ;;
        *) said="FAILED (status $status)" ;;
    esac
    [ "$status" = 0 ] || failed=1
    echo "$part: $said, $((SECONDS - start)) s" | tee -a "$results/summary.txt"
done
cat "$results/summary.txt"
[ $failed = 0 ] || fail "something failed, see $results"
echo "gpu_check: all is well"
