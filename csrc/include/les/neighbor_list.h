// Edges of an evaluation: accepted from a host or built here with vesin. Both end as the same flat arrays.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "les/system.h"

namespace les {

/// Edges within the cutoff, centres not decreasing. Arrays grow and never shrink, so steps do not allocate.
struct Edges {
    std::int64_t n_edges = 0;
    std::vector<std::int64_t> centres, neighbours;  ///< at least n_edges entries
    std::vector<double> vectors;                    ///< (n_edges, 3) r_neighbour - r_centre, angstrom
};

class NeighborList {
public:
    /// `skin` in angstrom: the list is searched anew when an atom has moved further than skin / 2.
    NeighborList(double cutoff, double skin);
    ~NeighborList();
    NeighborList(NeighborList&&) noexcept;

    /// Takes the host's pairs, drops those beyond the cutoff. Throws les::Error for coincident atoms.
    const Edges& accept(const System& system, const EdgeList& host);
    /// Finds the pairs of a system without ghosts. Throws les::Error for coincident atoms.
    const Edges& build(const System& system);

private:
    struct Search;
    double cutoff_, skin_;
    std::unique_ptr<Search> search_;
    Edges edges_;

    void append(std::int64_t centre, std::int64_t neighbour, const double* vector);
    void reserve(std::int64_t n_edges);
};

}  // namespace les
