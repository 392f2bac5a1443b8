// Loops over torch's threads: the engine shares one pool with the network.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace les {

/// Calls f(i) for i = 0 ... count - 1, each thread taking the next when it is free. For work of uneven size whose
/// result does not depend on the order.
template <class Function>
void parallel_dynamic(std::int64_t count, const Function& f) {
    const std::int64_t threads = std::min<std::int64_t>(count, at::get_num_threads());
    if (threads <= 1) {
        for (std::int64_t i = 0; i < count; ++i) f(i);
        return;
    }
    std::atomic<std::int64_t> next{0};
    at::parallel_for(0, threads, 1, [&](std::int64_t, std::int64_t) {
        for (std::int64_t i = next++; i < count; i = next++) f(i);
    });
}

}  // namespace les
