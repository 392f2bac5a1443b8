// The kernels: launch configurations around the bodies, one for each stage. Included by mesh_solver.cu alone.
#pragma once

#include "kspace_filter.cuh"

namespace les::cuda {

namespace {

constexpr int atom_threads = 256, scan_threads = 1024;

__device__ __forceinline__ std::int64_t global_thread() {
    return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// Shared memory of the size of T, whose bytes the launch provides.
template <class T>
__device__ __forceinline__ T& shared_memory() {
    extern __shared__ double shared_bytes[];
    return *reinterpret_cast<T*>(shared_bytes);
}

__global__ void store_cell(const CellTerms terms, CellTerms* cell) {
    if (global_thread() == 0) *cell = terms;
}

template <class Real>
__global__ void __launch_bounds__(influence_threads)
    influence_kernel(const CellTerms* cell, const MeshShape mesh, const AxisTables tables, Real* influence,
                     double* totals) {
    __shared__ double scratch[block_sum_bytes(n_self_sums, influence_threads) / sizeof(double)];
    const Block<influence_threads> block;
    influence_modes(block, scratch, *cell, mesh, tables, influence, totals + block.index * n_self_sums);
}

__global__ void __launch_bounds__(influence_threads)
    close_influence_kernel(const CellTerms* cell, const double* totals, int n_blocks, SelfTerms* self) {
    __shared__ double shared[n_self_sums];
    close_influence(Block<influence_threads>{}, shared, *cell, totals, n_blocks, *self);
}

__global__ void __launch_bounds__(atom_threads)
    count_kernel(const CellTerms* cell, const MeshShape mesh, int nodes, const double* positions, std::int64_t n,
                 std::int32_t* counts, std::int32_t* tile_and_number, std::int32_t* status) {
    const std::int64_t atom = global_thread();
    if (atom < n) count_point(*cell, mesh, nodes, positions, atom, counts, tile_and_number, status);
}

__global__ void __launch_bounds__(scan_threads)
    scan_kernel(std::int32_t n_tiles, std::int32_t* counts, std::int32_t* begin) {
    __shared__ std::int32_t shared[2 * scan_threads];
    scan_counts(Block<scan_threads>{}, shared, n_tiles, counts, begin);
}

template <class Real>
__global__ void __launch_bounds__(atom_threads)
    place_kernel(const CellTerms* cell, const MeshShape mesh, int nodes, const double* positions, const double* charges,
                 std::int64_t n, const std::int32_t* tile_and_number, const SortedPoints<Real> points,
                 std::int32_t* status) {
    const std::int64_t atom = global_thread();
    if (atom < n) {
        place_point(*cell, mesh, nodes, positions, charges, static_cast<std::int32_t>(atom), tile_and_number, points,
                    status);
    }
}

__global__ void __launch_bounds__(atom_threads) place_atom_kernel(std::int64_t n, const std::int32_t* tile_and_number,
                                                                  const std::int32_t* begin, std::int32_t* unordered) {
    const std::int64_t atom = global_thread();
    if (atom < n) place_atom(static_cast<std::int32_t>(atom), tile_and_number, begin, unordered);
}

template <class Real>
__global__ void __launch_bounds__(atom_threads)
    rank_kernel(const CellTerms* cell, const MeshShape mesh, int nodes, const double* positions, const double* charges,
                std::int64_t n, const std::int32_t* tile_and_number, const std::int32_t* unordered,
                const SortedPoints<Real> points, std::int32_t* status) {
    const std::int64_t place = global_thread();
    if (place < n)
        rank_point(*cell, mesh, nodes, positions, charges, place, tile_and_number, unordered, points, status);
}

/// Grid: tiles x channels.
template <class Real, int nodes>
__global__ void __launch_bounds__(collect_threads)
    collect_kernel(const WindowPieces<Real, nodes> window, const MeshShape mesh, const SortedPoints<Real> points,
                   Real* data) {
    const Block<collect_threads> block;
    collect_tile(block, shared_memory<CollectShared<Real, nodes>>(), window, mesh, points, block.index,
                 static_cast<int>(blockIdx.y), data);
}

/// Grid: tiles x channels.
template <class Real, int nodes>
__global__ void __launch_bounds__(scatter_threads)
    scatter_kernel(const WindowPieces<Real, nodes> window, const MeshShape mesh, const SortedPoints<Real> points,
                   Real* data) {
    const Block<scatter_threads> block;
    scatter_tile(block, shared_memory<ScatterShared<Real, nodes>>(), window, mesh, points, block.index,
                 static_cast<int>(blockIdx.y), data);
}

template <class Real>
__global__ void __launch_bounds__(filter_threads)
    filter_kernel(const CellTerms* cell, const MeshShape mesh, const Real* influence, Real* data, double* totals) {
    __shared__ double scratch[block_sum_bytes(n_filter_sums, filter_threads) / sizeof(double)];
    const Block<filter_threads> block;
    filter_modes(block, scratch, *cell, mesh, influence, data, totals + block.index * n_filter_sums);
}

template <class Real, int nodes>
__global__ void __launch_bounds__(gather_threads)
    gather_kernel(const WindowPieces<Real, nodes> window, const MeshShape mesh, const CellTerms* cell,
                  const SelfTerms* self, const SortedPoints<Real> points, const double* charges, const Real* data,
                  const AtomResults results, double* totals) {
    const Block<gather_threads> block;
    gather_tiles(block, shared_memory<GatherShared<Real, nodes>>(), window, mesh, *cell, *self, points, charges, data,
                 results, totals + block.index * n_point_sums);
}

__global__ void __launch_bounds__(close_threads)
    close_kernel(const CellTerms* cell, const SelfTerms* self, const double* point_totals, int n_point_blocks,
                 const double* filter_totals, int n_filter_blocks, std::int64_t n, std::int32_t* status, double* forces,
                 Summary* summary) {
    __shared__ CloseShared shared;
    close_evaluation(Block<close_threads>{}, shared, *cell, *self, point_totals, n_point_blocks, filter_totals,
                     n_filter_blocks, n, status, forces, summary);
}

}  // namespace

}  // namespace les::cuda
