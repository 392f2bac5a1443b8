// Charges to the mesh, in two ways. `collect_tile`: a block owns the mesh points of a tile, keeps them in registers and
// visits all points that reach it, in a fixed order; every mesh point is written once, there are no atomics, and the
// mesh need not be cleared. `scatter_tile`: a block adds its own points to a copy of the tile and its margin in shared
// memory and then to the mesh, with atomics in both (Shih et al., arXiv:2102.08463, describe this for cuFINUFFT);
// less arithmetic, more traffic, and sums whose order changes from run to run.
#pragma once

#include "mesh_points.cuh"
#include "window.cuh"

namespace les::cuda {

constexpr int collect_threads = 64;
constexpr int scatter_threads = 256;

/// Tiles along one axis whose points reach tile `tile`: `count` of them from `first`, periodic.
struct Sources {
    std::int32_t first, count;
};

LES_DEVICE Sources sources_of(const MeshShape& mesh, int axis, int nodes, std::int32_t tile) {
    const std::int32_t points = mesh.points[axis], tiles = mesh.tiles[axis];
    const std::int32_t lowest = tile * mesh.edge - nodes + 1;
    if (lowest >= 0) {
        const std::int32_t first = lowest / mesh.edge;
        return {first, tile - first + 1};
    }
    const std::int32_t first = (lowest % points + points) % points / mesh.edge;
    // from `first` to the end and on from the beginning; all of them where that meets the tile itself again
    const std::int32_t count = tiles - first + tile + 1;
    if (-lowest >= points || first <= tile || count >= tiles) return {0, tiles};
    return {first, count};
}

/// Ranges of points, one after the other: range r holds points from[r] ... until[r] - 1, and offset[r] precede it.
template <int edge, int nodes>
struct SourceRanges {
    // the tile itself, those that windows reach back over, and one more where a narrow last tile is among them; rows of
    // tiles that cross the periodic end are two ranges
    static constexpr int reach = (nodes + edge - 2) / edge + 2, most = 2 * reach * reach;
    std::int32_t from[most], until[most], offset[most + 1], count;

    LES_DEVICE std::int32_t total() const { return offset[count]; }
    LES_DEVICE std::int32_t point(std::int32_t index) const {
        std::int32_t range = 0;
        while (index >= offset[range + 1]) ++range;
        return from[range] + index - offset[range];
    }
};

template <int edge, int nodes>
LES_DEVICE void find_ranges(const Block<collect_threads>& block, const MeshShape& mesh, const std::int32_t* tile,
                            const std::int32_t* begin, SourceRanges<edge, nodes>& ranges) {
    const Sources s0 = sources_of(mesh, 0, nodes, tile[0]), s1 = sources_of(mesh, 1, nodes, tile[1]),
                  s2 = sources_of(mesh, 2, nodes, tile[2]);
    const std::int32_t rows = s0.count * s1.count, end = s2.first + s2.count,
                       wrapped = end > mesh.tiles[2] ? end - mesh.tiles[2] : 0;
    block.each([&](int thread) {
        if (thread >= rows) return;
        const std::int32_t tile0 = (s0.first + thread / s1.count) % mesh.tiles[0],
                           tile1 = (s1.first + thread % s1.count) % mesh.tiles[1];
        const std::int32_t* row = begin + static_cast<std::int64_t>(tile0 * mesh.tiles[1] + tile1) * mesh.tiles[2];
        ranges.from[2 * thread] = row[s2.first];
        ranges.until[2 * thread] = row[end - wrapped];
        ranges.from[2 * thread + 1] = row[0];
        ranges.until[2 * thread + 1] = row[wrapped];
    });
    static_assert(SourceRanges<edge, nodes>::most <= 2 * collect_threads, "one thread for each row of tiles");
    block.each([&](int thread) {
        if (thread != 0) return;
        ranges.count = 2 * rows;
        ranges.offset[0] = 0;
        for (int r = 0; r < 2 * rows; ++r) ranges.offset[r + 1] = ranges.offset[r] + ranges.until[r] - ranges.from[r];
    });
}

LES_DEVICE void tile_place(const MeshShape& mesh, std::int32_t tile, std::int32_t* place) {
    place[2] = tile % mesh.tiles[2];
    place[1] = tile / mesh.tiles[2] % mesh.tiles[1];
    place[0] = tile / mesh.tiles[2] / mesh.tiles[1];
}

template <class Real, int nodes>
struct CollectShared {
    static constexpr int edge = tile_edge<Real, nodes>(), batch = batch_of<Real, nodes>();
    Real weights[batch][3][edge];  // of the mesh points of the tile, zero where the window does not reach
    SourceRanges<edge, nodes> ranges;
};

/// One tile of one channel from all points that reach it.
template <class Real, int nodes>
LES_DEVICE void collect_tile(const Block<collect_threads>& block, CollectShared<Real, nodes>& shared,
                             const WindowPieces<Real, nodes>& window, const MeshShape& mesh,
                             const SortedPoints<Real>& points, std::int32_t tile, int channel, Real* data) {
    constexpr int edge = tile_edge<Real, nodes>(), batch = batch_of<Real, nodes>();
    constexpr int depth = edge * edge * edge / collect_threads;  // mesh points of a thread, along the third axis
    constexpr int parts = edge / depth;                          // threads of a row
    struct Column {
        Real v[depth];
    };
    PerThread<Column, collect_threads> sums;
    std::int32_t place[3];
    tile_place(mesh, tile, place);
    find_ranges(block, mesh, place, points.begin, shared.ranges);
    block.each([&](int thread) {
        LES_UNROLL
        for (int k = 0; k < depth; ++k) sums[thread].v[k] = 0;
    });
    const std::int32_t total = shared.ranges.total();
    for (std::int32_t start = 0; start < total; start += batch) {
        const int count = total - start < batch ? total - start : batch;
        block.each([&](int thread) {
            for (int task = thread; task < 3 * count; task += collect_threads) {
                const int index = task / 3, axis = task - 3 * index;
                const std::int64_t point = shared.ranges.point(start + index);
                Real* weights = shared.weights[index][axis];
                LES_UNROLL
                for (int i = 0; i < edge; ++i) weights[i] = 0;
                // the charge goes with the third axis
                const Real factor = axis == 2 ? points.charges[point * mesh.channels + channel] : Real(1);
                const std::int32_t from = points.first[3 * point + axis] - place[axis] * edge;
                for_weights(window, points.t[3 * point + axis], [&](int node, Real weight) {
                    std::int32_t i = from + node;
                    if (i >= mesh.points[axis]) i -= mesh.points[axis];
                    if (i < 0) i += mesh.points[axis];
                    if (i < edge) weights[i] = factor * weight;
                });
            }
        });
        block.each([&](int thread) {
            const int i0 = thread / (edge * parts), i1 = thread / parts % edge, i2 = thread % parts * depth;
            for (int index = 0; index < count; ++index) {
                const Real weight = shared.weights[index][0][i0] * shared.weights[index][1][i1];
                if (weight == Real(0)) continue;
                const Real* row = shared.weights[index][2] + i2;
                LES_UNROLL
                for (int k = 0; k < depth; ++k) sums[thread].v[k] += weight * row[k];
            }
        });
    }
    block.each([&](int thread) {
        const std::int32_t i0 = place[0] * edge + thread / (edge * parts), i1 = place[1] * edge + thread / parts % edge,
                           i2 = place[2] * edge + thread % parts * depth;
        if (i0 >= mesh.points[0] || i1 >= mesh.points[1]) return;
        Real* row = data + channel * mesh.channel() + i0 * mesh.plane() + i1 * mesh.row();
        LES_UNROLL
        for (int k = 0; k < depth; ++k) {
            if (i2 + k < mesh.points[2]) row[i2 + k] = sums[thread].v[k];
        }
    });
}

/// A tile with the margin that windows reach, in shared memory; rows have an odd length for the sake of the banks.
template <class Real, int nodes>
struct WideTile {
    static constexpr int inner = tile_edge<Real, nodes>(), edge = inner + nodes - 1, row = edge | 1, plane = edge * row;
    Real v[edge * plane];

    LES_DEVICE static std::int32_t wrapped(const MeshShape& mesh, int axis, std::int32_t i) {
        while (i >= mesh.points[axis]) i -= mesh.points[axis];  // once, unless the mesh is smaller than the margin
        return i;
    }

    /// Calls `visit(value, place in the mesh)` for the share of a thread, each mesh point as often as the tile holds
    /// it.
    template <class Visit>
    LES_DEVICE void for_points(const MeshShape& mesh, const std::int32_t* tile, int thread, int threads,
                               const Visit& visit) {
        for (int i = thread; i < edge * edge * edge; i += threads) {
            const int i0 = i / (edge * edge), i1 = i / edge % edge, i2 = i % edge;
            const std::int64_t m0 = wrapped(mesh, 0, tile[0] * inner + i0), m1 = wrapped(mesh, 1, tile[1] * inner + i1),
                               m2 = wrapped(mesh, 2, tile[2] * inner + i2);
            visit(v[i0 * plane + i1 * row + i2], m0 * mesh.plane() + m1 * mesh.row() + m2);
        }
    }
};

template <class Real, int nodes>
struct ScatterShared {
    static constexpr int batch = batch_of<Real, nodes>();
    WideTile<Real, nodes> tile;
    Real weights[batch][3][nodes];
    std::int32_t corner[batch];  // of a point's window in the tile
};

/// All points of one tile to the mesh of one channel, which was cleared before.
template <class Real, int nodes>
LES_DEVICE void scatter_tile(const Block<scatter_threads>& block, ScatterShared<Real, nodes>& shared,
                             const WindowPieces<Real, nodes>& window, const MeshShape& mesh,
                             const SortedPoints<Real>& points, std::int32_t tile, int channel, Real* data) {
    using Tile = WideTile<Real, nodes>;
    constexpr int batch = batch_of<Real, nodes>();
    const std::int32_t begin = points.begin[tile], end = points.begin[tile + 1];
    if (begin == end) return;
    std::int32_t place[3];
    tile_place(mesh, tile, place);
    block.each([&](int thread) {
        for (int i = thread; i < Tile::edge * Tile::plane; i += scatter_threads) shared.tile.v[i] = 0;
    });
    for (std::int32_t start = begin; start < end; start += batch) {
        const int count = end - start < batch ? end - start : batch;
        block.each([&](int thread) {
            for (int task = thread; task < 3 * count; task += scatter_threads) {
                const int index = task / 3, axis = task - 3 * index;
                const std::int64_t point = start + index;
                const Real factor = axis == 2 ? points.charges[point * mesh.channels + channel] : Real(1);
                for_weights(window, points.t[3 * point + axis],
                            [&](int node, Real weight) { shared.weights[index][axis][node] = factor * weight; });
                if (axis == 0) {
                    const std::int32_t* first = points.first + 3 * point;
                    shared.corner[index] = (first[0] - place[0] * mesh.edge) * Tile::plane +
                                           (first[1] - place[1] * mesh.edge) * Tile::row + first[2] -
                                           place[2] * mesh.edge;
                }
            }
        });
        block.each([&](int thread) {
            for (int task = thread; task < count * nodes * nodes; task += scatter_threads) {
                const int index = task / (nodes * nodes), n0 = task / nodes % nodes, n1 = task % nodes;
                const Real weight = shared.weights[index][0][n0] * shared.weights[index][1][n1];
                Real* row = shared.tile.v + shared.corner[index] + n0 * Tile::plane + n1 * Tile::row;
                LES_UNROLL
                for (int n2 = 0; n2 < nodes; ++n2) atomic_add(row + n2, weight * shared.weights[index][2][n2]);
            }
        });
    }
    block.each([&](int thread) {
        shared.tile.for_points(mesh, place, thread, scatter_threads, [&](Real value, std::int64_t at) {
            if (value != Real(0)) atomic_add(data + channel * mesh.channel() + at, value);
        });
    });
}

}  // namespace les::cuda
