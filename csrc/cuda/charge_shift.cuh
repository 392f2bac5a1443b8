// The neutrality option on the device: charges, or potentials on the way back, less their mean. Sums in a fixed order.
#pragma once

#include "block.cuh"

namespace les::cuda {

/// Sum of each channel over the atoms; a block for each channel.
struct SumChannels {
    static constexpr int threads = 256;
    struct Shared {
        double scratch[block_sum_bytes(1, threads) / sizeof(double)];
    };
    const double* rows;  // (n_atoms, n_channels)
    std::int64_t n_atoms;
    int n_channels;
    double* sums;  // (n_channels,)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        PerThread<Sums<1>, threads> sum;
        block.each([&](int thread) {
            sum[thread].v[0] = 0.0;
            for (std::int64_t i = thread; i < n_atoms; i += threads)
                sum[thread].v[0] += rows[i * n_channels + block.index];
        });
        block_sum(block, sum, shared.scratch, sums + block.index);
    }
};

/// shifted = row - (sum - total) / n_atoms per channel; may be in place.
struct ShiftChannels {
    static constexpr int threads = 256;
    struct Shared {};
    const double *rows, *sums;
    const double* total;  // (n_channels,), or null for 0
    std::int64_t n_atoms;
    int n_channels;
    double* shifted;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_atoms * n_channels, [&](std::int64_t n, int) {
            const int channel = static_cast<int>(n % n_channels);
            const double excess = sums[channel] - (total != nullptr ? total[channel] : 0.0);
            shifted[n] = rows[n] - excess / static_cast<double>(n_atoms);
        });
    }
};

}  // namespace les::cuda
