// The divided mesh with CUDA's backend, for both precisions.
#include "cuda_backend.cuh"
#include "distributed_solver.h"
#include "mesh_solver.h"

namespace les::cuda {

namespace {

/// A solver with the backend that it refers to.
class CudaDistributedSolver final : public LongRangeSolver {
public:
    CudaDistributedSolver(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options,
                          bool deterministic, cudaStream_t stream)
        : backend_(stream),
          solver_(make_distributed_solver(backend_, parameters, n_channels, options, deterministic)) {}

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        return solver_->compute(system, charges, communicator);
    }
    std::string description() const override { return solver_->description(); }
    std::vector<std::string> take_warnings() override { return solver_->take_warnings(); }
    const MeshReport* mesh_report() const override { return solver_->mesh_report(); }

private:
    CudaBackend backend_;
    std::unique_ptr<LongRangeSolver> solver_;
};

}  // namespace

std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                       const LongRangeOptions& options, bool deterministic,
                                                       cudaStream_t stream) {
    return std::make_unique<CudaDistributedSolver>(parameters, n_channels, options, deterministic, stream);
}

}  // namespace les::cuda
