// The mesh divided among the devices of several domains, emulated or real, against the CPU solver of one domain: atoms
// dealt out evenly, unevenly, to few or to all; a run with atoms that leave their domain and a cell that changes.
// Threads stand for ranks.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "../cpp/thread_communicator.h"
#include "mesh_cases.h"

namespace cases {

/// Which of n domains owns an atom at fractional coordinates in [0, 1).
struct Division {
    std::string name;
    std::function<int(const double* s, int n)> owner;
};

inline const std::vector<Division>& divisions() {
    static const std::vector<Division> all{
        {"slabs", [](const double* s, int n) { return std::min(n - 1, static_cast<int>(s[0] * n)); }},
        {"uneven slabs", [](const double* s, int n) { return std::min(n - 1, static_cast<int>(s[2] * s[2] * n)); }},
        {"scattered", [](const double* s, int n) { return static_cast<int>(1e6 * s[1]) % n; }},
        {"none on the first",
         [](const double* s, int n) { return n == 1 ? 0 : 1 + static_cast<int>(2 * s[0]) % (n - 1); }},
        {"all on the last", [](const double*, int n) { return n - 1; }},
    };
    return all;
}

inline std::vector<std::vector<std::size_t>> deal_out(const Box& box, const Division& division, int n_ranks) {
    const Matrix3& c = box.cell;
    std::vector<std::vector<std::size_t>> owned(static_cast<std::size_t>(n_ranks));
    const auto cofactor = [&](std::size_t a, std::size_t x) {
        const std::size_t b = (a + 1) % 3, d = (a + 2) % 3, y = (x + 1) % 3, z = (x + 2) % 3;
        return c[b][y] * c[d][z] - c[b][z] * c[d][y];
    };
    const double volume = c[0][0] * cofactor(0, 0) + c[0][1] * cofactor(0, 1) + c[0][2] * cofactor(0, 2);
    for (std::size_t i = 0; i < box.positions.size() / 3; ++i) {
        double s[3];
        for (std::size_t a = 0; a < 3; ++a) {
            s[a] = 0.0;
            for (std::size_t x = 0; x < 3; ++x) s[a] += box.positions[3 * i + x] * cofactor(a, x) / volume;
            s[a] -= std::floor(s[a]);
        }
        owned[static_cast<std::size_t>(division.owner(s, n_ranks))].push_back(i);
    }
    return owned;
}

inline Box part_of(const Box& box, const std::vector<std::size_t>& atoms, std::size_t channels) {
    Box part;
    part.cell = box.cell;
    for (const std::size_t i : atoms) {
        for (std::size_t x = 0; x < 3; ++x) part.positions.push_back(box.positions[3 * i + x]);
        for (std::size_t c = 0; c < channels; ++c) part.charges.push_back(box.charges[i * channels + c]);
    }
    return part;
}

using SolverOfRank = std::function<std::unique_ptr<les::LongRangeSolver>(int rank)>;

/// Results of all boxes, one after the other by the same solvers, put together; net forces are those of the first rank.
inline std::vector<les::LongRangeResult> run_domains(const std::vector<Box>& boxes, int n_channels,
                                                     const std::vector<std::vector<std::size_t>>& owned,
                                                     const SolverOfRank& make_solver, les::MeshReport& report) {
    const auto channels = static_cast<std::size_t>(n_channels);
    std::vector<std::vector<les::LongRangeResult>> parts(owned.size());
    Board board(static_cast<int>(owned.size()));
    const auto run = [&](int rank) {
        ThreadCommunicator communicator(board, rank);
        const auto& mine = owned[static_cast<std::size_t>(rank)];
        const auto solver = make_solver(rank);
        for (const Box& box : boxes) {
            const Box part = part_of(box, mine, channels);
            parts[static_cast<std::size_t>(rank)].push_back(solver->compute(part.system(), part.charges, communicator));
        }
        if (rank == 0) report = *solver->mesh_report();
    };
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < board.size; ++rank) ranks.emplace_back(run, rank);
    for (std::thread& rank : ranks) rank.join();

    std::vector<les::LongRangeResult> totals(boxes.size());
    for (std::size_t step = 0; step < boxes.size(); ++step) {
        les::LongRangeResult& total = totals[step];
        total.forces.resize(boxes[step].positions.size());
        total.potentials.resize(boxes[step].charges.size());
        total.net_force = parts[0][step].net_force;
        for (std::size_t rank = 0; rank < owned.size(); ++rank) {
            const les::LongRangeResult& part = parts[rank][step];
            const std::vector<std::size_t>& mine = owned[rank];
            total.energy += part.energy;
            for (std::size_t a = 0; a < 3; ++a) {
                for (std::size_t b = 0; b < 3; ++b) total.virial[a][b] += part.virial[a][b];
            }
            CHECK(part.forces.size() == 3 * mine.size() && part.potentials.size() == channels * mine.size());
            for (std::size_t k = 0; k < mine.size(); ++k) {
                for (std::size_t x = 0; x < 3; ++x) total.forces[3 * mine[k] + x] = part.forces[3 * k + x];
                for (std::size_t c = 0; c < channels; ++c)
                    total.potentials[mine[k] * channels + c] = part.potentials[k * channels + c];
            }
        }
    }
    return totals;
}

/// The boxes of a short run: atoms move by up to `skin` while their owners stay, the cell breathes and shears.
inline std::vector<Box> short_run(const Box& first, double skin) {
    std::vector<Box> boxes{first};
    std::mt19937 engine(11);
    std::uniform_real_distribution<double> uniform(-skin, skin);
    for (const double factor : {1.0, 0.997, 1.05}) {
        Box box = boxes.back();
        for (double& x : box.positions) x += 0.577 * uniform(engine);
        for (auto* rows : {&box.cell[0], &box.cell[1], &box.cell[2]}) {
            for (double& x : *rows) x *= factor;
        }
        box.cell[1][0] += factor == 1.0 ? 0.0 : 0.1;
        for (double& x : box.positions) x *= factor;
        boxes.push_back(box);
    }
    return boxes;
}

/// `boxes` on the domains of `division` as one domain of the CPU has them.
inline void check_domains(const Case& example, const std::vector<Box>& boxes, const les::LongRangeOptions& options,
                          const Division& division, int n_ranks, const SolverOfRank& make_solver) {
    const std::string what =
        example.name + ", " + options.dtype + ", " + division.name + " on " + std::to_string(n_ranks) + ":";
    les::MeshReport report;
    const auto got = run_domains(boxes, example.n_channels, deal_out(boxes[0], division, n_ranks), make_solver, report);
    const auto reference = les::make_mesh_solver(example.parameters, example.n_channels, options);
    les::SingleProcess alone;
    std::vector<les::LongRangeResult> expected;
    for (const Box& box : boxes) expected.push_back(reference->compute(box.system(), box.charges, alone));
    for (std::size_t step = 0; step < boxes.size(); ++step)
        check_results(example, options.dtype, got[step], report, expected[step], *reference->mesh_report(),
                      what + " step " + std::to_string(step));
}

/// Calls check(example, options, deterministic, division, number of domains) for all cases: every case in one precision
/// each way of spreading, and every division with every number of domains in turn.
template <class Check>
void for_all_domains(const Check& check) {
    constexpr int numbers[] = {2, 3, 4, 6, 1};
    std::size_t n = 0;
    for (const Case& example : all_cases()) {
        for (const bool deterministic : {true, false}) {
            les::LongRangeOptions options = example.options;
            options.solver = "mesh";
            options.dtype = n % 3 == 2 ? "float32" : "float64";
            check(example, options, deterministic, divisions()[n % divisions().size()], numbers[(n + n / 5) % 5]);
            ++n;
        }
    }
}

}  // namespace cases
