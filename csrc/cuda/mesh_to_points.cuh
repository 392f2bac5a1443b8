// The mesh back to the charges: potential and slopes by the window and its derivative, from a tile of potentials in
// shared memory; then self terms, forces and the sums over all atoms, as MeshSolver::mesh_to_points of the CPU does.
#pragma once

#include "points_to_mesh.cuh"

namespace les::cuda {

// A tile of 8^3 mesh points holds 10 to 40 atoms: batches of 16 leave few threads idle.
constexpr int gather_batch = 16;
constexpr int gather_slices = 8;  // threads that share a point: planes of its window in turn
constexpr int gather_threads = gather_slices * gather_batch;
constexpr int most_gather_blocks = 1024;

/// Sums over atoms: net force, sum of q^2, sums of q^2 cos(2 pi u), energy.
constexpr int force_sum = 0, square_sum = 3, ripple_sum = 4, energy_sum = 7, n_point_sums = 8;

template <class Real, int nodes>
struct GatherShared {
    static constexpr int batch = gather_batch, threads = gather_threads;
    WideTile<Real, nodes> tile;
    Real weights[batch][3][nodes], slopes[batch][3][nodes];
    Real values[threads][4];
    std::int32_t corner[batch];
};

template <class Real, int nodes>
LES_CONSTEXPR int gather_shared_bytes() {
    constexpr int own = sizeof(GatherShared<Real, nodes>), sums = block_sum_bytes(n_point_sums, gather_threads);
    return own > sums ? own : sums;
}

/// What is written for every atom, in the order of the host.
struct AtomResults {
    double *potentials, *forces;  // (n, n_channels), V, and (n, 3), eV/angstrom
};

/// Tiles block.index, block.index + block.count, ...; the sums of the block go to `block_sums`.
template <class Real, int nodes>
LES_DEVICE void gather_tiles(const Block<gather_threads>& block, GatherShared<Real, nodes>& shared,
                             const WindowPieces<Real, nodes>& window, const MeshShape& mesh, const CellTerms& cell,
                             const SelfTerms& self, const SortedPoints<Real>& points, const double* charges,
                             const Real* data, const AtomResults& results, double* block_sums) {
    using Tile = WideTile<Real, nodes>;
    constexpr int batch = gather_batch, threads = gather_threads;
    PerThread<Sums<n_point_sums>, threads> sums;
    struct Slope {
        double v[3];
    };
    PerThread<Slope, threads> slopes;
    block.each([&](int thread) {
        for (int s = 0; s < n_point_sums; ++s) sums[thread].v[s] = 0.0;
    });
    const std::int32_t n_tiles = mesh.n_tiles();
    for (std::int32_t tile = block.index; tile < n_tiles; tile += block.count) {
        const std::int32_t begin = points.begin[tile], end = points.begin[tile + 1];
        std::int32_t place[3];
        tile_place(mesh, tile, place);
        for (std::int32_t start = begin; start < end; start += batch) {
            const int count = end - start < batch ? end - start : batch;
            block.each([&](int thread) {
                for (int task = thread; task < 3 * count; task += threads) {
                    const int index = task / 3, axis = task - 3 * index;
                    const std::int64_t point = start + index;
                    for_weights_and_slopes(window, points.t[3 * point + axis], [&](int node, Real weight, Real slope) {
                        shared.weights[index][axis][node] = weight;
                        shared.slopes[index][axis][node] = slope;
                    });
                    if (axis == 0) {
                        const std::int32_t* first = points.first + 3 * point;
                        shared.corner[index] = (first[0] - place[0] * mesh.edge) * Tile::plane +
                                               (first[1] - place[1] * mesh.edge) * Tile::row + first[2] -
                                               place[2] * mesh.edge;
                    }
                }
                slopes[thread] = Slope{};
            });
            for (int channel = 0; channel < mesh.channels; ++channel) {
                if (mesh.channels > 1 || start == begin) {
                    const Real* of_channel = data + channel * mesh.channel();
                    block.each([&](int thread) {
                        shared.tile.for_points(mesh, place, thread, threads,
                                               [&](Real& value, std::int64_t at) { value = of_channel[at]; });
                    });
                }
                block.each([&](int thread) {
                    const int index = thread / gather_slices, slice = thread % gather_slices;
                    if (index >= count) return;
                    Real weight2[nodes], slope2[nodes], value = 0, slope[3] = {0, 0, 0};
                    LES_UNROLL
                    for (int n2 = 0; n2 < nodes; ++n2) {
                        weight2[n2] = shared.weights[index][2][n2];
                        slope2[n2] = shared.slopes[index][2][n2];
                    }
                    for (int n0 = slice; n0 < nodes; n0 += gather_slices) {
                        // values and slopes of a plane: weighted along axes 1 and 2
                        Real plane = 0, plane1 = 0, plane2 = 0;
                        const Real* row = shared.tile.v + shared.corner[index] + n0 * Tile::plane;
                        for (int n1 = 0; n1 < nodes; ++n1, row += Tile::row) {
                            Real weighted = 0, sloped = 0;
                            LES_UNROLL
                            for (int n2 = 0; n2 < nodes; ++n2) {
                                weighted += weight2[n2] * row[n2];
                                sloped += slope2[n2] * row[n2];
                            }
                            plane += shared.weights[index][1][n1] * weighted;
                            plane1 += shared.slopes[index][1][n1] * weighted;
                            plane2 += shared.weights[index][1][n1] * sloped;
                        }
                        const Real weight0 = shared.weights[index][0][n0];
                        value += weight0 * plane;
                        slope[0] += shared.slopes[index][0][n0] * plane;
                        slope[1] += weight0 * plane1;
                        slope[2] += weight0 * plane2;
                    }
                    shared.values[thread][0] = value;
                    LES_UNROLL
                    for (int a = 0; a < 3; ++a) shared.values[thread][a + 1] = slope[a];
                });
                // the first threads take one point each
                block.each([&](int thread) {
                    if (thread >= count) return;
                    const std::int64_t point = start + thread;
                    const std::int64_t entry = static_cast<std::int64_t>(points.atom[point]) * mesh.channels + channel;
                    Real value[4] = {0, 0, 0, 0};
                    for (int slice = 0; slice < gather_slices; ++slice) {
                        LES_UNROLL
                        for (int i = 0; i < 4; ++i) value[i] += shared.values[thread * gather_slices + slice][i];
                    }
                    Real cosine[3], sine[3];
                    double varying = 0.0;
                    LES_UNROLL
                    for (int a = 0; a < 3; ++a) {
                        ripple(points.t[3 * point + a], cosine[a], sine[a]);
                        varying += cell.sign * self.ripple[a] * cosine[a];
                    }
                    const double q = charges[entry];
                    const double potential = value[0] + 2.0 * (self.correction - cell.removed_self - varying) * q;
                    results.potentials[entry] = potential;
                    LES_UNROLL
                    for (int a = 0; a < 3; ++a) {
                        slopes[thread].v[a] += q * (value[a + 1] - q * cell.sign * self.ripple[a] * sine[a]);
                        sums[thread].v[ripple_sum + a] += cell.sign * q * q * cosine[a];
                    }
                    sums[thread].v[square_sum] += q * q;
                    sums[thread].v[energy_sum] += 0.5 * q * potential;
                });
            }
            block.each([&](int thread) {
                if (thread >= count) return;
                double* force = results.forces + 3 * static_cast<std::int64_t>(points.atom[start + thread]);
                LES_UNROLL
                for (int x = 0; x < 3; ++x) {
                    double sum = 0.0;
                    LES_UNROLL
                    for (int a = 0; a < 3; ++a) sum -= slopes[thread].v[a] * cell.inverse[x][a] * mesh.whole[a];
                    force[x] = sum;
                    sums[thread].v[force_sum + x] += sum;
                }
            });
        }
    }
    block_sum(block, sums, reinterpret_cast<double*>(&shared), block_sums);
}

}  // namespace les::cuda
