// What a domain shares of its bricks and pencils, to and from the buffers of messages on the device. The blocks are
// those of csrc/src/mesh_division.h with their places in the buffer; sums are in the order of the blocks.
#pragma once

#include "block.cuh"

namespace les::cuda {

/// counts[0] x counts[1] rows of `width` reals, in an array from `first` and in the buffer from `place`.
struct BufferBlock {
    std::int64_t first, strides[2], place;
    std::int32_t counts[2], width;
    std::int32_t low[3];  // of z pencils: the first plane, row of it and place in the row
};

/// Place in the array of real n of the buffer; blocks are in the order of their places.
LES_DEVICE std::int64_t array_place(const BufferBlock* blocks, int n_blocks, std::int64_t n) {
    int low = 0, high = n_blocks;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (blocks[middle].place <= n) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const BufferBlock& block = blocks[low];
    // a domain has less than 2^32 reals of the mesh, see check_size in mesh_setup.cpp
    const auto i = static_cast<std::uint32_t>(n - block.place), width = static_cast<std::uint32_t>(block.width),
               rows = static_cast<std::uint32_t>(block.counts[1]), row = i / width;
    return block.first + row / rows * block.strides[0] + row % rows * block.strides[1] + i % width;
}

/// Array to buffers: the first `n_sent` reals are for other domains, the rest for this one.
template <class Real>
struct PackBlocks {
    static constexpr int threads = 256;
    struct Shared {};
    const BufferBlock* blocks;
    int n_blocks;
    std::int64_t n_sent, n_all;
    const Real* data;
    Real *sent, *kept;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_all, [&](std::int64_t n, int) {
            (n < n_sent ? sent + n : kept + (n - n_sent))[0] = data[array_place(blocks, n_blocks, n)];
        });
    }
};

/// Buffer to array.
template <class Real>
struct UnpackBlocks {
    static constexpr int threads = 256;
    struct Shared {};
    const BufferBlock* blocks;
    int n_blocks;
    std::int64_t n_all;
    const Real* received;
    Real* data;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_all, [&](std::int64_t n, int) { data[array_place(blocks, n_blocks, n)] = received[n]; });
    }
};

/// What bricks hold of the z pencils, added up: every real of the pencils is written once, the padding of rows as zero.
template <class Real>
struct AddBlocks {
    static constexpr int threads = 256;
    struct Shared {};
    const BufferBlock* blocks;
    int n_blocks;
    std::int64_t n_rows;                  // of the pencils
    std::int32_t row_stride, plane_rows;  // reals of a row, rows of a plane
    const Real* received;
    Real* pencils;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, n_rows * row_stride, [&](std::int64_t n, int) {
            const std::int32_t row = static_cast<std::int32_t>(n / row_stride);
            const std::int32_t place[3] = {row / plane_rows, row % plane_rows,
                                           static_cast<std::int32_t>(n % row_stride)};
            Real sum = 0;
            for (int b = 0; b < n_blocks; ++b) {
                const BufferBlock& of = blocks[b];
                const std::int32_t i = place[0] - of.low[0], j = place[1] - of.low[1], k = place[2] - of.low[2];
                if (i < 0 || i >= of.counts[0] || j < 0 || j >= of.counts[1] || k < 0 || k >= of.width) continue;
                sum += received[of.place + (static_cast<std::int64_t>(i) * of.counts[1] + j) * of.width + k];
            }
            pencils[n] = sum;
        });
    }
};

}  // namespace les::cuda
