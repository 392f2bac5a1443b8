// Blocks of centres that the network is evaluated for one after the other. What a block needs in between fits the
// caches of a processor, which the values of a whole system do not, and memory can be bounded.
#pragma once

#include <cstdint>
#include <vector>

#include "les/neighbor_list.h"
#include "les/system.h"

namespace les {

/// Centres that follow each other, with their edges, in numbers of the block: its centres first, then the other atoms
/// at the ends of its edges.
struct NetworkBlock {
    std::int64_t n_centre = 0, first_centre = 0, n_edges = 0, first_edge = 0;
    std::vector<std::int64_t> atoms;       ///< (n_atoms,), number in the system
    std::vector<std::int64_t> types;       ///< (n_atoms,)
    std::vector<std::int64_t> edge_index;  ///< (2, n_edges), centres and neighbours
};

class NetworkBlocks {
public:
    /// About `centres_per_block` owned atoms in each, all of about the same size; one block of everything for 0.
    const std::vector<NetworkBlock>& split(const System& system, const Edges& edges, std::int64_t centres_per_block);

    const std::vector<NetworkBlock>& blocks() const { return blocks_; }

private:
    void take_all(const System& system, const Edges& edges);
    void take(const System& system, const Edges& edges, NetworkBlock& block);

    std::vector<NetworkBlock> blocks_;  // buffers of a block are kept between steps
    std::vector<std::int64_t> number_;  // (n_all,), of an atom in the present block, -1 outside of it
};

}  // namespace les
