// Sizes of blocks from the memory that torch has taken and what is free; see device_blocks.h.
#include "device_blocks.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cstdio>

namespace les {

namespace {

/// Centres whose evaluation tells how much memory one takes, and from which on that is asked.
constexpr std::int64_t centres_measured = 4096;
/// Smaller blocks are not worth trying when memory runs out.
constexpr std::int64_t least_centres = 256;

}  // namespace

void DeviceBlocks::plan(std::int64_t n_centres, const std::function<void(const DeviceBlock&)>& evaluate) {
    n_centres_ = n_centres;
    if (splits_ && options_.most_centres == 0 && !device_.is_cpu()) find_limit(evaluate);
    const std::int64_t most = splits_ && limit_ > 0 ? limit_ : std::max<std::int64_t>(n_centres, 1);
    const std::int64_t count = std::max<std::int64_t>(1, (n_centres + most - 1) / most);
    blocks_.clear();
    for (std::int64_t b = 0; b < count; ++b) {
        const std::int64_t first = b * n_centres / count;
        blocks_.push_back({first, (b + 1) * n_centres / count - first});
    }
}

bool DeviceBlocks::halve() {
    const std::int64_t n_centres = blocks_.empty() ? 0 : blocks_.front().n_centres;
    if (!splits_ || n_centres / 2 < least_centres) return false;
    if (!device_.is_cpu()) c10::getDeviceAllocator(device_.type())->emptyCache();
    limit_for_ = n_centres_;
    bytes_per_centre_ *= 2.0;  // so that other numbers of centres do not come here again
    said_ = false;
    set_limit(n_centres / 2);
    return true;
}

/// From the memory that an evaluation of some centres takes at most, once for each number of centres.
void DeviceBlocks::find_limit(const std::function<void(const DeviceBlock&)>& evaluate) {
    if (n_centres_ <= centres_measured || n_centres_ == limit_for_) return;
    limit_for_ = n_centres_;
    auto* allocator = c10::getDeviceAllocator(device_.type());
    const auto total = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto before = allocator->getDeviceStats(device_.index());
    free_bytes_ = static_cast<double>(allocator->getMemoryInfo(device_.index()).first) +
                  static_cast<double>(before.reserved_bytes[total].current - before.allocated_bytes[total].current);
    if (bytes_per_centre_ == 0.0) {
        allocator->resetPeakStats(device_.index());
        evaluate({0, centres_measured});
        const auto after = allocator->getDeviceStats(device_.index());
        bytes_per_centre_ =
            static_cast<double>(after.allocated_bytes[total].peak - before.allocated_bytes[total].current) /
            static_cast<double>(centres_measured);
    }
    set_limit(static_cast<std::int64_t>(options_.memory_share * free_bytes_ / std::max(bytes_per_centre_, 1.0)));
}

void DeviceBlocks::set_limit(std::int64_t centres_of_block) {
    limit_ = std::max(centres_of_block, least_centres);
    if (limit_ >= n_centres_ || std::exchange(said_, true)) return;
    char memory[100];
    std::snprintf(memory, sizeof(memory), "one takes %.3g kB and %.3g GB of the GPU's memory are free",
                  1e-3 * bytes_per_centre_, 1e-9 * free_bytes_);
    note_ = "the network runs in blocks of up to " + std::to_string(limit_) +
            " atoms, each evaluated twice: " + (bytes_per_centre_ > 0.0 ? memory : "the memory of the GPU ran out");
}

}  // namespace les
