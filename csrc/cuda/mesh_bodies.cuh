// The stages of the mesh as bodies for a backend's `launch`, in the order of their launches: sorting, points_to_mesh,
// influence function, filter, mesh_to_points, sums. What they do is in the files of the stages.
#pragma once

#include <type_traits>

#include "kspace_filter.cuh"

namespace les::cuda {

// ---- points

/// Which mesh points are first nodes along each axis, and whether all input is finite; `mesh` is the whole one.
struct MarkPoints {
    static constexpr int threads = 256;
    struct Shared {};
    const CellTerms* cell;
    MeshShape mesh;
    int nodes;
    const double *positions, *charges;
    std::int64_t n_atoms;
    char* occupied;  // axis 0, then 1, then 2
    std::int32_t* status;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_atoms, [&](std::int64_t atom, int) {
            std::int32_t node[3];
            double t[3], sum = 0.0;
            const bool finite = locate(*cell, mesh, nodes, positions + 3 * atom, node, t);
            for (int channel = 0; channel < mesh.channels; ++channel) sum += charges[atom * mesh.channels + channel];
            if (!finite || !(sum - sum == 0.0)) *status = not_finite;
            char* of_axis = occupied;
            LES_UNROLL
            for (int a = 0; a < 3; ++a) {
                of_axis[node[a]] = 1;
                of_axis += mesh.whole[a];
            }
        });
    }
};

/// What sorting needs of the atoms.
template <class Real>
struct PointInput {
    const CellTerms* cell;
    MeshShape mesh;
    int nodes;
    const double *positions, *charges;
    std::int64_t n_atoms;
    std::int32_t *tile_and_number, *unordered, *status;
    SortedPoints<Real> points;
};

template <class Real>
struct CountPoints {
    static constexpr int threads = 256;
    struct Shared {};
    PointInput<Real> input;
    std::int32_t* counts;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, input.n_atoms, [&](std::int64_t atom, int) {
            count_point(*input.cell, input.mesh, input.nodes, input.positions, atom, counts, input.tile_and_number,
                        input.status);
        });
    }
};

struct ScanPoints {
    static constexpr int threads = 1024;
    struct Shared {
        std::int32_t sums[2 * threads];
    };
    std::int32_t n_tiles;
    std::int32_t *counts, *begin;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        scan_counts(block, shared.sums, n_tiles, counts, begin);
    }
};

/// Points to their places in the order of counting; with `unordered`, their numbers alone, for RankPoints.
template <class Real>
struct PlacePoints {
    static constexpr int threads = 256;
    struct Shared {};
    PointInput<Real> input;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, input.n_atoms, [&](std::int64_t i, int) {
            const auto atom = static_cast<std::int32_t>(i);
            if (input.unordered != nullptr) {
                place_atom(atom, input.tile_and_number, input.points.begin, input.unordered);
            } else {
                place_point(*input.cell, input.mesh, input.nodes, input.positions, input.charges, atom,
                            input.tile_and_number, input.points, input.status);
            }
        });
    }
};

template <class Real>
struct RankPoints {
    static constexpr int threads = 256;
    struct Shared {};
    PointInput<Real> input;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, input.n_atoms, [&](std::int64_t place, int) {
            rank_point(*input.cell, input.mesh, input.nodes, input.positions, input.charges, place,
                       input.tile_and_number, input.unordered, input.points, input.status);
        });
    }
};

// ---- charges to the mesh: a block for each tile of each channel

/// Collected or scattered; for the latter the mesh was cleared before.
template <class Real, int nodes, bool collected>
struct TilesToMesh {
    static constexpr int threads = collected ? collect_threads : scatter_threads;
    using Shared = std::conditional_t<collected, CollectShared<Real, nodes>, ScatterShared<Real, nodes>>;
    WindowPieces<Real, nodes> window;
    MeshShape mesh;
    SortedPoints<Real> points;
    Real* data;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        const auto tile = block.index % mesh.n_tiles(), channel = block.index / mesh.n_tiles();
        if constexpr (collected) {
            collect_tile(block, shared, window, mesh, points, tile, channel, data);
        } else {
            scatter_tile(block, shared, window, mesh, points, tile, channel, data);
        }
    }
};
template <class Real, int nodes>
using CollectTiles = TilesToMesh<Real, nodes, true>;
template <class Real, int nodes>
using ScatterTiles = TilesToMesh<Real, nodes, false>;

// ---- k-space

template <class Real>
struct MakeInfluence {
    static constexpr int threads = influence_threads;
    struct Shared {
        double scratch[block_sum_bytes(n_self_sums, threads) / sizeof(double)];
    };
    const CellTerms* cell;
    MeshShape modes;
    AxisTables tables;
    Real* influence;  // cleared before
    double* totals;   // (blocks, n_self_sums)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        influence_modes(block, shared.scratch, *cell, modes, tables, influence, totals + block.index * n_self_sums);
    }
};

/// By one block, from the sums over all modes of all domains.
struct CloseInfluence {
    static constexpr int threads = influence_threads;
    struct Shared {
        double sums[n_self_sums];
    };
    const CellTerms* cell;
    const double* sums;
    SelfTerms* self;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        close_influence(block, shared.sums, *cell, sums, 1, *self);
    }
};

template <class Real>
struct FilterModes {
    static constexpr int threads = filter_threads;
    struct Shared {
        double scratch[block_sum_bytes(n_filter_sums, threads) / sizeof(double)];
    };
    const CellTerms* cell;
    MeshShape modes;
    const Real* influence;
    Real* data;
    double* totals;  // (blocks, n_filter_sums)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        filter_modes(block, shared.scratch, *cell, modes, influence, data, totals + block.index * n_filter_sums);
    }
};

// ---- the mesh to the charges

template <class Real, int nodes>
struct GatherTiles {
    static constexpr int threads = gather_threads;
    struct Shared {
        alignas(double) char bytes[gather_shared_bytes<Real, nodes>()];  // of tiles, then of sums
    };
    WindowPieces<Real, nodes> window;
    MeshShape mesh;
    const CellTerms* cell;
    const SelfTerms* self;
    SortedPoints<Real> points;
    const double* charges;
    const Real* data;
    AtomResults results;
    double* totals;  // (blocks, n_point_sums)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        gather_tiles(block, *reinterpret_cast<GatherShared<Real, nodes>*>(shared.bytes), window, mesh, *cell, *self,
                     points, charges, data, results, totals + block.index * n_point_sums);
    }
};

/// Sums of all blocks in a fixed order, by one block.
template <int n_sums>
struct SumBlocks {
    static constexpr int threads = close_threads;
    struct Shared {
        double partial[threads];
    };
    const double* totals;  // (n_blocks, n_sums)
    int n_blocks;
    double* sums;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        add_blocks<n_sums>(block, shared.partial, totals, n_blocks, sums);
    }
};

}  // namespace les::cuda
