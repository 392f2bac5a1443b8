// External charges on the device: the cross energy of atoms and fixed charges, on the mesh as half the difference of
// two sums, for isolated systems over pairs. The terms are those of csrc/src/embedding.cpp.
#pragma once

#include "pair_sum.cuh"

namespace les::cuda {

/// Atoms, with their charges summed over channels, and external charges in one list.
struct JoinPoints {
    static constexpr int threads = 128;
    struct Shared {};
    std::int64_t n_atoms, n_external;
    int n_channels;
    const double *positions, *charges;                    // (n_atoms, 3), (n_atoms, n_channels)
    const double *external_positions, *external_charges;  // (n_external, 3), (n_external,)
    double *points, *values;                              // (n_atoms + n_external, 3) and (n_atoms + n_external,)

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_atoms + n_external, [&](std::int64_t p, int) {
            const bool is_atom = p < n_atoms;
            const double* r = is_atom ? positions + 3 * p : external_positions + 3 * (p - n_atoms);
            LES_UNROLL
            for (int x = 0; x < 3; ++x) points[3 * p + x] = r[x];
            double value = 0.0;
            for (int c = 0; is_atom && c < n_channels; ++c) value += charges[p * n_channels + c];
            values[p] = is_atom ? value : external_charges[p - n_atoms];
        });
    }
};

/// The second sum of the difference has the opposite external charges.
struct NegateCharges {
    static constexpr int threads = 128;
    struct Shared {};
    std::int64_t n;
    double* values;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n, [&](std::int64_t p, int) { values[p] = -values[p]; });
    }
};

/// `weight` times a sum on the mesh: set, or added to what is there.
struct AddHalf {
    static constexpr int threads = 128;
    struct Shared {};
    double weight;
    bool first;
    std::int64_t n_points;
    const double *mesh_potentials, *mesh_forces;  // (n_points,), (n_points, 3)
    const Summary* mesh_summary;
    double *potentials, *forces;
    Summary* summary;  // its energy comes later

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_points, [&](std::int64_t p, int) {
            add(mesh_potentials[p], potentials[p]);
            LES_UNROLL
            for (int x = 0; x < 3; ++x) add(mesh_forces[3 * p + x], forces[3 * p + x]);
        });
        if (block.index != 0) return;
        block.each([&](int thread) {
            if (thread < 9) add(mesh_summary->virial[thread / 3][thread % 3], summary->virial[thread / 3][thread % 3]);
            if (thread < 3) summary->net_force[thread] = 0.0;
            if (thread == 0) summary->status = (first ? 0.0 : summary->status) + mesh_summary->status;
        });
    }

    LES_DEVICE void add(double from, double& to) const { to = (first ? 0.0 : to) + weight * from; }
};

/// X = sum_i Q_i phi_i; one block, in a fixed order. A difference of energies would lose digits.
struct SumEmbeddingEnergy {
    static constexpr int threads = 256;
    struct Shared {
        double scratch[block_sum_bytes(1, threads) / sizeof(double)];
    };
    const double *values, *potentials;  // of atoms
    std::int64_t n_atoms;
    Summary* summary;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<1>, threads> sums;
        block.each([&](int thread) {
            sums[thread].v[0] = 0.0;
            for (std::int64_t i = thread; i < n_atoms; i += threads) sums[thread].v[0] += values[i] * potentials[i];
        });
        block_sum(block, sums, shared.scratch, &summary->energy);
    }
};

/// Each atom with all external charges, and each of those with all atoms, so that threads share nothing. The totals are
/// those of SumPairs.
struct SumExternalPairs {
    static constexpr int threads = 128;
    struct Shared {
        double scratch[block_sum_bytes(n_pair_sums, threads) / sizeof(double)];
    };
    std::int64_t n_atoms, n_points;
    const double *points, *values;
    double a, constant;           // 1 / (sqrt(2) smearing), coulomb constant
    double *potentials, *forces;  // (n_points,) of atoms alone, (n_points, 3)
    double* totals;               // (blocks, n_pair_sums)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<n_pair_sums>, threads> sums;
        block.each([&](int thread) {
            for (int s = 0; s < n_pair_sums; ++s) sums[thread].v[s] = 0.0;
        });
        each_item(block, n_points, [&](std::int64_t p, int thread) {
            double* sum = sums[thread].v;
            const bool is_atom = p < n_atoms;
            const std::int64_t first = is_atom ? n_atoms : 0, last = is_atom ? n_points : n_atoms;
            double potential = 0.0, force[3] = {0.0, 0.0, 0.0};
            for (std::int64_t other = first; other < last; ++other) {
                double d[3], length_sq = 0.0;
                LES_UNROLL
                for (int x = 0; x < 3; ++x) {
                    d[x] = points[3 * p + x] - points[3 * other + x];
                    length_sq += d[x] * d[x];
                }
                const double r = sqrt(length_sq);
                if (r < 1e-6) {
                    sum[pair_wrong_sum] += 1.0;
                    continue;
                }
                const PairFunction pair = pair_function(r, a);
                potential += constant * values[other] * pair.f;
                const double pull = -constant * values[p] * values[other] * pair.slope / r;
                LES_UNROLL
                for (int x = 0; x < 3; ++x) {
                    force[x] += pull * d[x];
                    LES_UNROLL
                    for (int y = 0; is_atom && y < 3; ++y) sum[pair_virial_sum + 3 * x + y] += pull * d[x] * d[y];
                }
            }
            potentials[p] = potential;
            if (is_atom) sum[pair_energy_sum] += values[p] * potential;
            LES_UNROLL
            for (int x = 0; x < 3; ++x) forces[3 * p + x] = force[x];
        });
        block_sum(block, sums, shared.scratch, totals + block.index * n_pair_sums);
    }
};

/// Forces and potentials of all sums that are there: long-range, of external charges, of a field.
struct AddTerms {
    static constexpr int threads = 128;
    struct Shared {};
    std::int64_t n_atoms;
    int n_channels;
    const double *forces[3], *potentials[3];  // (n_atoms, 3) and (n_atoms, n_channels), the second (n_atoms,), or null
    double *sum_of_forces, *sum_of_potentials;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_atoms, [&](std::int64_t i, int) {
            LES_UNROLL
            for (int x = 0; x < 3; ++x) {
                double sum = 0.0;
                LES_UNROLL
                for (int term = 0; term < 3; ++term)
                    if (forces[term] != nullptr) sum += forces[term][3 * i + x];
                sum_of_forces[3 * i + x] = sum;
            }
            for (int c = 0; c < n_channels; ++c) {
                double sum = 0.0;
                LES_UNROLL
                for (int term = 0; term < 3; ++term)
                    if (potentials[term] != nullptr) sum += potentials[term][term == 1 ? i : i * n_channels + c];
                sum_of_potentials[i * n_channels + c] = sum;
            }
        });
    }
};

}  // namespace les::cuda
