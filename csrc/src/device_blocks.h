// The blocks that centres go in where the network of all would not fit into the memory of a GPU.
#pragma once

#include <torch/script.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "device_network.h"

namespace les {

struct DeviceBlock {
    std::int64_t first, n_centres;
};

class DeviceBlocks {
public:
    /// `splits`: centres may be evaluated apart from each other.
    DeviceBlocks(const torch::Device& device, const DeviceNetworkOptions& options, bool splits)
        : device_(device), options_(options), splits_(splits), limit_(options.most_centres) {}

    /// Blocks of about the same size. `evaluate(block)` makes the passes whose memory is measured, once for many
    /// centres.
    void plan(std::int64_t n_centres, const std::function<void(const DeviceBlock&)>& evaluate);
    /// After memory has run out: smaller blocks from the next plan on. False if they cannot be smaller.
    bool halve();

    const std::vector<DeviceBlock>& all() const { return blocks_; }
    /// One sentence for the user, returned once; else empty.
    std::string take_note() { return std::exchange(note_, {}); }

private:
    torch::Device device_;
    DeviceNetworkOptions options_;
    bool splits_;
    std::vector<DeviceBlock> blocks_;
    std::int64_t n_centres_ = 0;
    std::int64_t limit_ = 0;       // centres of a block, 0: no limit known
    std::int64_t limit_for_ = -1;  // centres of the system it was found for
    double bytes_per_centre_ = 0.0, free_bytes_ = 0.0;
    std::string note_;
    bool said_ = false;  // the number of centres in a domain changes all the time, the limit with it

    void find_limit(const std::function<void(const DeviceBlock&)>& evaluate);
    void set_limit(std::int64_t centres_of_block);
};

}  // namespace les
