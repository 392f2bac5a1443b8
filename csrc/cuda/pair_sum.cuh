// The long-range sum of isolated systems on the device, over all pairs or those of some of the atoms: each thread has
// an atom and meets all others in tiles that a block shares. The terms are those of csrc/src/isolated_sum.cpp.
#pragma once

#include "kspace_filter.cuh"
#include "neighbor_cells.cuh"

namespace les::cuda {

/// Sums over atoms: virial, energy, and whether atoms coincide.
constexpr int pair_virial_sum = 0, pair_energy_sum = 9, pair_wrong_sum = 10, n_pair_sums = 11;

/// f = erf(a r) / r and its derivative.
struct PairFunction {
    double f, slope;
};
LES_DEVICE PairFunction pair_function(double r, double a) {
    constexpr double two_by_root_pi = 1.1283791670955125739;
    const double f = erf(a * r) / r;
    return {f, (two_by_root_pi * a * exp(-a * a * r * r) - f) / r};
}

struct SumPairs {
    static constexpr int threads = 128, channels_at_once = 4;
    struct Tile {
        double r[threads][3], q[threads][channels_at_once];
    };
    union Shared {
        Tile tile;
        double scratch[block_sum_bytes(n_pair_sums, threads) / sizeof(double)];
    };
    const double *positions, *charges;
    std::int64_t n_atoms, first_row, n_rows;  // rows are the atoms from the first one on whose pairs are summed
    int n_channels;
    double a;                     // 1 / (sqrt(2) smearing)
    double constant, self;        // coulomb constant; potential of a unit charge at itself, if that is kept
    double *potentials, *forces;  // (n_rows, n_channels) and (n_rows, 3)
    double* totals;               // (blocks, n_pair_sums)

    /// One block for each `threads` rows.
    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        struct Atom {
            double r[3], q[channels_at_once], potential[channels_at_once], force[3];
        };
        PerThread<Atom, threads> atoms;
        PerThread<Sums<n_pair_sums>, threads> sums;
        const std::int64_t first = static_cast<std::int64_t>(block.index) * threads;
        const auto is_row = [&](int thread) { return first + thread < n_rows; };
        const auto atom_of = [&](int thread) { return is_row(thread) ? first_row + first + thread : n_atoms; };
        block.each([&](int thread) {
            for (int s = 0; s < n_pair_sums; ++s) sums[thread].v[s] = 0.0;
            for (int x = 0; x < 3; ++x) {
                atoms[thread].r[x] = is_row(thread) ? positions[3 * atom_of(thread) + x] : 0.0;
                atoms[thread].force[x] = 0.0;
            }
        });
        for (int channel = 0; channel < n_channels; channel += channels_at_once) {
            const int count = n_channels - channel < channels_at_once ? n_channels - channel : channels_at_once;
            block.each([&](int thread) {
                Atom& own = atoms[thread];
                for (int c = 0; c < channels_at_once; ++c) {
                    own.q[c] = charge_of(atom_of(thread), channel, c, count);
                    own.potential[c] = self * own.q[c];
                }
            });
            for (std::int64_t start = 0; start < n_atoms; start += threads) {
                block.each([&](int thread) {
                    const std::int64_t j = start + thread;
                    for (int x = 0; x < 3; ++x) shared.tile.r[thread][x] = j < n_atoms ? positions[3 * j + x] : 0.0;
                    for (int c = 0; c < channels_at_once; ++c)
                        shared.tile.q[thread][c] = charge_of(j, channel, c, count);
                });
                block.each([&](int thread) {
                    if (!is_row(thread)) return;
                    const std::int64_t i = atom_of(thread);
                    const int n_others = static_cast<int>(n_atoms - start < threads ? n_atoms - start : threads);
                    for (int other = 0; other < n_others; ++other) {
                        if (start + other != i) add_pair(atoms[thread], shared.tile, other, sums[thread].v);
                    }
                });
            }
            block.each([&](int thread) {
                const std::int64_t i = first + thread;
                if (!is_row(thread)) return;
                const Atom& own = atoms[thread];
                for (int c = 0; c < count; ++c) {
                    potentials[i * n_channels + channel + c] = own.potential[c];
                    sums[thread].v[pair_energy_sum] += 0.5 * own.q[c] * own.potential[c];
                }
                for (int x = 0; x < 3; ++x) forces[3 * i + x] = own.force[x];
            });
        }
        block_sum(block, sums, shared.scratch, totals + block.index * n_pair_sums);
    }

    LES_DEVICE double charge_of(std::int64_t atom, int channel, int c, int count) const {
        return atom < n_atoms && c < count ? charges[atom * n_channels + channel + c] : 0.0;
    }

    template <class Atom>
    LES_DEVICE void add_pair(Atom& own, const Tile& tile, int other, double* sum) const {
        double d[3], length_sq = 0.0;
        LES_UNROLL
        for (int x = 0; x < 3; ++x) {
            d[x] = own.r[x] - tile.r[other][x];
            length_sq += d[x] * d[x];
        }
        const double r = sqrt(length_sq);
        if (r < 1e-6) {
            sum[pair_wrong_sum] += 1.0;
            return;
        }
        const PairFunction pair = pair_function(r, a);
        double qq = 0.0;
        LES_UNROLL
        for (int c = 0; c < channels_at_once; ++c) {
            own.potential[c] += constant * tile.q[other][c] * pair.f;
            qq += own.q[c] * tile.q[other][c];
        }
        const double force = -constant * qq * pair.slope / r;
        LES_UNROLL
        for (int x = 0; x < 3; ++x) {
            own.force[x] += force * d[x];
            // each pair is met twice, once from either atom
            LES_UNROLL
            for (int y = 0; y < 3; ++y) sum[pair_virial_sum + 3 * x + y] += 0.5 * force * d[x] * d[y];
        }
    }
};

struct ClosePairs {
    static constexpr int threads = close_threads;
    struct Shared {
        double partial[threads], sums[n_pair_sums];
    };
    const double* totals;
    int n_blocks;
    Summary* summary;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        add_blocks<n_pair_sums>(block, shared.partial, totals, n_blocks, shared.sums);
        block.each([&](int thread) {
            if (thread < 9) summary->virial[thread / 3][thread % 3] = shared.sums[pair_virial_sum + thread];
            if (thread < 3) summary->net_force[thread] = 0.0;
            if (thread != 0) return;
            summary->energy = shared.sums[pair_energy_sum];
            summary->status = shared.sums[pair_wrong_sum] == 0.0 ? 0.0 : 1.0;
        });
    }
};

}  // namespace les::cuda
