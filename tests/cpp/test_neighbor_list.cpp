// Reuse of the neighbour list inside the skin never changes a result, while atoms move and the cell breathes.
#include <random>

#include "case.h"
#include "check.h"
#include "les/neighbor_list.h"

int main(int, char** arguments) {
    const std::string cases = arguments[1], models = arguments[2];
    for (const std::string name : {"periodic", "triclinic", "isolated"}) {
        const auto file = les::ModelFile::from_path(models + "/" + name + "_float64.les.pt");
        Case moving(cases + "/" + name + ".json", file);
        les::Engine reused(file);
        std::mt19937 generator(1);
        std::normal_distribution<double> step(0.0, 0.05);
        for (int i = 0; i < 40; ++i) {
            for (double& x : moving.positions) x += 0.3 * step(generator);
            for (auto& row : moving.system.cell) {
                for (double& x : row) x *= 1.0 + 0.1 * step(generator);
            }
            les::Engine fresh(file);
            const les::Results& a = reused.compute(moving.system);
            const les::Results& b = fresh.compute(moving.system);
            check_close(a.energy(), b.energy(), 1e-12, std::abs(b.energy()), name + " energy with a reused list");
            for (std::size_t k = 0; k < a.forces.size(); ++k)
                check_close(a.forces[k], b.forces[k], 1e-9, 1.0, name + " forces");
        }
        // fewer atoms than before must not meet stale pairs
        moving.system.n_local = moving.system.n_all = 3;
        les::Engine fresh(file);
        check_close(reused.compute(moving.system).energy(), fresh.compute(moving.system).energy(), 1e-12, 1e3,
                    name + " with fewer atoms");
    }
    std::puts("reused neighbour lists change nothing");
}
