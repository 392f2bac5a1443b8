// The neighbour search of the device on the CPU: the edges of les::NeighborList for any cell, tables that do not depend
// on the order of threads, reuse within the skin, tables that grow, ghosts, and input that is refused.
#include <random>

#include "cuda/edge_forces.cuh"
#include "search_cases.h"

namespace {

using namespace search_cases;

/// Sorted by element, and as many of each as the host was told.
void check_rows(const Search& search, const Atoms& atoms) {
    std::vector<std::int64_t> expected, runs(4, 0);
    for (std::int32_t element = 0; element < 4; ++element) {
        for (std::int64_t i = 0; i < atoms.step.n_owned; ++i) {
            if (atoms.types[static_cast<std::size_t>(i)] == element) expected.push_back(i);
        }
        runs[static_cast<std::size_t>(element)] = static_cast<std::int64_t>(expected.size());
    }
    for (std::size_t element = 3; element > 0; --element) runs[element] -= runs[element - 1];
    CHECK(search.runs() == runs);
    CHECK(std::equal(expected.begin(), expected.end(), search.order()));
}

void check_example(const Example& example, bool backwards) {
    EmulatedBackend backend;
    backend.backwards = backwards;
    const Atoms atoms(points(example.cell, example.n_atoms, 3), example.cell, example.periodic);
    Search search(backend, example.cutoff, example.skin, 1);
    run(search, atoms);
    check_edges(search, atoms, example.cutoff, example.name);
    check_reverse(search);
    // the tables do not depend on the order of threads
    EmulatedBackend other_backend;
    other_backend.backwards = !backwards;
    Search other(other_backend, example.cutoff, example.skin, 1);
    run(other, atoms);
    CHECK(edges_of(other, example.cutoff) == edges_of(search, example.cutoff));
    const std::int64_t n_edges = std::int64_t{search.rows().slots} * example.n_atoms;
    CHECK(search.rows().slots == other.rows().slots);
    CHECK(std::equal(search.rows().vectors, search.rows().vectors + 3 * n_edges, other.rows().vectors));
    CHECK(std::equal(search.rows().neighbours, search.rows().neighbours + n_edges, other.rows().neighbours));
}

/// Within the skin the candidates stay; beyond, or with another cell, they are searched anew. Always the right edges.
void check_skin() {
    const les::Matrix3 cell{{{13.0, 0.0, 0.0}, {4.0, 11.0, 0.0}, {-5.0, 3.0, 17.0}}};
    Atoms atoms(points(cell, 200, 5), cell, true);
    EmulatedBackend backend;
    Search search(backend, 4.0, 0.5, 1);
    run(search, atoms);
    const std::int32_t first = search.n_searches();
    std::mt19937 engine(2);
    std::uniform_real_distribution<double> uniform(-0.14, 0.14);  // 0.25 at most in space
    const std::vector<double> start = atoms.positions;
    for (int step = 0; step < 5; ++step) {
        for (std::size_t n = 0; n < start.size(); ++n) atoms.positions[n] = start[n] + uniform(engine);
        run(search, atoms);
        check_edges(search, atoms, 4.0, "within the skin");
    }
    CHECK(search.n_searches() == first);
    atoms.positions[30] = start[30] + 0.26;
    run(search, atoms);
    check_edges(search, atoms, 4.0, "beyond the skin");
    CHECK(search.n_searches() == first + 1);
    // an atom that the host puts to the other side
    for (std::size_t x = 0; x < 3; ++x) atoms.positions[60 + x] += cell[1][x] - 2.0 * cell[2][x];
    run(search, atoms);
    check_edges(search, atoms, 4.0, "another image");
    CHECK(search.n_searches() == first + 2);
    for (auto* cells : {&atoms.step.cell, &atoms.system.cell}) (*cells)[2][2] = 17.2;
    run(search, atoms);
    check_edges(search, atoms, 4.0, "another cell");
    CHECK(search.n_searches() == first + 3);
    run(search, atoms);
    CHECK(search.n_searches() == first + 3);
}

/// The same atoms closer and closer: tables grow, and the result is that of a new search; more and fewer atoms.
void check_growth() {
    EmulatedBackend backend;
    Search search(backend, 4.0, 0.5, 1);
    const les::Matrix3 wide{{{40.0, 0.0, 0.0}, {0.0, 40.0, 0.0}, {0.0, 0.0, 40.0}}};
    for (const double factor : {1.0, 0.5, 0.2, 0.1}) {
        Atoms atoms(points(wide, 150, 7), wide, true);
        for (double& r : atoms.positions) r *= factor;
        run(search, atoms);
        check_edges(search, atoms, 4.0, "growth");
        check_reverse(search);
    }
    CHECK(search.n_enlarged() >= 2);
    for (const int n : {170, 3, 90}) {
        const Atoms atoms(points(wide, n, 8), wide, n != 3);
        run(search, atoms);
        check_edges(search, atoms, 4.0, "another number of atoms");
    }
}

/// A domain: the first atoms are owned, the others ghosts.
void check_ghosts() {
    const les::Matrix3 cell{{{14.0, 0.0, 0.0}, {0.0, 14.0, 0.0}, {0.0, 0.0, 14.0}}};
    Atoms atoms(points(cell, 260, 9), cell, false);
    EmulatedBackend backend;
    Search search(backend, 3.5, 0.5, 1);
    for (const int n_owned : {100, 0, 260, 1}) {
        atoms.step.n_owned = n_owned;
        run(search, atoms);
        check_edges(search, atoms, 3.5, "ghosts");
        check_reverse(search);
    }
}

/// Rows sorted by element, in the order of the atoms within one; ghosts have none.
void check_elements() {
    const les::Matrix3 cell{{{14.0, 0.0, 0.0}, {0.0, 14.0, 0.0}, {0.0, 0.0, 14.0}}};
    for (const bool backwards : {false, true}) {
        Atoms atoms(points(cell, 700, 9), cell, false);
        EmulatedBackend backend;
        backend.backwards = backwards;
        Search search(backend, 1.5, 0.5, 4);
        std::mt19937 engine(2);
        for (std::int32_t& type : atoms.types) type = static_cast<std::int32_t>(engine() % 3);
        for (const int n_owned : {500, 1, 0, 700}) {
            atoms.step.n_owned = n_owned;
            run(search, atoms);
            check_rows(search, atoms);
        }
        // types that change places are sorted on the device; another number of each is told to the host
        std::swap(atoms.types[3], *std::find_if(atoms.types.begin() + 4, atoms.types.end(),
                                                [&](std::int32_t type) { return type != atoms.types[3]; }));
        search.start(atoms.step);
        CHECK(search.finish());
        check_rows(search, atoms);
        atoms.types[5] = 3;
        search.start(atoms.step);
        CHECK(!search.finish());
        run(search, atoms);
        check_rows(search, atoms);
    }
}

/// Where a table was too small, a pair may be missing from its other end: that is no edge, and nothing is read for it.
void check_missing_reverse() {
    using namespace les::cuda;
    std::vector<std::int32_t> n_candidates{1, 0};
    std::vector<Candidate> candidates(2, Candidate{1, {0, 0, 0}});
    std::vector<std::uint16_t> reverse(2, no_slot), slots(2 * (std::size_t{no_slot} + 1), 0);
    NeighborArrays list{};
    list.n_atoms = list.n_centres = 2;
    list.capacity = 1;
    list.n_candidates = n_candidates.data();
    list.candidates = candidates.data();
    list.reverse = reverse.data();
    list.slots = slots.data();
    int outgoing = 0, incoming = 0;
    each_edge_of(list, {1, nullptr, nullptr}, 0,
                 [&](std::int64_t, bool is_outgoing) { ++(is_outgoing ? outgoing : incoming); });
    CHECK(outgoing == 1 && incoming == 0);
}

void check_refusals() {
    const les::Matrix3 cell{{{12.0, 0.0, 0.0}, {0.0, 12.0, 0.0}, {0.0, 0.0, 12.0}}};
    EmulatedBackend backend;
    Search search(backend, 4.0, 0.5, 2);
    Atoms atoms(points(cell, 50, 11), cell, true);
    const double good = atoms.positions[40];
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
        atoms.positions[40] = bad;
        check_error([&] { run(search, atoms); }, "`positions` must be finite, atom 13 (counted from 0) is not");
    }
    atoms.positions[40] = 1e9;
    check_error([&] { run(search, atoms); }, "`positions` must be within 16000 cells of the origin, those of atom 13");
    atoms.positions[40] = good;
    atoms.types[7] = 2;
    check_error([&] { run(search, atoms); }, "`types` must be 0 to 1, got another for atom 7");
    atoms.types[7] = 1;
    run(search, atoms);
    check_edges(search, atoms, 4.0, "after errors");
    const std::vector<double> before = atoms.positions;
    for (std::size_t x = 0; x < 3; ++x) atoms.positions[x] = atoms.positions[60 + x] + cell[x][x];
    check_error([&] { run(search, atoms); }, "atoms must not coincide");
    atoms.positions = before;
    run(search, atoms);
    check_edges(search, atoms, 4.0, "after errors");
    atoms.step.cell = {};
    check_error([&] { run(search, atoms); }, "`cell` of a periodic system must be finite and have a volume");
    check_error([&] { Search(backend, 4.0, -1.0, 2); }, "`skin` must be a length in angstrom, 0 or more, got -1");
}

}  // namespace

int main() {
    for (const Example& example : examples()) {
        for (const bool backwards : {false, true}) check_example(example, backwards);
    }
    check_skin();
    check_growth();
    check_ghosts();
    check_elements();
    check_missing_reverse();
    check_refusals();
    std::puts("the neighbour search of the device finds the edges of the host's");
}
