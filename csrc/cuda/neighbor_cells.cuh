// The neighbour search on the device, first half: whether atoms have moved far enough for a new search, and atoms
// sorted into cells by counting. Bodies of kernels as structures: what a launch passes is their members. All but the
// first two do nothing unless a search is wanted, so that the host need not know.
#pragma once

#include "block.cuh"
#include "mesh_points.cuh"

namespace les::cuda {

/// More than the periodic table has.
constexpr std::int32_t most_elements = 128;

/// What the host reads once in every evaluation.
struct NeighborState {
    std::int32_t search;                       // the list is searched anew
    std::int32_t most_candidates;              // of one atom in the last search
    std::int32_t most_edges;                   // of one atom
    std::int32_t not_finite;                   // 1 + number of an atom whose position is not finite
    std::int32_t coincident[2];                // 1 + numbers of two atoms at the same place
    std::int32_t too_far;                      // 1 + number of an atom that is too many cells away
    std::int32_t unknown_type;                 // 1 + number of an atom whose type the model has not
    std::int32_t n_searches;                   // since the beginning
    std::int32_t types_changed;                // of a centre
    std::int32_t n_of_element[most_elements];  // centres of each type
};

/// Cells of the search. Periodic: parts of the cell of the system; an atom outside counts as its image inside.
/// Isolated: cubes of the whole space, of which those a multiple of `cells` apart share their atoms.
struct CellGrid {
    std::int32_t cells[3];  // along each axis
    std::int32_t reach[3];  // cells on either side in which neighbours lie
    std::int32_t periodic;
    double vectors[3][3];  // of the cell, rows
    double inverse[3][3];  // fractional = position @ inverse
    double edge;           // of the cubes
    double range_sq;       // of candidates: (cutoff + skin)^2

    LES_CONSTEXPR std::int32_t n_cells() const { return cells[0] * cells[1] * cells[2]; }
};

/// Neighbours within cutoff and skin: stays the same until atoms have moved by half of the skin.
struct Candidate {
    std::int32_t neighbour;
    std::int16_t shift[3];  // r_neighbour - r_centre + shift @ cell
};

constexpr std::uint16_t no_slot = 65535;
constexpr std::int32_t most_images = 16000;  // cells from the origin, so that differences fit

/// Tables with one column for each atom, so that the threads of neighbouring atoms read neighbouring numbers.
struct NeighborArrays {
    std::int32_t n_atoms;    // with ghosts
    std::int32_t n_centres;  // owned atoms, which come first; edges have one of them at either end at least
    std::int32_t capacity;   // rows of the tables
    NeighborState* state;
    double* reference;              // (n_atoms, 3), positions of the last search
    std::int32_t* counts;           // (n_cells,), zero between searches
    std::int32_t* begin;            // (n_cells + 1,)
    std::int32_t* cell_and_number;  // (n_atoms, 2)
    std::int32_t* images;           // (n_atoms, 3), cells that an atom is away from the first
    std::int32_t* sorted;           // (n_atoms,), in the order of cells
    std::int32_t* n_candidates;     // (n_atoms,)
    Candidate* candidates;          // (capacity, n_atoms), sorted by neighbour and shift
    std::uint16_t* reverse;         // (capacity, n_atoms), the same pair among the candidates of the neighbour
    std::uint16_t* slots;           // (capacity, n_atoms), place among the edges of the centre, or no_slot
};

LES_DEVICE bool is_finite(double x) { return x - x == 0.0; }

/// Starts an evaluation: clears what it finds out.
struct BeginSearch {
    static constexpr int threads = 32;
    struct Shared {};
    NeighborState* state;
    std::int32_t force;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        block.each([&](int thread) {
            if (thread != 0 || block.index != 0) return;
            state->search = force;
            state->most_edges = 0;
            state->not_finite = state->too_far = state->unknown_type = state->types_changed = 0;
            state->coincident[0] = state->coincident[1] = 0;
        });
    }
};

/// Asks for a search if an atom has moved further than half of the skin, and writes types that any network can take.
struct CheckAtoms {
    static constexpr int threads = 256;
    struct Shared {};
    NeighborArrays list;
    const double* positions;
    const std::int32_t* types;
    std::int32_t n_types;
    double half_skin_sq;
    std::int64_t* safe_types;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            double moved = 0.0;
            bool finite = true;
            LES_UNROLL
            for (int a = 0; a < 3; ++a) {
                const double r = positions[3 * i + a], step = r - list.reference[3 * i + a];
                moved += step * step;
                finite = finite && is_finite(r);
            }
            if (moved > half_skin_sq) list.state->search = 1;
            if (!finite) list.state->not_finite = static_cast<std::int32_t>(i) + 1;
            const bool known = types[i] >= 0 && types[i] < n_types;
            if (!known) list.state->unknown_type = static_cast<std::int32_t>(i) + 1;
            const std::int64_t safe = known ? types[i] : 0;
            if (i < list.n_centres && safe_types[i] != safe) list.state->types_changed = 1;
            safe_types[i] = safe;
        });
    }
};

/// Cell of a position, and whole cells it is away from the first.
LES_DEVICE std::int32_t cell_of(const CellGrid& grid, const double* r, std::int32_t* image) {
    std::int32_t cell[3];
    LES_UNROLL
    for (int a = 0; a < 3; ++a) {
        const double place = grid.periodic
                                 ? r[0] * grid.inverse[0][a] + r[1] * grid.inverse[1][a] + r[2] * grid.inverse[2][a]
                                 : r[a] / (grid.edge * grid.cells[a]);
        const double whole = floor(place);
        // what is not finite, or too far away, goes anywhere: the evaluation ends with an error
        const bool near = whole >= -most_images && whole <= most_images;
        image[a] = grid.periodic ? (near ? static_cast<std::int32_t>(whole) : most_images + 1) : 0;
        const double part = (place - whole) * grid.cells[a];
        const bool inside = part >= 0.0 && part < grid.cells[a];
        cell[a] = inside ? static_cast<std::int32_t>(part) : part > 0.0 ? grid.cells[a] - 1 : 0;
    }
    return (cell[0] * grid.cells[1] + cell[1]) * grid.cells[2] + cell[2];
}

/// Counts atoms in their cells and keeps their positions as reference.
struct CountAtoms {
    static constexpr int threads = 256;
    struct Shared {};
    NeighborArrays list;
    CellGrid grid;
    const double* positions;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        if (list.state->search == 0) return;
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            const std::int32_t cell = cell_of(grid, positions + 3 * i, list.images + 3 * i);
            list.cell_and_number[2 * i] = cell;
            list.cell_and_number[2 * i + 1] = atomic_next(list.counts + cell);
            LES_UNROLL
            for (int a = 0; a < 3; ++a) {
                list.reference[3 * i + a] = positions[3 * i + a];
                if (list.images[3 * i + a] > most_images) list.state->too_far = static_cast<std::int32_t>(i) + 1;
            }
        });
    }
};

/// Counts to first atoms, in one block.
struct ScanCells {
    static constexpr int threads = 1024;
    struct Shared {
        std::int32_t sums[2 * threads];
    };
    NeighborArrays list;
    std::int32_t n_cells;

    LES_DEVICE void operator()(const Block<threads>& block, Shared& shared) const {
        if (list.state->search == 0) return;
        scan_counts(block, shared.sums, n_cells, list.counts, list.begin);
        block.each([&](int thread) {
            if (thread != 0) return;
            list.state->most_candidates = 0;
            ++list.state->n_searches;
        });
    }
};

struct PlaceAtoms {
    static constexpr int threads = 256;
    struct Shared {};
    NeighborArrays list;

    LES_DEVICE void operator()(const Block<threads>& block, Shared&) const {
        if (list.state->search == 0) return;
        each_item(block, list.n_atoms, [&](std::int64_t i, int) {
            list.sorted[list.begin[list.cell_and_number[2 * i]] + list.cell_and_number[2 * i + 1]] =
                static_cast<std::int32_t>(i);
        });
    }
};

}  // namespace les::cuda
