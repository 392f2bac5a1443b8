// Which periodic solver runs: the one asked for, or the one expected to be faster. The choice depends on cell, number
// of atoms and accuracy, never on the number of domains, and stays.
#include <algorithm>

#include "les/error.h"
#include "les/long_range.h"
#include "mesh_plan.h"

namespace les {

namespace {

/// "auto": the first evaluation of a system decides.
class ChosenSolver final : public LongRangeSolver {
public:
    ChosenSolver(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options)
        : parameters_(parameters), options_(options), n_channels_(n_channels) {
        check_options(parameters, options);
    }

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        if (!solver_ || system.cell != cell_) choose(system, communicator);
        return solver_->compute(system, charges, communicator);
    }

    std::string description() const override { return solver_ ? solver_->description() : "automatic"; }
    std::vector<std::string> take_warnings() override {
        return solver_ ? solver_->take_warnings() : std::vector<std::string>{};
    }
    const MeshReport* mesh_report() const override { return solver_ ? solver_->mesh_report() : nullptr; }

private:
    LongRangeParameters parameters_;
    LongRangeOptions options_;
    int n_channels_;
    std::unique_ptr<LongRangeSolver> solver_;

    Matrix3 cell_{}, chosen_cell_{};
    double chosen_n_atoms_ = 0.0;

    void choose(const System& system, Communicator& communicator) {
        cell_ = system.cell;
        double sum = static_cast<double>(system.n_local);
        communicator.allreduce_sum(&sum, 1);
        if (solver_ && !is_other_system(chosen_cell_, chosen_n_atoms_, system.cell, sum)) return;
        chosen_cell_ = system.cell;
        chosen_n_atoms_ = sum;
        const auto n_atoms = static_cast<std::int64_t>(sum);
        const double direct = direct_cost(parameters_, system.cell, n_atoms);
        const MeshScheme scheme = choose_scheme(parameters_, options_, system.cell, n_atoms);
        const double mesh =
            mesh_cost(scheme, choose_mesh(scheme, options_, system.cell), n_atoms, options_.dtype == "float32");
        // far below the time of any network the exact sum costs nothing
        constexpr double nothing = 2e-4;
        solver_ = direct <= std::max(mesh, nothing) ? make_ewald_solver(parameters_, n_channels_, options_.freeze_k_set)
                                                    : make_mesh_solver(parameters_, n_channels_, options_);
    }
};

}  // namespace

std::unique_ptr<LongRangeSolver> make_periodic_solver(const LongRangeParameters& parameters, int n_channels,
                                                      const LongRangeOptions& options) {
    check_options(parameters, options);
    if (options.solver == "direct") return make_ewald_solver(parameters, n_channels, options.freeze_k_set);
    const bool asks_for_mesh = options.interpolation_nodes || options.mesh_spacing || options.mesh;
    if (options.solver == "mesh" || asks_for_mesh) return make_mesh_solver(parameters, n_channels, options);
    return std::make_unique<ChosenSolver>(parameters, n_channels, options);
}

}  // namespace les
