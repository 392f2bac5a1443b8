// The mesh of the emulated device, compiled once for all programs that have it.
#include "emulated_backend.h"

#include <algorithm>

#include "cuda/distributed_solver.h"
#include "emulated_mesh.h"

namespace les::cuda {

namespace {

/// The emulated mesh as a MeshSolver.
template <class Real>
class EmulatedSolver final : public MeshSolver {
public:
    EmulatedSolver(EmulatedBackend& backend, const LongRangeParameters& parameters, int n_channels,
                   const LongRangeOptions& options, bool deterministic)
        : backend_(backend), mesh_(parameters, n_channels, options, deterministic), channels_(n_channels) {}

    void set_cell(const Matrix3& cell, std::int64_t n) override {
        cell_ = cell;
        if (mesh_.set_cell(cell, n)) ++generation_;
        room_ = std::max(room_, n);
        mesh_.reserve(room_);
    }
    void compute(const double* positions, const double* charges, std::int64_t n) override {
        backend_.run([=, this] {
            mesh_.compute(cell_, std::vector<double>(positions, positions + 3 * n),
                          std::vector<double>(charges, charges + channels_ * n));
        });
    }
    std::int64_t generation() const override { return generation_; }
    const double* potentials() const override { return mesh_.potentials.data(); }
    const double* forces() const override { return mesh_.forces.data(); }
    const double* summary() const override { return reinterpret_cast<const double*>(&mesh_.summary); }
    LongRangeResult copy_results() override { return {}; }
    const MeshReport& report() const override { return mesh_.setup().report(); }
    std::string description() const override { return mesh_.setup().description(); }

private:
    EmulatedBackend& backend_;
    EmulatedMesh<Real> mesh_;
    std::int64_t generation_ = 0, room_ = 0;
    int channels_;
    Matrix3 cell_{};
};

}  // namespace

std::unique_ptr<MeshSolver> EmulatedBackend::make_mesh(const LongRangeParameters& parameters, int n_channels,
                                                       const LongRangeOptions& options,
                                                       const DeviceOptions& device_options) {
    const bool deterministic = device_options.deterministic;
    if (options.dtype == "float32")
        return std::make_unique<EmulatedSolver<float>>(*this, parameters, n_channels, options, deterministic);
    return std::make_unique<EmulatedSolver<double>>(*this, parameters, n_channels, options, deterministic);
}

std::unique_ptr<LongRangeSolver> EmulatedBackend::make_distributed_mesh(const LongRangeParameters& parameters,
                                                                        int n_channels, const LongRangeOptions& options,
                                                                        bool deterministic) const {
    return make_distributed_solver(*this, parameters, n_channels, options, deterministic);
}

}  // namespace les::cuda
