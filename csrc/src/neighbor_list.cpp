// Neighbour lists: host pairs filtered by the cutoff, or a search with vesin for hosts without a list.
#include "les/neighbor_list.h"

#include <vesin.h>

#include <cmath>
#include <string>

#include "les/error.h"

namespace les {

struct NeighborList::Search {
    VesinNeighborList list;
    // vesin keeps the reference positions of its skin, so a list belongs to one system at a time
    ~Search() { vesin_free(&list); }
};

NeighborList::NeighborList(double cutoff, double skin)
    : cutoff_(cutoff), skin_(skin), search_(std::make_unique<Search>()) {}
NeighborList::~NeighborList() = default;
NeighborList::NeighborList(NeighborList&&) noexcept = default;

void NeighborList::reserve(std::int64_t n_edges) {
    const auto wanted = static_cast<std::size_t>(n_edges);
    if (edges_.centres.size() < wanted) {
        // a tenth more than asked for, so that a fluctuating count settles soon
        const std::size_t capacity = wanted + wanted / 10;
        edges_.centres.resize(capacity);
        edges_.neighbours.resize(capacity);
        edges_.vectors.resize(3 * capacity);
    }
    edges_.n_edges = 0;
}

void NeighborList::append(std::int64_t centre, std::int64_t neighbour, const double* vector) {
    const double length_sq = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2];
    if (length_sq >= cutoff_ * cutoff_) return;
    if (length_sq < 1e-12) {
        throw Error("atoms must not coincide, got a distance of " + std::to_string(std::sqrt(length_sq)) +
                    " angstrom between atoms " + std::to_string(centre) + " and " + std::to_string(neighbour) +
                    " (counted from 0); check the structure");
    }
    const auto e = static_cast<std::size_t>(edges_.n_edges++);
    edges_.centres[e] = centre;
    edges_.neighbours[e] = neighbour;
    for (std::size_t axis = 0; axis < 3; ++axis) edges_.vectors[3 * e + axis] = vector[axis];
}

const Edges& NeighborList::accept(const System& system, const EdgeList& host) {
    reserve(host.n_edges);
    for (std::int64_t e = 0; e < host.n_edges; ++e) {
        const double* from = system.positions + 3 * host.centres[e];
        const double* to = system.positions + 3 * host.neighbours[e];
        double vector[3] = {to[0] - from[0], to[1] - from[1], to[2] - from[2]};
        if (host.cell_shifts != nullptr) {
            const std::int32_t* shift = host.cell_shifts + 3 * e;
            for (std::size_t axis = 0; axis < 3; ++axis) {
                vector[axis] +=
                    shift[0] * system.cell[0][axis] + shift[1] * system.cell[1][axis] + shift[2] * system.cell[2][axis];
            }
        }
        append(host.centres[e], host.neighbours[e], vector);
    }
    return edges_;
}

const Edges& NeighborList::build(const System& system) {
    if (system.n_all == 0) {
        reserve(0);
        return edges_;
    }
    VesinOptions options{};
    options.cutoff = cutoff_;
    options.full = true;
    options.sorted = true;
    options.algorithm = VesinAutoAlgorithm;
    options.skin = skin_;
    options.n_threads = 1;
    options.return_vectors = true;
    const bool periodic[3] = {system.periodic, system.periodic, system.periodic};
    double box[3][3];
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) box[i][j] = system.cell[i][j];
    }
    const char* message = nullptr;
    const int status =
        vesin_neighbors(reinterpret_cast<const double (*)[3]>(system.positions), static_cast<std::size_t>(system.n_all),
                        box, periodic, VesinDevice{VesinCPU, 0}, options, &search_->list, &message);
    if (status != 0)
        throw Error(std::string("neighbour search failed: ") + (message != nullptr ? message : "unknown reason"));
    const VesinNeighborList& found = search_->list;
    reserve(static_cast<std::int64_t>(found.length));
    for (std::size_t pair = 0; pair < found.length; ++pair) {
        append(static_cast<std::int64_t>(found.pairs[pair][0]), static_cast<std::int64_t>(found.pairs[pair][1]),
               found.vectors[pair]);
    }
    return edges_;
}

}  // namespace les
