// The end of an evaluation on the device: forces of the atoms from the gradients on the edges, each atom by one thread
// that goes through its own edges and through those that end at it, with the virial and the energies on the way.
#pragma once

#include "kspace_filter.cuh"
#include "les/device_engine.h"
#include "neighbor_edges.cuh"

namespace les::cuda {

/// Sums over atoms: edge virial, energy of the network, and whether forces are finite.
constexpr int edge_virial_sum = 0, node_energy_sum = 9, finite_sum = 10, n_edge_sums = 11;
constexpr int most_force_blocks = 1024;

/// Calls item(edge, outgoing) for the edges from atom i and for those that end at it, in the order of its candidates.
template <class Item>
LES_DEVICE void each_edge_of(const NeighborArrays& list, const EdgeRows& rows, std::int64_t i, const Item& item) {
    for (std::int32_t c = 0; c < list.n_candidates[i]; ++c) {
        const std::int64_t at = static_cast<std::int64_t>(c) * list.n_atoms + i;
        const std::int64_t j = list.candidates[at].neighbour;
        if (i < list.n_centres && list.slots[at] != no_slot) item(i * rows.slots + list.slots[at], true);
        // no_slot: a table that was too small, in a graph that was launched before the host knew
        if (j >= list.n_centres || list.reverse[at] == no_slot) continue;
        const std::uint16_t slot = list.slots[static_cast<std::int64_t>(list.reverse[at]) * list.n_atoms + j];
        if (slot != no_slot) item(j * rows.slots + slot, false);
    }
}

/// F_i = long-range force + sum of dE/dv over the edges from i - sum over the edges to i, with v = r_j - r_i.
struct CollectForces {
    static constexpr int threads = 128;
    struct Shared {
        double scratch[block_sum_bytes(n_edge_sums, threads) / sizeof(double)];
    };
    NeighborArrays list;
    EdgeRows rows;
    const double* gradients;          // (n_centres, slots, 3), eV/angstrom
    const double* long_range_forces;  // (n_centres, 3), or null
    const double* node_energies;      // (n_centres,)
    double* forces;                   // (n_atoms, 3)
    double* totals;                   // (blocks, n_edge_sums)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<n_edge_sums>, threads> sums;
        block.each([&](int thread) {
            for (int s = 0; s < n_edge_sums; ++s) sums[thread].v[s] = 0.0;
        });
        each_item(block, list.n_atoms, [&](std::int64_t i, int thread) {
            double* sum = sums[thread].v;
            double force[3] = {0.0, 0.0, 0.0};
            if (i < list.n_centres) {
                sum[node_energy_sum] += node_energies[i];
                if (long_range_forces != nullptr) {
                    LES_UNROLL
                    for (int x = 0; x < 3; ++x) force[x] = long_range_forces[3 * i + x];
                }
            }
            each_edge_of(list, rows, i, [&](std::int64_t edge, bool outgoing) {
                const double *gradient = gradients + 3 * edge, *vector = rows.vectors + 3 * edge;
                LES_UNROLL
                for (int x = 0; x < 3; ++x) {
                    force[x] += outgoing ? gradient[x] : -gradient[x];
                    LES_UNROLL
                    for (int y = 0; outgoing && y < 3; ++y) sum[edge_virial_sum + 3 * x + y] -= gradient[x] * vector[y];
                }
            });
            LES_UNROLL
            for (int x = 0; x < 3; ++x) {
                forces[3 * i + x] = force[x];
                sum[finite_sum] += is_finite(force[x]) ? 0.0 : 1.0;
            }
        });
        block_sum(block, sums, shared.scratch, totals + block.index * n_edge_sums);
    }
};

/// What the response of the charges to a field adds to the results of a step, see field_terms.cuh.
struct ResponseSums {
    double polarization[3], field_energy, virial[9], current[3];
};

/// Totals of all blocks in a fixed order, and the other sums.
struct CloseStep {
    static constexpr int threads = close_threads;
    struct Shared {
        double partial[threads], sums[n_edge_sums];
    };
    const double* totals;
    int n_blocks;
    const Summary *long_range, *external;  // or null
    const ResponseSums* response;          // or null
    DeviceSummary* summary;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        add_blocks<n_edge_sums>(block, shared.partial, totals, n_blocks, shared.sums);
        block.each([&](int thread) {
            if (thread < 9) {
                const int a = thread / 3, b = thread % 3;
                double virial = 0.5 * (shared.sums[3 * a + b] + shared.sums[3 * b + a]);
                if (long_range != nullptr) virial += 0.5 * (long_range->virial[a][b] + long_range->virial[b][a]);
                if (external != nullptr) virial += 0.5 * (external->virial[a][b] + external->virial[b][a]);
                if (response != nullptr) virial += response->virial[thread];
                summary->virial[thread] = virial;
            }
            if (thread < 3) {
                summary->polarization[thread] = response != nullptr ? response->polarization[thread] : 0.0;
                summary->polarization_current[thread] = response != nullptr ? response->current[thread] : 0.0;
            }
            if (thread != 0) return;
            summary->short_range_energy = shared.sums[node_energy_sum];
            summary->long_range_energy = long_range != nullptr ? long_range->energy : 0.0;
            summary->field_energy = response != nullptr ? response->field_energy : 0.0;
            summary->embedding_energy = external != nullptr ? external->energy : 0.0;
            const bool finite = is_finite(summary->short_range_energy + summary->long_range_energy +
                                          summary->field_energy + summary->embedding_energy) &&
                                shared.sums[finite_sum] == 0.0 && (long_range == nullptr || long_range->status == 0.0);
            const bool coincides = external != nullptr && external->status != 0.0;
            summary->status = coincides ? 2.0 : finite ? 0.0 : 1.0;
        });
    }
};

}  // namespace les::cuda
