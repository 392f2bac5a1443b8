// The neighbour search on the device, second half: candidates within cutoff and skin from the cells, the same pair seen
// from its other end, and in every evaluation the edges within the cutoff as rows of equally many slots. The tables are
// sorted, so that they, and all sums over them, do not depend on the order in which threads come.
#pragma once

#include "neighbor_cells.cuh"

namespace les::cuda {

/// Edges of each centre, in slots; empty slots hold a vector along x of the length of the cutoff, where everything a
/// network makes of an edge vanishes, and the centre as neighbour.
struct EdgeRows {
    std::int32_t slots;        // of each centre
    std::int32_t* neighbours;  // (n_centres, slots)
    double* vectors;           // (n_centres, slots, 3), r_neighbour - r_centre, angstrom
};

LES_DEVICE bool comes_before(const Candidate& a, const Candidate& b) {
    if (a.neighbour != b.neighbour) return a.neighbour < b.neighbour;
    if (a.shift[0] != b.shift[0]) return a.shift[0] < b.shift[0];
    if (a.shift[1] != b.shift[1]) return a.shift[1] < b.shift[1];
    return a.shift[2] < b.shift[2];
}

/// r_neighbour - r_centre + shift @ cell; exactly the opposite from the other end.
LES_DEVICE double edge_vector(const CellGrid& grid, const double* positions, std::int64_t centre, const Candidate& to,
                              double* vector) {
    const double* from = positions + 3 * centre;
    const double* end = positions + 3 * static_cast<std::int64_t>(to.neighbour);
    double length_sq = 0.0;
    LES_UNROLL
    for (int x = 0; x < 3; ++x) {
        vector[x] = end[x] - from[x];
        if (grid.periodic)
            vector[x] +=
                to.shift[0] * grid.vectors[0][x] + to.shift[1] * grid.vectors[1][x] + to.shift[2] * grid.vectors[2][x];
        length_sq += vector[x] * vector[x];
    }
    return length_sq;
}

/// Candidates of every atom from the cells around it, sorted. Ghosts get the owned ones among theirs.
struct FindCandidates {
    static constexpr int threads = 64;
    struct Shared {};
    NeighborArrays list;
    CellGrid grid;
    const double* positions;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        if (list.state->search == 0) return;
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            const std::int32_t cell = list.cell_and_number[2 * i];
            const std::int32_t own[3] = {cell / (grid.cells[1] * grid.cells[2]), cell / grid.cells[2] % grid.cells[1],
                                         cell % grid.cells[2]};
            std::int32_t found = 0, step[3];
            for (step[0] = -grid.reach[0]; step[0] <= grid.reach[0]; ++step[0]) {
                for (step[1] = -grid.reach[1]; step[1] <= grid.reach[1]; ++step[1]) {
                    for (step[2] = -grid.reach[2]; step[2] <= grid.reach[2]; ++step[2]) {
                        std::int32_t other[3], image[3];
                        LES_UNROLL
                        for (int a = 0; a < 3; ++a) {
                            const std::int32_t place = own[a] + step[a];
                            image[a] =
                                place >= 0 ? place / grid.cells[a] : -((grid.cells[a] - 1 - place) / grid.cells[a]);
                            other[a] = place - image[a] * grid.cells[a];
                        }
                        look_into((other[0] * grid.cells[1] + other[1]) * grid.cells[2] + other[2], image, i, found);
                    }
                }
            }
            list.n_candidates[i] = found < list.capacity ? found : list.capacity;
            if (found > list.state->most_candidates) atomic_most(&list.state->most_candidates, found);
        });
    }

    LES_DEVICE void look_into(std::int32_t cell, const std::int32_t* image, std::int64_t i, std::int32_t& found) const {
        for (std::int32_t place = list.begin[cell]; place < list.begin[cell + 1]; ++place) {
            const std::int32_t j = list.sorted[place];
            if (i >= list.n_centres && j >= list.n_centres) continue;
            Candidate to{j, {0, 0, 0}};
            bool shifted = false;
            if (grid.periodic) {
                LES_UNROLL
                for (int a = 0; a < 3; ++a) {
                    const std::int32_t shift =
                        image[a] - list.images[3 * static_cast<std::int64_t>(j) + a] + list.images[3 * i + a];
                    to.shift[a] = static_cast<std::int16_t>(shift);
                    shifted = shifted || shift != 0;
                }
            }
            if (j == i && !shifted) continue;
            double vector[3];
            if (!(edge_vector(grid, positions, i, to, vector) < grid.range_sq)) continue;
            insert(i, to, found++);
        }
    }

    /// Into the sorted column of atom i, of which `count` entries were found; what is too much is counted only.
    LES_DEVICE void insert(std::int64_t i, const Candidate& to, std::int32_t count) const {
        if (count >= list.capacity) return;
        const auto at = [&](std::int32_t c) -> Candidate& {
            return list.candidates[static_cast<std::int64_t>(c) * list.n_atoms + i];
        };
        for (; count > 0 && comes_before(to, at(count - 1)); --count) at(count) = at(count - 1);
        at(count) = to;
    }
};

/// For every candidate the place of the same pair among those of the neighbour.
struct FindReverse {
    static constexpr int threads = 128;
    struct Shared {};
    NeighborArrays list;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        if (list.state->search == 0) return;
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            for (std::int32_t c = 0; c < list.n_candidates[i]; ++c) {
                const std::int64_t at = static_cast<std::int64_t>(c) * list.n_atoms + i;
                const Candidate to = list.candidates[at];
                Candidate wanted{static_cast<std::int32_t>(i), {0, 0, 0}};
                LES_UNROLL
                for (int a = 0; a < 3; ++a) wanted.shift[a] = static_cast<std::int16_t>(-to.shift[a]);
                list.reverse[at] = place_of(wanted, to.neighbour);
            }
        });
    }

    LES_DEVICE std::uint16_t place_of(const Candidate& wanted, std::int64_t atom) const {
        std::int32_t low = 0, high = list.n_candidates[atom];
        while (low < high) {
            const std::int32_t middle = (low + high) / 2;
            if (comes_before(list.candidates[static_cast<std::int64_t>(middle) * list.n_atoms + atom], wanted)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low == list.n_candidates[atom]) return no_slot;  // more candidates than fit
        const bool same = !comes_before(wanted, list.candidates[static_cast<std::int64_t>(low) * list.n_atoms + atom]);
        return same ? static_cast<std::uint16_t>(low) : no_slot;
    }
};

/// Edges of every centre: its candidates within the cutoff, in their order, and empty slots behind them.
struct FillEdges {
    static constexpr int threads = 128;
    struct Shared {};
    NeighborArrays list;
    CellGrid grid;
    EdgeRows rows;
    const double* positions;
    double cutoff;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, list.n_centres, [&](std::int64_t i, int) {
            std::int32_t n_edges = 0;
            for (std::int32_t c = 0; c < list.n_candidates[i]; ++c) {
                const std::int64_t at = static_cast<std::int64_t>(c) * list.n_atoms + i;
                const Candidate to = list.candidates[at];
                double vector[3];
                const double length_sq = edge_vector(grid, positions, i, to, vector);
                const bool is_edge = length_sq < cutoff * cutoff;
                list.slots[at] = is_edge && n_edges < rows.slots ? static_cast<std::uint16_t>(n_edges) : no_slot;
                if (!is_edge) continue;
                if (length_sq < 1e-12) {
                    list.state->coincident[0] = static_cast<std::int32_t>(i) + 1;
                    list.state->coincident[1] = to.neighbour + 1;
                }
                if (n_edges < rows.slots) set(i, n_edges, to.neighbour, vector);
                ++n_edges;
            }
            if (n_edges > list.state->most_edges) atomic_most(&list.state->most_edges, n_edges);
            const double nothing[3] = {cutoff, 0.0, 0.0};
            for (; n_edges < rows.slots; ++n_edges) set(i, n_edges, static_cast<std::int32_t>(i), nothing);
        });
    }

    LES_DEVICE void set(std::int64_t i, std::int32_t slot, std::int32_t neighbour, const double* vector) const {
        const std::int64_t edge = i * rows.slots + slot;
        rows.neighbours[edge] = neighbour;
        LES_UNROLL
        for (int x = 0; x < 3; ++x) rows.vectors[3 * edge + x] = vector[x];
    }
};

}  // namespace les::cuda
