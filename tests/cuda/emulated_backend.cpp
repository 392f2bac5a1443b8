// The mesh of the emulated device, compiled once for all programs that have it.
#include "emulated_backend.h"

#include "cuda/distributed_solver.h"
#include "emulated_mesh.h"

namespace les::cuda {

namespace {

/// The emulated mesh as a MeshSolver.
template <class Real>
class EmulatedSolver final : public MeshSolver {
public:
    EmulatedSolver(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options,
                   bool deterministic)
        : mesh_(parameters, n_channels, options, deterministic), channels_(n_channels) {}

    void set_cell(const Matrix3& cell, std::int64_t) override { cell_ = cell; }
    void compute(const double* positions, const double* charges, std::int64_t n) override {
        mesh_.compute(cell_, std::vector<double>(positions, positions + 3 * n),
                      std::vector<double>(charges, charges + channels_ * n));
    }
    const double* potentials() const override { return mesh_.potentials.data(); }
    const double* forces() const override { return mesh_.forces.data(); }
    const double* summary() const override { return reinterpret_cast<const double*>(&mesh_.summary); }
    LongRangeResult copy_results() override { return {}; }
    const MeshReport& report() const override { return mesh_.setup().report(); }
    std::string description() const override { return mesh_.setup().description(); }

private:
    EmulatedMesh<Real> mesh_;
    int channels_;
    Matrix3 cell_{};
};

}  // namespace

std::unique_ptr<MeshSolver> EmulatedBackend::make_mesh(const LongRangeParameters& parameters, int n_channels,
                                                       const LongRangeOptions& options, bool deterministic) const {
    if (options.dtype == "float32")
        return std::make_unique<EmulatedSolver<float>>(parameters, n_channels, options, deterministic);
    return std::make_unique<EmulatedSolver<double>>(parameters, n_channels, options, deterministic);
}

std::unique_ptr<LongRangeSolver> EmulatedBackend::make_distributed_mesh(const LongRangeParameters& parameters,
                                                                        int n_channels, const LongRangeOptions& options,
                                                                        bool deterministic) const {
    return make_distributed_solver(*this, parameters, n_channels, options, deterministic);
}

}  // namespace les::cuda
