#include "network_blocks.h"

#include <algorithm>
#include <numeric>

namespace les {

const std::vector<NetworkBlock>& NetworkBlocks::split(const System& system, const Edges& edges,
                                                      std::int64_t centres_per_block) {
    const std::int64_t n_local = system.n_local;
    const std::int64_t n_blocks =
        centres_per_block > 0 ? std::max<std::int64_t>(1, (n_local + centres_per_block / 2) / centres_per_block) : 1;
    blocks_.resize(static_cast<std::size_t>(n_blocks));
    if (n_blocks == 1) {
        take_all(system, edges);
        return blocks_;
    }
    number_.assign(static_cast<std::size_t>(system.n_all), -1);
    std::int64_t edge = 0;
    for (std::int64_t b = 0; b < n_blocks; ++b) {
        NetworkBlock& block = blocks_[static_cast<std::size_t>(b)];
        block.first_centre = b * n_local / n_blocks;
        block.n_centre = (b + 1) * n_local / n_blocks - block.first_centre;
        block.first_edge = edge;
        while (edge < edges.n_edges &&
               edges.centres[static_cast<std::size_t>(edge)] < block.first_centre + block.n_centre)
            ++edge;
        block.n_edges = edge - block.first_edge;
        take(system, edges, block);
    }
    return blocks_;
}

void NetworkBlocks::take_all(const System& system, const Edges& edges) {
    NetworkBlock& block = blocks_[0];
    block.first_centre = block.first_edge = 0;
    block.n_centre = system.n_local;
    block.n_edges = edges.n_edges;
    const auto n_all = static_cast<std::size_t>(system.n_all), n_edges = static_cast<std::size_t>(edges.n_edges);
    block.atoms.resize(n_all);
    std::iota(block.atoms.begin(), block.atoms.end(), 0);
    block.types.assign(system.types, system.types + n_all);
    block.edge_index.resize(2 * n_edges);
    std::copy_n(edges.centres.begin(), n_edges, block.edge_index.begin());
    std::copy_n(edges.neighbours.begin(), n_edges, block.edge_index.begin() + static_cast<std::ptrdiff_t>(n_edges));
}

void NetworkBlocks::take(const System& system, const Edges& edges, NetworkBlock& block) {
    block.atoms.clear();
    const auto number_of = [&](std::int64_t atom) {
        std::int64_t& number = number_[static_cast<std::size_t>(atom)];
        if (number < 0) {
            number = static_cast<std::int64_t>(block.atoms.size());
            block.atoms.push_back(atom);
        }
        return number;
    };
    for (std::int64_t i = 0; i < block.n_centre; ++i) number_of(block.first_centre + i);
    const auto n_edges = static_cast<std::size_t>(block.n_edges), first = static_cast<std::size_t>(block.first_edge);
    block.edge_index.resize(2 * n_edges);
    for (std::size_t e = 0; e < n_edges; ++e) {
        block.edge_index[e] = edges.centres[first + e] - block.first_centre;
        block.edge_index[n_edges + e] = number_of(edges.neighbours[first + e]);
    }
    block.types.resize(block.atoms.size());
    for (std::size_t n = 0; n < block.atoms.size(); ++n) {
        block.types[n] = system.types[block.atoms[n]];
        number_[static_cast<std::size_t>(block.atoms[n])] = -1;
    }
}

}  // namespace les
