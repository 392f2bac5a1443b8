// Direct sum over all pairs of an isolated system: E = (K_e/2) sum_{i != j} q_i q_j erf(r / (sqrt(2) sigma)) / r.
// Source: Cheng, npj Comput. Mater. 11, 80 (2025). Every domain sees all atoms and sums the pairs of its own.
#include <ATen/Parallel.h>

#include <cmath>
#include <string>

#include "les/error.h"
#include "les/long_range.h"
#include "smeared_pair.h"

namespace les {

namespace {

class IsolatedSolver final : public LongRangeSolver {
public:
    IsolatedSolver(const LongRangeParameters& parameters, int n_channels)
        : parameters_(parameters), channels_(static_cast<std::size_t>(n_channels)) {}

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        const auto n_local = static_cast<std::size_t>(system.n_local);
        const std::size_t width = 3 + channels_;
        own_.resize(n_local * width);
        for (std::size_t i = 0; i < n_local; ++i) {
            for (std::size_t axis = 0; axis < 3; ++axis) own_[i * width + axis] = system.positions[3 * i + axis];
            for (std::size_t channel = 0; channel < channels_; ++channel)
                own_[i * width + 3 + channel] = charges[i * channels_ + channel];
        }
        const std::vector<double> counts = communicator.allgather({static_cast<double>(n_local)});
        std::size_t first = 0;
        for (int rank = 0; rank < communicator.rank(); ++rank)
            first += static_cast<std::size_t>(counts[static_cast<std::size_t>(rank)]);
        const std::vector<double> all = communicator.allgather(own_);
        n_atoms_ = all.size() / width;
        sum_pairs(n_local, first, all);
        return result_;
    }

    std::string description() const override {
        return "direct sum over all pairs of " + std::to_string(n_atoms_) + " isolated atoms";
    }

private:
    LongRangeParameters parameters_;
    std::size_t channels_, n_atoms_ = 0;
    std::vector<double> own_, atom_virials_;
    LongRangeResult result_;

    void sum_pairs(std::size_t n_local, std::size_t first, const std::vector<double>& all) {
        const std::size_t width = 3 + channels_;
        const double a = 1.0 / (std::sqrt(2.0) * parameters_.smearing);
        const double self = parameters_.remove_self_interaction ? 0.0 : 2.0 * self_energy_of_unit_charge(parameters_);
        result_.potentials.assign(n_local * channels_, 0.0);
        result_.forces.assign(3 * n_local, 0.0);
        atom_virials_.assign(9 * n_local, 0.0);
        at::parallel_for(0, static_cast<std::int64_t>(n_local), 8, [&](std::int64_t begin, std::int64_t end) {
            for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
                const double* own = all.data() + (first + i) * width;
                double* potential = result_.potentials.data() + i * channels_;
                for (std::size_t channel = 0; channel < channels_; ++channel)
                    potential[channel] = self * own[3 + channel];
                for (std::size_t j = 0; j < n_atoms_; ++j) {
                    if (j == first + i) continue;
                    const double* other = all.data() + j * width;
                    const double d[3] = {own[0] - other[0], own[1] - other[1], own[2] - other[2]};
                    const double r = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
                    if (r < 1e-6) throw Error(coincident_in_sum);
                    const auto [f, f_prime] = smeared_pair(r, a);
                    double qq = 0.0;
                    for (std::size_t channel = 0; channel < channels_; ++channel) {
                        potential[channel] += parameters_.coulomb_constant * other[3 + channel] * f;
                        qq += own[3 + channel] * other[3 + channel];
                    }
                    const double force = -parameters_.coulomb_constant * qq * f_prime / r;
                    for (std::size_t x = 0; x < 3; ++x) {
                        result_.forces[3 * i + x] += force * d[x];
                        // each pair is met twice, once from either atom
                        for (std::size_t y = 0; y < 3; ++y)
                            atom_virials_[9 * i + 3 * x + y] += 0.5 * force * d[x] * d[y];
                    }
                }
            }
        });
        result_.energy = 0.0;
        result_.virial = Matrix3{};
        for (std::size_t i = 0; i < n_local; ++i) {
            for (std::size_t channel = 0; channel < channels_; ++channel) {
                result_.energy +=
                    0.5 * all[(first + i) * width + 3 + channel] * result_.potentials[i * channels_ + channel];
            }
            for (std::size_t xy = 0; xy < 9; ++xy) result_.virial[xy / 3][xy % 3] += atom_virials_[9 * i + xy];
        }
    }
};

}  // namespace

std::unique_ptr<LongRangeSolver> make_isolated_solver(const LongRangeParameters& parameters, int n_channels) {
    return std::make_unique<IsolatedSolver>(parameters, n_channels);
}

}  // namespace les
