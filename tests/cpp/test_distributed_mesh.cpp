// The mesh divided among domains gives what one domain gives, for any number of domains, uneven bricks, domains without
// atoms and more domains than mesh planes. Threads of this program stand for ranks.
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include "check.h"
#include "les/les.h"
#include "thread_communicator.h"

namespace {

struct Charges {
    les::Matrix3 cell{};
    std::vector<double> positions, charges;
};

Charges random_charges(const les::Matrix3& cell, int n, int n_channels) {
    Charges made;
    made.cell = cell;
    std::mt19937 generator(3);
    std::uniform_real_distribution<double> place(-0.5, 1.5), charge(-1.0, 1.0);
    for (int i = 0; i < n; ++i) {
        const double s[3] = {place(generator), place(generator), place(generator)};
        for (std::size_t x = 0; x < 3; ++x)
            made.positions.push_back(s[0] * cell[0][x] + s[1] * cell[1][x] + s[2] * cell[2][x]);
        for (int c = 0; c < n_channels; ++c) made.charges.push_back(charge(generator));
    }
    return made;
}

/// Which rank owns an atom.
using Owner = std::function<int(const double* fraction, int n_ranks)>;

struct Totals {
    double energy = 0.0;
    les::Matrix3 virial{};
    std::vector<double> forces, potentials;
};

Totals run(const Charges& all, int n_channels, int n_ranks, const Owner& owner, const les::LongRangeOptions& options,
           std::optional<double> k_cutoff) {
    const std::size_t channels = static_cast<std::size_t>(n_channels), n = all.positions.size() / 3;
    Totals totals;
    totals.forces.resize(3 * n);
    totals.potentials.resize(n * channels);
    std::vector<std::vector<std::size_t>> owned(static_cast<std::size_t>(n_ranks));
    const double volume = all.cell[0][0] * all.cell[1][1] * all.cell[2][2];  // lower triangular cells here
    CHECK(volume > 0.0);
    for (std::size_t i = 0; i < n; ++i) {
        const double* r = all.positions.data() + 3 * i;
        double s[3];
        s[2] = r[2] / all.cell[2][2];
        s[1] = (r[1] - s[2] * all.cell[2][1]) / all.cell[1][1];
        s[0] = (r[0] - s[2] * all.cell[2][0] - s[1] * all.cell[1][0]) / all.cell[0][0];
        for (double& f : s) f -= std::floor(f);
        owned[static_cast<std::size_t>(owner(s, n_ranks))].push_back(i);
    }
    Board board(n_ranks);
    std::mutex mutex;
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < n_ranks; ++rank) {
        ranks.emplace_back([&, rank] {
            ThreadCommunicator communicator(board, rank);
            les::LongRangeParameters parameters;
            parameters.k_cutoff = k_cutoff;
            const auto solver = les::make_periodic_solver(parameters, n_channels, options);
            const auto& mine = owned[static_cast<std::size_t>(rank)];
            std::vector<double> positions, charges;
            for (const std::size_t i : mine) {
                positions.insert(positions.end(), all.positions.begin() + static_cast<std::ptrdiff_t>(3 * i),
                                 all.positions.begin() + static_cast<std::ptrdiff_t>(3 * i + 3));
                charges.insert(charges.end(), all.charges.begin() + static_cast<std::ptrdiff_t>(channels * i),
                               all.charges.begin() + static_cast<std::ptrdiff_t>(channels * (i + 1)));
            }
            les::System system;
            system.n_local = system.n_all = static_cast<std::int64_t>(mine.size());
            system.positions = positions.data();
            system.cell = all.cell;
            system.periodic = true;
            // twice: buffers of the first evaluation must not show in the second; a smaller cell in between
            solver->compute(system, charges, communicator);
            for (auto& row : system.cell) {
                for (double& x : row) x *= 0.8;
            }
            solver->compute(system, charges, communicator);
            system.cell = all.cell;
            const auto& result = solver->compute(system, charges, communicator);
            const std::scoped_lock lock(mutex);
            totals.energy += result.energy;
            for (std::size_t a = 0; a < 3; ++a) {
                for (std::size_t b = 0; b < 3; ++b) totals.virial[a][b] += result.virial[a][b];
            }
            for (std::size_t i = 0; i < mine.size(); ++i) {
                for (std::size_t x = 0; x < 3; ++x) totals.forces[3 * mine[i] + x] = result.forces[3 * i + x];
                for (std::size_t c = 0; c < channels; ++c)
                    totals.potentials[channels * mine[i] + c] = result.potentials[channels * i + c];
            }
        });
    }
    for (std::thread& rank : ranks) rank.join();
    return totals;
}

void compare(const Totals& one, const Totals& many, double tolerance, const std::string& what) {
    check_close(many.energy, one.energy, tolerance, std::abs(one.energy), what + " energy");
    for (std::size_t i = 0; i < one.forces.size(); ++i)
        check_close(many.forces[i], one.forces[i], tolerance, 1.0, what + " force");
    for (std::size_t i = 0; i < one.potentials.size(); ++i)
        check_close(many.potentials[i], one.potentials[i], tolerance, 10.0, what + " potential");
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            check_close(many.virial[a][b], one.virial[a][b], tolerance, 100.0, what + " virial");
    }
}

}  // namespace

int main() {
    const les::Matrix3 cell{{{12.0, 0.0, 0.0}, {2.5, 9.0, 0.0}, {-3.0, 1.5, 15.0}}};
    const les::Matrix3 small{{{4.0, 0.0, 0.0}, {0.0, 4.0, 0.0}, {0.0, 0.0, 4.0}}};
    const std::vector<std::pair<std::string, Owner>> divisions{
        {"slabs", [](const double* s, int n) { return std::min(n - 1, static_cast<int>(s[0] * n)); }},
        {"uneven slabs", [](const double* s, int n) { return std::min(n - 1, static_cast<int>(s[2] * s[2] * n)); }},
        {"scattered", [](const double* s, int n) { return static_cast<int>(1e6 * s[1]) % n; }},
        {"all on the last", [](const double*, int n) { return n - 1; }},
    };
    for (const int n_channels : {1, 2}) {
        const Charges all = random_charges(cell, 150, n_channels);
        for (const auto& [name, owner] : divisions) {
            for (const std::optional<double> k_cutoff : {std::optional<double>{}, std::optional<double>{3.14}}) {
                les::LongRangeOptions options;
                options.solver = "mesh";
                const Totals one = run(all, n_channels, 1, owner, options, k_cutoff);
                for (const int n_ranks : {2, 3, 4, 6, 8}) {
                    compare(one, run(all, n_channels, n_ranks, owner, options, k_cutoff), 1e-10,
                            name + " on " + std::to_string(n_ranks));
                }
                options.dtype = "float32";
                compare(one, run(all, n_channels, 5, owner, options, k_cutoff), 1e-5, name + " in float32");
            }
        }
    }
    // more ranks than planes, so that pencils divide two axes and some ranks have none
    const Charges few = random_charges(small, 7, 1);
    les::LongRangeOptions options;
    options.solver = "mesh";
    const Totals one = run(few, 1, 1, divisions[0].second, options, std::nullopt);
    for (const int n_ranks : {7, 11, 16, 23})
        compare(one, run(few, 1, n_ranks, divisions[2].second, options, std::nullopt), 1e-10,
                "small box on " + std::to_string(n_ranks));
    std::puts("the divided mesh gives what the whole one gives");
}
