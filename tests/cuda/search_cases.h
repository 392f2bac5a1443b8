// Systems for the neighbour search of the device, run by the emulated one, and its edges beside those of
// les::NeighborList.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "cuda/neighbor_search.h"
#include "emulated_backend.h"
#include "les/neighbor_list.h"
#include "mesh_cases.h"

namespace search_cases {

using les::cuda::EmulatedBackend;
using Search = les::cuda::NeighborSearch<EmulatedBackend>;

struct Atoms {
    std::vector<double> positions;
    std::vector<std::int32_t> types;
    les::cuda::StepAtoms step;
    les::System system;

    Atoms(std::vector<double> r, const les::Matrix3& cell, bool periodic) : positions(std::move(r)) {
        types.assign(positions.size() / 3, 0);
        system.n_local = system.n_all = step.n_atoms = step.n_owned = static_cast<std::int64_t>(types.size());
        system.cell = step.cell = cell;
        system.periodic = step.periodic = periodic;
        refer();
    }
    void refer() {
        system.positions = step.positions = positions.data();
        system.types = step.types = types.data();
    }
    Atoms(const Atoms&) = delete;
};

/// Centre, neighbour and vector, in an order of their own.
using Edge = std::tuple<std::int64_t, std::int64_t, double, double, double>;

inline std::vector<Edge> edges_of(const Search& search, double cutoff) {
    std::vector<Edge> edges;
    const auto& rows = search.rows();
    for (std::int64_t i = 0; i < search.list().n_centres; ++i) {
        bool ended = false;
        for (std::int64_t e = i * rows.slots; e < (i + 1) * rows.slots; ++e) {
            const double* v = rows.vectors + 3 * e;
            const bool is_edge = v[0] * v[0] + v[1] * v[1] + v[2] * v[2] < cutoff * cutoff;
            if (is_edge) edges.emplace_back(i, rows.neighbours[e], v[0], v[1], v[2]);
            // empty slots come last and are harmless
            CHECK(!(is_edge && ended));
            ended = !is_edge;
            if (ended) CHECK(rows.neighbours[e] == i && v[0] == cutoff && v[1] == 0.0 && v[2] == 0.0);
        }
    }
    std::sort(edges.begin(), edges.end());
    return edges;
}

inline std::vector<Edge> expected_edges(const Atoms& atoms, double cutoff, std::int64_t n_centres) {
    les::NeighborList list(cutoff, 0.0);
    const les::Edges& found = list.build(atoms.system);
    std::vector<Edge> edges;
    for (std::size_t e = 0; e < static_cast<std::size_t>(found.n_edges); ++e) {
        const double* v = found.vectors.data() + 3 * e;
        if (found.centres[e] < n_centres) edges.emplace_back(found.centres[e], found.neighbours[e], v[0], v[1], v[2]);
    }
    std::sort(edges.begin(), edges.end());
    return edges;
}

inline void check_edges(const Search& search, const Atoms& atoms, double cutoff, const std::string& what) {
    const auto got = edges_of(search, cutoff), expected = expected_edges(atoms, cutoff, atoms.step.n_owned);
    if (got.size() != expected.size())
        std::fprintf(stderr, "%s: %zu edges, expected %zu\n", what.c_str(), got.size(), expected.size());
    CHECK(got.size() == expected.size());
    for (std::size_t e = 0; e < got.size(); ++e) {
        CHECK(std::get<0>(got[e]) == std::get<0>(expected[e]) && std::get<1>(got[e]) == std::get<1>(expected[e]));
        check_close(std::get<2>(got[e]), std::get<2>(expected[e]), 1e-12, 10.0, what);
        check_close(std::get<3>(got[e]), std::get<3>(expected[e]), 1e-12, 10.0, what);
        check_close(std::get<4>(got[e]), std::get<4>(expected[e]), 1e-12, 10.0, what);
    }
}

/// Every pair is found from its other end, with exactly the opposite vector; pairs of ghosts are left out.
inline void check_reverse(const Search& search) {
    const auto& list = search.list();
    const auto& rows = search.rows();
    for (std::int64_t i = 0; i < list.n_atoms; ++i) {
        for (std::int32_t c = 0; c < list.n_candidates[i]; ++c) {
            const std::int64_t at = c * std::int64_t{list.n_atoms} + i;
            const std::int64_t j = list.candidates[at].neighbour;
            CHECK(i < list.n_centres || j < list.n_centres);
            CHECK(list.reverse[at] < list.n_candidates[j]);
            const std::int64_t back = list.reverse[at] * std::int64_t{list.n_atoms} + j;
            CHECK(list.reverse[back] == c && list.candidates[back].neighbour == i);
            if (i >= list.n_centres || j >= list.n_centres) continue;
            CHECK((list.slots[at] == les::cuda::no_slot) == (list.slots[back] == les::cuda::no_slot));
            if (list.slots[at] == les::cuda::no_slot) continue;
            for (int x = 0; x < 3; ++x)
                CHECK(rows.vectors[3 * (i * rows.slots + list.slots[at]) + x] ==
                      -rows.vectors[3 * (j * rows.slots + list.slots[back]) + x]);
        }
    }
}

inline void run(Search& search, const Atoms& atoms) {
    do {
        search.start(atoms.step);
    } while (!search.finish());
}

/// Random points, in and outside of the cell.
inline std::vector<double> points(const les::Matrix3& cell, int n, unsigned seed) {
    return cases::random_box(cell, n, 1, seed).positions;
}

struct Example {
    std::string name;
    les::Matrix3 cell;
    int n_atoms;
    bool periodic;
    double cutoff, skin;
};

inline std::vector<Example> examples() {
    const les::Matrix3 cubic{{{12.0, 0.0, 0.0}, {0.0, 12.0, 0.0}, {0.0, 0.0, 12.0}}};
    const les::Matrix3 skewed{{{13.0, 0.0, 0.0}, {4.0, 11.0, 0.0}, {-5.0, 3.0, 17.0}}};
    const les::Matrix3 left_handed{{{0.0, 14.0, 1.0}, {11.0, 0.0, 0.0}, {0.0, 2.0, 25.0}}};
    const les::Matrix3 small{{{3.0, 0.3, 0.0}, {0.2, 4.1, -0.4}, {0.0, 0.1, 2.5}}};
    const les::Matrix3 flat{{{60.0, 0.0, 0.0}, {50.0, 20.0, 0.0}, {0.0, 0.0, 3.0}}};
    const les::Matrix3 empty{{{200.0, 0.0, 0.0}, {0.0, 220.0, 0.0}, {0.0, 0.0, 12.0}}};
    return {
        {"cubic", cubic, 150, true, 3.5, 0.5},        {"no skin", cubic, 150, true, 4.0, 0.0},
        {"skewed", skewed, 200, true, 4.2, 0.5},      {"left-handed", left_handed, 250, true, 5.0, 0.3},
        {"several images", small, 9, true, 5.5, 0.5}, {"flat", flat, 300, true, 4.0, 1.0},
        {"mostly empty", empty, 100, true, 6.0, 0.5}, {"one atom", small, 1, true, 5.0, 0.5},
        {"isolated", cubic, 120, false, 4.0, 0.5},    {"isolated, far apart", empty, 60, false, 8.0, 0.5},
        {"two atoms", cubic, 2, false, 20.0, 0.5},    {"crowded", small, 120, false, 4.0, 0.5},
    };
}

}  // namespace search_cases
