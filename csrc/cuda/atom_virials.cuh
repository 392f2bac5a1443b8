// Virials of single atoms on the device: each edge gives half of its virial to either end, the field what it does to an
// atom, and the long-range virial is shared by charge^2, as in csrc/src/collect.cpp. Of a domain with ghosts there are
// edges alone.
#pragma once

#include "edge_forces.cuh"

namespace les::cuda {

/// Sum of the squares of `n` numbers; one block, in a fixed order.
struct SumSquares {
    static constexpr int threads = 256;
    struct Shared {
        double scratch[block_sum_bytes(1, threads) / sizeof(double)];
    };
    const double* values;
    std::int64_t n;
    double* sum;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<1>, threads> sums;
        block.each([&](int thread) {
            sums[thread].v[0] = 0.0;
            for (std::int64_t i = thread; i < n; i += threads) sums[thread].v[0] += values[i] * values[i];
        });
        block_sum(block, sums, shared.scratch, sum);
    }
};

struct CollectAtomVirials {
    static constexpr int threads = 128;
    struct Shared {};
    NeighborArrays list;
    EdgeRows rows;
    const double* gradients;               // (n_centres, slots, 3), eV/angstrom
    const Summary *long_range, *external;  // virials to share, or null
    const double* charges;                 // (n_centres, n_channels), e
    const double* charge_square;           // sum over all charges, or null where there is nothing to share
    int n_channels;
    const double *field_forces, *moments_from;  // (n_centres, 3), of a field that has an energy, or null
    double* virials;                            // (n_atoms, 3, 3), eV

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            double sum[9] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
            // w = -(dE/dv (x) v + v (x) dE/dv) / 2, one half to either end
            each_edge_of(list, rows, i, [&](std::int64_t edge, bool) {
                add_symmetric(-0.25, gradients + 3 * edge, rows.vectors + 3 * edge, sum);
            });
            if (field_forces != nullptr) add_symmetric(0.5, field_forces + 3 * i, moments_from + 3 * i, sum);
            const double weight = weight_of(i);
            LES_UNROLL
            for (int ab = 0; ab < 9; ++ab)
                virials[9 * i + ab] = sum[ab] + weight * (symmetric(long_range, ab) + symmetric(external, ab));
        });
    }

    LES_DEVICE static void add_symmetric(double factor, const double* u, const double* v, double* sum) {
        LES_UNROLL
        for (int ab = 0; ab < 9; ++ab) sum[ab] += factor * (u[ab / 3] * v[ab % 3] + u[ab % 3] * v[ab / 3]);
    }

    LES_DEVICE static double symmetric(const Summary* of, int ab) {
        return of == nullptr ? 0.0 : 0.5 * (of->virial[ab / 3][ab % 3] + of->virial[ab % 3][ab / 3]);
    }

    /// Without charges there is no long-range virial.
    LES_DEVICE double weight_of(std::int64_t i) const {
        if (n_channels == 0 || charge_square == nullptr || !(*charge_square > 0.0)) return 0.0;
        double square = 0.0;
        for (int c = 0; c < n_channels; ++c) square += charges[i * n_channels + c] * charges[i * n_channels + c];
        return square / *charge_square;
    }
};

}  // namespace les::cuda
