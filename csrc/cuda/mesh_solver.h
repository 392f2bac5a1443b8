// The particle mesh on a GPU: device arrays in, device arrays out. Everything runs on one stream; with an unchanged
// cell, mesh and number of atoms a call neither allocates nor waits, and a call like the one before it is one launch of
// a captured graph. Needs the CUDA runtime and cuFFT only; the choices are those of the CPU solver (mesh_setup.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "les/long_range.h"

typedef struct CUstream_st* cudaStream_t;

namespace les::cuda {

struct DeviceOptions {
    /// Every bit of the result is the same whenever the input is: points in the order of their atoms, each mesh point
    /// summed by one thread. Otherwise atomics, in the order in which threads come.
    bool deterministic = false;
    /// Repeated calls are launched as a CUDA graph where that can be; not on the legacy default stream (null).
    bool graphs = true;
};

class MeshSolver {
public:
    virtual ~MeshSolver() = default;

    /// Rows are lattice vectors, angstrom. Allocates and waits only if mesh or window change. Throws les::Error.
    virtual void set_cell(const Matrix3& cell, std::int64_t n_atoms) = 0;

    /// Starts an evaluation of `n_atoms` atoms on the stream: `positions` (n_atoms, 3), angstrom, and `charges`
    /// (n_atoms, n_channels), e, on the device. Allocates and waits only if there are more atoms than ever before.
    virtual void compute(const double* positions, const double* charges, std::int64_t n_atoms) = 0;

    /// On the device, valid behind `compute` on the stream: (n_atoms, n_channels), V, dE/dq.
    virtual const double* potentials() const = 0;
    /// (n_atoms, 3), eV/angstrom, -dE/dr at fixed charges.
    virtual const double* forces() const = 0;
    /// 14 numbers: energy (eV), virial (3, 3) (eV), net force before it was taken out (3) (eV/angstrom), and 0, or 1 if
    /// a position or charge was not finite: then energy and virial are NaN.
    virtual const double* summary() const = 0;

    /// Waits for the stream and copies. Throws les::Error if a position or charge was not finite.
    virtual LongRangeResult copy_results() = 0;

    /// Another number whenever the arrays or plans that a captured `compute` works on are others; -1 if `compute`
    /// cannot be a part of a larger graph.
    virtual std::int64_t generation() const { return -1; }
    /// False if calls were to be graphs and one could not be captured: they go on without.
    virtual bool has_graphs() const { return true; }

    virtual const MeshReport& report() const = 0;
    virtual std::string description() const = 0;
};

/// `options.dtype` is that of mesh and transforms: "float32", or "float64" (also if empty). The device current now is
/// the one used. Throws les::Error for an option that cannot be used.
std::unique_ptr<MeshSolver> make_mesh_solver(const LongRangeParameters& parameters, int n_channels,
                                             const LongRangeOptions& options, const DeviceOptions& device_options,
                                             cudaStream_t stream);

/// The mesh divided among the devices of several domains (distributed_solver.h), on a stream of the device current now,
/// which must be current in its calls too. Throws les::Error for an option that cannot be used.
std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                       const LongRangeOptions& options, bool deterministic,
                                                       cudaStream_t stream);

}  // namespace les::cuda
