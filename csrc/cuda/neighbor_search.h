// The neighbour search on the device: its arrays, the order of its launches, and what the host has to know of it, which
// is whether every table was large enough.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../src/engine_options.h"
#include "cell_grid.h"
#include "element_rows.cuh"
#include "neighbor_edges.cuh"

namespace les::cuda {

/// A system on the device: all atoms of it, or those of a domain and its ghosts.
struct StepAtoms {
    std::int64_t n_atoms = 0, n_owned = 0;
    const double* positions = nullptr;    // (n_atoms, 3), device
    const std::int32_t* types = nullptr;  // (n_atoms,), device
    Matrix3 cell{};
    bool periodic = false;
};

/// A launch of enough blocks that each thread has one of `items`, or as many as is sensible.
template <class Backend, class Body>
void launch_over(Backend& backend, std::int64_t items, const Body& body, const char* what) {
    constexpr std::int64_t most = 65536;
    const std::int64_t blocks = (items + Body::threads - 1) / Body::threads;
    backend.launch(body, static_cast<int>(blocks < 1 ? 1 : blocks < most ? blocks : most), what);
}

template <class Backend>
class NeighborSearch {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    /// `cutoff` and `skin` in angstrom: candidates are searched anew when an atom has moved further than skin / 2.
    NeighborSearch(Backend& backend, double cutoff, double skin, std::int32_t n_types)
        : backend_(backend), cutoff_(cutoff), skin_(skin), n_types_(n_types) {
        if (n_types > most_elements)
            throw Error("a GPU takes at most " + std::to_string(most_elements) + " elements, the model has " +
                        std::to_string(n_types));
        if (!(skin >= 0.0)) throw Error("`skin` must be a length in angstrom, 0 or more, got " + std::to_string(skin));
        state_.reserve(1);
        backend_.zero(state_.data(), sizeof(NeighborState));
    }

    /// Puts the search on the stream, and the copy of what the host has to know.
    void start(const StepAtoms& atoms) {
        if (atoms.n_atoms < 0 || atoms.n_atoms > INT32_MAX / 4)
            throw Error("one GPU takes at most " + std::to_string(INT32_MAX / 4) + " atoms, got " +
                        std::to_string(atoms.n_atoms));
        if (atoms.periodic) check_cell(atoms.cell);
        if (is_other(atoms)) take(atoms);
        set_views();
        launch_all(atoms);
        backend_.send(state_.data());
    }

    /// Whether `runs` is known to the host, which is so from the first `finish` for a number of centres on.
    bool knows_runs() const { return !runs_.empty(); }

    /// Waits for the search alone. False if a table was too small or `runs` was another, which both are as they must be
    /// now: the search starts anew. Throws les::Error for positions that are not finite, atoms that coincide and the
    /// like.
    bool finish() {
        const NeighborState state = backend_.receive();
        n_searches_ = state.n_searches;
        search_ = true;  // if this ends with an error
        check(state);
        const bool candidates_fit = state.most_candidates <= capacity_, edges_fit = state.most_edges <= rows_.slots;
        search_ = !candidates_fit;
        // rows as long as that of the atom with most neighbours: empty slots cost as much as edges
        const std::int32_t wanted = (state.most_edges + 2 + 3) / 4 * 4;
        if (!edges_fit || (candidates_fit && wanted + 8 <= rows_.slots)) next_slots_ = wanted;
        std::vector<std::int64_t> runs(state.n_of_element, state.n_of_element + n_types_);
        const bool same_runs = runs == runs_;
        runs_ = std::move(runs);
        if (candidates_fit && edges_fit) return same_runs;
        backend_.wait();
        ++n_enlarged_;
        if (!candidates_fit) capacity_ = state.most_candidates + state.most_candidates / 8 + 4;
        if (capacity_ >= no_slot)
            throw Error("an atom has " + std::to_string(state.most_candidates) +
                        " neighbours, more than a GPU takes; check the structure");
        return false;
    }

    const NeighborArrays& list() const { return list_; }
    const EdgeRows& rows() const { return rows_; }
    const std::int64_t* types() const { return types_.data(); }
    /// Centres sorted by element, (n_owned,), and how many each element has.
    const std::int64_t* order() const { return order_.data(); }
    const std::vector<std::int64_t>& runs() const { return runs_; }

    /// Searches for candidates and enlarged tables since the beginning.
    std::int32_t n_searches() const { return n_searches_; }
    int n_enlarged() const { return n_enlarged_; }

private:
    Backend& backend_;
    double cutoff_, skin_;
    std::int32_t n_types_;
    bool search_ = true;  // whatever the device says
    StepAtoms atoms_;     // of the last call
    std::int32_t capacity_ = 0, next_slots_ = 0, n_searches_ = 0;
    int n_enlarged_ = 0;
    CellGrid grid_{};
    NeighborArrays list_{};
    EdgeRows rows_{};
    Array<NeighborState> state_;
    Array<std::int64_t> types_, order_;
    std::vector<std::int64_t> runs_;
    Array<double> reference_, vectors_;
    Array<std::int32_t> cell_and_number_, images_, sorted_, n_candidates_, counts_, begin_, neighbours_;
    Array<Candidate> candidates_;
    Array<std::uint16_t> reverse_, slots_;

    bool is_other(const StepAtoms& atoms) const {
        return capacity_ == 0 || atoms.n_atoms != atoms_.n_atoms || atoms.n_owned != atoms_.n_owned ||
               atoms.periodic != atoms_.periodic || (atoms.periodic && atoms.cell != atoms_.cell);
    }

    void take(const StepAtoms& atoms) {
        search_ = true;
        const bool resized = capacity_ == 0 || atoms.n_atoms != atoms_.n_atoms;
        if (atoms.n_owned != atoms_.n_owned) runs_.clear();
        atoms_.n_atoms = -1;  // until there is memory for all
        const std::int64_t n = atoms.n_atoms, room = n + n / 16;
        if (capacity_ == 0) {
            capacity_ = expected_neighbours(atoms.cell, atoms.periodic, cutoff_ + skin_, n);
            next_slots_ = (expected_neighbours(atoms.cell, atoms.periodic, cutoff_, n) + 3) / 4 * 4;
        }
        if (resized) {
            backend_.wait();
            types_.reserve(room);
            order_.reserve(room);
            reference_.reserve(3 * room);
            cell_and_number_.reserve(2 * room);
            images_.reserve(3 * room);
            sorted_.reserve(room);
            n_candidates_.reserve(room);
        }
        const CellGrid grid = make_grid(atoms.cell, atoms.periodic, cutoff_ + skin_, n);
        if (grid.n_cells() != grid_.n_cells()) {
            backend_.wait();
            grid_ = {};
            counts_.reserve(grid.n_cells());
            begin_.reserve(grid.n_cells() + 1);
            backend_.zero(counts_.data(), static_cast<std::size_t>(grid.n_cells()) * sizeof(std::int32_t));
        }
        grid_ = grid;
        atoms_ = atoms;
    }

    void set_views() {
        const std::int64_t n = atoms_.n_atoms, n_owned = atoms_.n_owned;
        candidates_.reserve(capacity_ * n);
        reverse_.reserve(capacity_ * n);
        slots_.reserve(capacity_ * n);
        rows_.slots = next_slots_;
        neighbours_.reserve(rows_.slots * n_owned);
        vectors_.reserve(3 * rows_.slots * n_owned);
        list_ = {static_cast<std::int32_t>(n),
                 static_cast<std::int32_t>(n_owned),
                 capacity_,
                 state_.data(),
                 reference_.data(),
                 counts_.data(),
                 begin_.data(),
                 cell_and_number_.data(),
                 images_.data(),
                 sorted_.data(),
                 n_candidates_.data(),
                 candidates_.data(),
                 reverse_.data(),
                 slots_.data()};
        rows_.neighbours = neighbours_.data();
        rows_.vectors = vectors_.data();
    }

    void launch_all(const StepAtoms& atoms) {
        const double half_skin = 0.5 * skin_;
        const std::int64_t n = atoms.n_atoms;
        launch_over(backend_, 1, BeginSearch{state_.data(), search_ ? 1 : 0}, "the neighbour search");
        launch_over(backend_, n,
                    CheckAtoms{list_, atoms.positions, atoms.types, n_types_, half_skin * half_skin, types_.data()},
                    "the check of positions");
        launch_over(backend_, 1, SortElements{list_, n_types_, types_.data(), order_.data()},
                    "the sorting of elements");
        launch_over(backend_, n, CountAtoms{list_, grid_, atoms.positions}, "the count of atoms");
        launch_over(backend_, 1, ScanCells{list_, grid_.n_cells()}, "the scan of cells");
        launch_over(backend_, n, PlaceAtoms{list_}, "the sorting of atoms");
        launch_over(backend_, n, FindCandidates{list_, grid_, atoms.positions}, "the search of neighbours");
        launch_over(backend_, n, FindReverse{list_}, "the search of reverse edges");
        launch_over(backend_, atoms.n_owned, FillEdges{list_, grid_, rows_, atoms.positions, cutoff_}, "the edges");
    }

    void check(const NeighborState& state) const {
        if (state.not_finite != 0) throw position_not_finite(state.not_finite - 1);
        if (state.unknown_type != 0)
            throw Error("`types` must be 0 to " + std::to_string(n_types_ - 1) + ", got another for atom " +
                        std::to_string(state.unknown_type - 1));
        if (state.too_far != 0)
            throw Error("`positions` must be within " + std::to_string(most_images) +
                        " cells of the origin, those of atom " + std::to_string(state.too_far - 1) +
                        " (counted from 0) are not; wrap them into the cell");
        if (state.coincident[0] != 0)
            throw Error("atoms must not coincide, got atoms " + std::to_string(state.coincident[0] - 1) + " and " +
                        std::to_string(state.coincident[1] - 1) +
                        " (counted from 0) at the same place; check the structure");
    }
};

}  // namespace les::cuda
