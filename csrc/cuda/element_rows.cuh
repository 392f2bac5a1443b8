// Centres sorted by element, in the order of their numbers within one: the rows that the exported network is given, so
// that its map of each element acts on rows that lie together and their number need not be looked for.
#pragma once

#include "neighbor_cells.cuh"

namespace les::cuda {

/// After a search, or if the type of a centre has changed; in one block.
struct SortElements {
    static constexpr int threads = 256;
    struct Shared {
        std::int32_t sums[2 * threads];
    };
    NeighborArrays list;
    std::int32_t n_types;
    const std::int64_t* types;  // (n_atoms,)
    std::int64_t* order;        // (n_centres,)

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        if (list.state->search == 0 && list.state->types_changed == 0) return;
        const std::int32_t part = (list.n_centres + threads - 1) / threads;
        const auto each_of = [&](int thread, const auto& item) {
            const std::int32_t first = thread * part, end = first + part;
            for (std::int32_t i = first; i < end && i < list.n_centres; ++i) item(i);
        };
        PerThread<std::int32_t, threads> before;  // rows of the elements before
        block.each([&](int thread) { before[thread] = 0; });
        for (std::int32_t element = 0; element < n_types; ++element) {
            block.each([&](int thread) {
                std::int32_t count = 0;
                each_of(thread, [&](std::int32_t i) { count += types[i] == element ? 1 : 0; });
                shared.sums[thread] = count;
            });
            const std::int32_t* sums = add_up(block, shared.sums);
            block.each([&](int thread) {
                std::int32_t row = before[thread] + (thread == 0 ? 0 : sums[thread - 1]);
                each_of(thread, [&](std::int32_t i) {
                    if (types[i] == element) order[row++] = i;
                });
                before[thread] += sums[threads - 1];
                if (thread == 0) list.state->n_of_element[element] = sums[threads - 1];
            });
        }
    }
};

}  // namespace les::cuda
