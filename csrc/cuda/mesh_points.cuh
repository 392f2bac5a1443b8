// Sorting of points by tiles of the mesh, on the device: nodes and places from float64 positions, counting, a scan, and
// the records in the order of tiles. Stable in the deterministic mode, where the place of a point among those of its
// tile is the rank of its atom.
#pragma once

#include "block.cuh"
#include "mesh_shape.cuh"

namespace les::cuda {

/// Points in the order of tiles.
template <class Real>
struct SortedPoints {
    std::int32_t* first;  // (n, 3), first node along each axis
    Real* t;              // (n, 3), place behind it
    Real* charges;        // (n, n_channels)
    std::int32_t* atom;   // (n,)
    std::int32_t* begin;  // (n_tiles + 1,), first point of each tile
};

constexpr int not_finite = 1;

/// First node, counted from the origin of the brick, and place behind it along each axis; false for a position that is
/// not finite. Every kernel must find the same node, so no rounding is left to the compiler.
LES_DEVICE bool locate(const CellTerms& cell, const MeshShape& mesh, int nodes, const double* r, std::int32_t* node,
                       double* t) {
    bool finite = true;
    LES_UNROLL
    for (int a = 0; a < 3; ++a) {
        double fraction = fma(r[0], cell.inverse[0][a], fma(r[1], cell.inverse[1][a], r[2] * cell.inverse[2][a]));
        fraction -= floor(fraction);
        double place = fma(fraction, static_cast<double>(mesh.whole[a]), 1.0 - 0.5 * nodes);
        if (place < 0.0) place += mesh.whole[a];
        if (place >= mesh.whole[a]) place -= mesh.whole[a];
        finite = finite && place >= 0.0;
        const std::int32_t first = finite ? static_cast<std::int32_t>(place) : 0;
        t[a] = place - first;
        node[a] = first < mesh.origin[a] ? first - mesh.origin[a] + mesh.whole[a] : first - mesh.origin[a];
    }
    return finite;
}

LES_DEVICE std::int32_t tile_of(const MeshShape& mesh, const std::int32_t* node) {
    return (node[0] / mesh.edge * mesh.tiles[1] + node[1] / mesh.edge) * mesh.tiles[2] + node[2] / mesh.edge;
}

/// One atom: counts it in its tile and keeps tile and number within it.
LES_DEVICE void count_point(const CellTerms& cell, const MeshShape& mesh, int nodes, const double* positions,
                            std::int64_t atom, std::int32_t* counts, std::int32_t* tile_and_number,
                            std::int32_t* status) {
    std::int32_t node[3];
    double t[3];
    if (!locate(cell, mesh, nodes, positions + 3 * atom, node, t)) *status = not_finite;
    const std::int32_t tile = tile_of(mesh, node);
    tile_and_number[2 * atom] = tile;
    tile_and_number[2 * atom + 1] = atomic_next(counts + tile);
}

/// Inclusive sums of one number of each thread, in the first half of `shared`, by doubling from one half to the other;
/// returns the half where they are.
template <int n_threads>
LES_DEVICE std::int32_t* add_up(const Block<n_threads>& block, std::int32_t* shared) {
    int from = 0;
    for (int distance = 1; distance < n_threads; distance *= 2, from = 1 - from) {
        block.each([&](int thread) {
            const std::int32_t* old = shared + from * n_threads;
            shared[(1 - from) * n_threads + thread] = old[thread] + (thread >= distance ? old[thread - distance] : 0);
        });
    }
    return shared + from * n_threads;
}

/// Counts to first points, by one block; the counts are left at zero for the next evaluation.
template <int n_threads>
LES_DEVICE void scan_counts(const Block<n_threads>& block, std::int32_t* shared, std::int32_t n_tiles,
                            std::int32_t* counts, std::int32_t* begin) {
    const std::int32_t part = (n_tiles + n_threads - 1) / n_threads;
    const auto range_end = [&](std::int32_t first) { return first + part < n_tiles ? first + part : n_tiles; };
    block.each([&](int thread) {
        std::int32_t sum = 0;
        const std::int32_t first = thread * part;
        for (std::int32_t i = first; i < range_end(first); ++i) sum += counts[i];
        shared[thread] = sum;
    });
    const std::int32_t* sums = add_up(block, shared);
    block.each([&](int thread) {
        std::int32_t sum = thread == 0 ? 0 : sums[thread - 1];
        const std::int32_t first = thread * part;
        for (std::int32_t i = first; i < range_end(first); ++i) {
            begin[i] = sum;
            sum += counts[i];
            counts[i] = 0;
        }
        if (thread == n_threads - 1) begin[n_tiles] = sums[thread];
    });
}

/// Writes the record of an atom at its place.
template <class Real>
LES_DEVICE void write_point(const CellTerms& cell, const MeshShape& mesh, int nodes, const double* positions,
                            const double* charges, std::int32_t atom, std::int64_t place,
                            const SortedPoints<Real>& points, std::int32_t* status) {
    std::int32_t node[3];
    double t[3];
    locate(cell, mesh, nodes, positions + 3 * static_cast<std::int64_t>(atom), node, t);
    LES_UNROLL
    for (int a = 0; a < 3; ++a) {
        points.first[3 * place + a] = node[a];
        points.t[3 * place + a] = static_cast<Real>(t[a]);
    }
    points.atom[place] = atom;
    double sum = 0.0;
    for (int channel = 0; channel < mesh.channels; ++channel) {
        const double q = charges[static_cast<std::int64_t>(atom) * mesh.channels + channel];
        points.charges[place * mesh.channels + channel] = static_cast<Real>(q);
        sum += q;
    }
    if (!(sum - sum == 0.0)) *status = not_finite;
}

/// One atom to its place in the order of counting, with its record, or its number only where ranks follow.
template <class Real>
LES_DEVICE void place_point(const CellTerms& cell, const MeshShape& mesh, int nodes, const double* positions,
                            const double* charges, std::int32_t atom, const std::int32_t* tile_and_number,
                            const SortedPoints<Real>& points, std::int32_t* status) {
    const std::int64_t place = points.begin[tile_and_number[2 * static_cast<std::int64_t>(atom)]] +
                               static_cast<std::int64_t>(tile_and_number[2 * static_cast<std::int64_t>(atom) + 1]);
    write_point(cell, mesh, nodes, positions, charges, atom, place, points, status);
}
LES_DEVICE void place_atom(std::int32_t atom, const std::int32_t* tile_and_number, const std::int32_t* begin,
                           std::int32_t* unordered) {
    const std::int32_t* own = tile_and_number + 2 * static_cast<std::int64_t>(atom);
    unordered[begin[own[0]] + own[1]] = atom;
}

/// One place of the order of counting: its atom to the place that its rank in the tile gives it.
template <class Real>
LES_DEVICE void rank_point(const CellTerms& cell, const MeshShape& mesh, int nodes, const double* positions,
                           const double* charges, std::int64_t place, const std::int32_t* tile_and_number,
                           const std::int32_t* unordered, const SortedPoints<Real>& points, std::int32_t* status) {
    const std::int32_t atom = unordered[place], tile = tile_and_number[2 * static_cast<std::int64_t>(atom)];
    const std::int32_t begin = points.begin[tile], end = points.begin[tile + 1];
    std::int64_t rank = begin;
    for (std::int32_t i = begin; i < end; ++i) rank += unordered[i] < atom ? 1 : 0;
    write_point(cell, mesh, nodes, positions, charges, atom, rank, points, status);
}

}  // namespace les::cuda
