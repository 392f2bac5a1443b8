// The mesh on a GPU against the mesh solver of the CPU: the cases of tests/cuda, then repeated calls, which are
// launched as a graph, and errors; then the mesh divided among domains, threads that share the GPU. Run by
// scripts/gpu_check.sh; needs a GPU.
#include <cuda_runtime.h>

#include <cstdio>
#include <string>

#include "cuda/device_array.h"
#include "cuda/mesh_solver.h"
#include "distributed_cases.h"

namespace {

using les::cuda::check;

class DeviceCopy {
public:
    explicit DeviceCopy(const std::vector<double>& values) { assign(values); }
    void assign(const std::vector<double>& values) {
        array_.reserve(static_cast<std::int64_t>(values.size()));
        check(cudaMemcpy(array_.data(), values.data(), values.size() * sizeof(double), cudaMemcpyHostToDevice),
              "copying the input");
    }
    const double* data() const { return array_.data(); }

private:
    les::cuda::DeviceArray<double> array_;
};

bool same(const les::LongRangeResult& a, const les::LongRangeResult& b) {
    return a.energy == b.energy && a.potentials == b.potentials && a.forces == b.forces && a.virial == b.virial;
}

void check_solver(const cases::Case& example, const les::LongRangeOptions& options, bool deterministic,
                  const std::string& what, cudaStream_t stream) {
    const cases::Box& box = example.box;
    const auto n = static_cast<std::int64_t>(box.positions.size() / 3);
    const auto solver =
        les::cuda::make_mesh_solver(example.parameters, example.n_channels, options, {deterministic, true}, stream);
    const DeviceCopy positions(box.positions), charges(box.charges);
    solver->set_cell(box.cell, n);
    les::LongRangeResult first;
    // the second call captures a graph, the third launches it again
    for (int call = 0; call < 3; ++call) {
        solver->compute(positions.data(), charges.data(), n);
        const les::LongRangeResult result = solver->copy_results();
        cases::check_result(example, options, result, solver->report(), what);
        if (call == 0) first = result;
        if (deterministic) CHECK(same(result, first));
    }
    CHECK(solver->has_graphs());
}

void check_changing_cell(cudaStream_t stream) {
    const cases::Case example = cases::all_cases().front();
    les::LongRangeOptions options = cases::asked(1e-4);
    options.solver = "mesh";
    options.dtype = "float64";
    const auto n = static_cast<std::int64_t>(example.box.positions.size() / 3);
    const auto solver = les::cuda::make_mesh_solver(example.parameters, 1, options, {true, true}, stream);
    DeviceCopy positions(example.box.positions);
    const DeviceCopy charges(example.box.charges);
    for (const double factor : {1.0, 1.0, 0.999, 0.998, 1.06}) {
        cases::Case scaled = example;
        for (auto& row : scaled.box.cell) row[0] *= factor;
        for (std::size_t i = 0; i < scaled.box.positions.size(); i += 3) scaled.box.positions[i] *= factor;
        positions.assign(scaled.box.positions);
        solver->set_cell(scaled.box.cell, n);
        solver->compute(positions.data(), charges.data(), n);
        const auto result = solver->copy_results();
        // the direct sum, for a new CPU solver could choose another mesh than one that keeps its first scheme
        const auto direct = les::make_ewald_solver(example.parameters, 1);
        les::SingleProcess alone;
        const auto& expected = direct->compute(scaled.box.system(), scaled.box.charges, alone);
        cases::check_arrays(result.forces, expected.forces, 1e-3, 0.0, "forces in a cell that changes");
    }
}

/// A domain of the divided mesh, with a stream of its own.
class Domain final : public les::LongRangeSolver {
public:
    Domain(const cases::Case& example, const les::LongRangeOptions& options, bool deterministic) {
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
        solver_ =
            les::cuda::make_distributed_mesh(example.parameters, example.n_channels, options, deterministic, stream_);
    }
    ~Domain() override {
        solver_.reset();
        cudaStreamDestroy(stream_);
    }
    const les::LongRangeResult& compute(const les::System& system, const std::vector<double>& charges,
                                        les::Communicator& communicator) override {
        return solver_->compute(system, charges, communicator);
    }
    std::string description() const override { return solver_->description(); }
    const les::MeshReport* mesh_report() const override { return solver_->mesh_report(); }

private:
    cudaStream_t stream_ = nullptr;
    std::unique_ptr<les::LongRangeSolver> solver_;
};

/// Atoms that leave their domain, a cell that changes; in the deterministic mode twice the same bits.
int check_domains(bool few) {
    int checked = 0;
    cases::for_all_domains(
        [&](const auto& example, const auto& options, bool deterministic, const auto& division, int n_ranks) {
            if (few && checked >= 6) return;
            const auto boxes = cases::short_run(example.box, 1.0);
            const auto make = [&](int) { return std::make_unique<Domain>(example, options, deterministic); };
            cases::check_domains(example, {boxes[0], boxes[1], boxes[2]}, options, division, n_ranks, make);
            ++checked;
            if (!deterministic) return;
            std::vector<les::LongRangeResult> results;
            for (int run = 0; run < 2; ++run) {
                les::MeshReport report;
                results.push_back(cases::run_domains({boxes[0]}, example.n_channels,
                                                     cases::deal_out(boxes[0], division, n_ranks), make, report)[0]);
            }
            CHECK(same(results[0], results[1]));
        });
    return checked;
}

void check_not_finite(cudaStream_t stream) {
    cases::Case example = cases::all_cases().front();
    const auto n = static_cast<std::int64_t>(example.box.positions.size() / 3);
    const auto solver = les::cuda::make_mesh_solver(example.parameters, 1, cases::asked(1e-4), {}, stream);
    const DeviceCopy charges(example.box.charges);
    solver->set_cell(example.box.cell, n);
    example.box.positions[20] = NAN;
    DeviceCopy positions(example.box.positions);
    solver->compute(positions.data(), charges.data(), n);
    check_error([&] { solver->copy_results(); }, "`positions` and `charges` must be finite");
}

}  // namespace

int main(int argc, char** argv) {
    const bool few = argc > 1 && std::string(argv[1]) == "few";
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::fputs("check_device: error: there is no GPU here\n", stderr);
        return 2;
    }
    cudaStream_t stream = nullptr;
    check(cudaStreamCreate(&stream), "a stream");
    int checked = 0;
    cases::for_all([&](const auto& example, const auto& options, bool deterministic, const std::string& what) {
        const int nodes = example.options.interpolation_nodes.value_or(8);
        if (few && nodes != 8 && nodes != 16) return;
        check_solver(example, options, deterministic, what, stream);
        ++checked;
    });
    check_changing_cell(stream);
    check_not_finite(stream);
    check(cudaStreamDestroy(stream), "the stream");
    const int divided = check_domains(few);
    std::printf("the mesh on the GPU agrees with the CPU solver in %d cases, divided in %d\n", checked, divided);
    return 0;
}
