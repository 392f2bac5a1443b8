// The evaluation on a GPU: DeviceStep with CUDA's backend, behind the interfaces of hosts with device arrays and with
// host arrays.
#include <memory>
#include <string>
#include <utility>

#include "../src/one_line_errors.h"
#include "cuda_backend.cuh"
#include "device_evaluation.h"
#include "device_step.h"
#include "les/version.h"

namespace les {

namespace {

using cuda::check;
using cuda::CudaBackend;

/// Whether this process uses the device already. cudaSetDevice would make a context there, hundreds of megabytes: each
/// of several ranks would have one on the first GPU beside that on its own.
bool has_context(int device) {
    void* found = nullptr;
#if CUDART_VERSION >= 12050
    cudaDriverEntryPointQueryResult result{};
    cudaGetDriverEntryPointByVersion("cuDevicePrimaryCtxGetState", &found, 12000, cudaEnableDefault, &result);
#endif
    const auto get_state = reinterpret_cast<int (*)(int, unsigned*, int*)>(found);
    unsigned flags = 0;
    int active = 0;
    return get_state == nullptr || get_state(device, &flags, &active) != 0 || active != 0;
}

/// Makes a device current, and afterwards the one that was, if it was in use.
class CurrentDevice {
public:
    explicit CurrentDevice(int index) {
        check(cudaGetDevice(&before_), "the current device");
        changed_ = before_ != index;
        if (changed_) check(cudaSetDevice(index), "the choice of a device");
    }
    ~CurrentDevice() {
        if (changed_ && has_context(before_)) cudaSetDevice(before_);
    }
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int before_ = 0;
    bool changed_ = false;
};

/// Throws les::Error where there may be a GPU, but CUDA cannot use it.
int count_devices() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess) return count;
    if (status == cudaErrorNoDevice) return 0;
    throw Error(std::string("device cuda was asked for, but no GPU can be used (") + cudaGetErrorString(status) +
                "); install or update NVIDIA's driver, or use device cpu");
}

/// What an evaluation on one device needs; made with that device current.
struct Parts {
    Metadata metadata;
    CudaBackend backend;
    DeviceNetwork network;
    cuda::DeviceStep<CudaBackend> step;

    Parts(const ModelFile& file, const EngineOptions& options, int index, cudaStream_t stream)
        : metadata(file.metadata()),
          backend(stream),
          network(file, "cuda:" + std::to_string(index), stream, {options.deterministic}),
          step(backend, metadata, options, network) {}
};

}  // namespace

struct DeviceEngine::Implementation {
    int index;
    Parts parts;

    Implementation(const ModelFile& file, const EngineOptions& options, int device_index, cudaStream_t stream)
        : index(device_index), parts(file, options, device_index, stream) {}
};

DeviceEngine::DeviceEngine(const ModelFile& file, const EngineOptions& options, int device_index, void* stream) {
    check_torch_version();
    const int index = device_index_of("cuda:" + std::to_string(device_index), count_devices());
    const CurrentDevice current(index);
    implementation_ = std::make_unique<Implementation>(file, options, index, static_cast<cudaStream_t>(stream));
}
DeviceEngine::~DeviceEngine() = default;
DeviceEngine::DeviceEngine(DeviceEngine&&) noexcept = default;
DeviceEngine& DeviceEngine::operator=(DeviceEngine&&) noexcept = default;

const Metadata& DeviceEngine::metadata() const { return implementation_->parts.metadata; }

void DeviceEngine::compute(const DeviceSystem& system) {
    const CurrentDevice current(implementation_->index);
    with_one_line_errors([&] {
        implementation_->parts.step.compute(
            {system.n_atoms, system.n_atoms, system.positions, system.types, system.cell, system.periodic},
            cuda::request_of(system));
    });
}

const double* DeviceEngine::forces() const { return implementation_->parts.step.forces(); }
const double* DeviceEngine::summary() const {
    return reinterpret_cast<const double*>(implementation_->parts.step.summary());
}
const double* DeviceEngine::node_energies() const { return implementation_->parts.step.node_energies(); }
const double* DeviceEngine::latent_charges() const { return implementation_->parts.step.latent_charges(); }
const double* DeviceEngine::potentials() const { return implementation_->parts.step.potentials(); }
const double* DeviceEngine::external_forces() const { return implementation_->parts.step.external_forces(); }
const double* DeviceEngine::born_charges() const { return implementation_->parts.step.born_charges(); }
const double* DeviceEngine::atom_virials() const { return implementation_->parts.step.atom_virials(); }

Results DeviceEngine::copy_results() {
    const CurrentDevice current(implementation_->index);
    return cuda::copy_results(implementation_->parts.backend, implementation_->parts.step);
}

std::string DeviceEngine::long_range_description() const { return implementation_->parts.step.description(); }
std::vector<std::string> DeviceEngine::take_warnings() { return implementation_->parts.step.take_warnings(); }

bool has_device_engine() { return true; }

namespace {

/// A stream of its own, on which everything of a host with host arrays runs.
class OwnStream {
public:
    OwnStream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"); }
    ~OwnStream() { cudaStreamDestroy(stream_); }
    OwnStream(const OwnStream&) = delete;
    OwnStream& operator=(const OwnStream&) = delete;
    cudaStream_t get() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

/// A solver whose device is made current in its calls.
class CudaLongRange final : public LongRangeSolver {
public:
    CudaLongRange(std::unique_ptr<LongRangeSolver> solver, int index) : solver_(std::move(solver)), index_(index) {}

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        const CurrentDevice current(index_);
        return solver_->compute(system, charges, communicator);
    }
    std::string description() const override { return solver_->description(); }
    std::vector<std::string> take_warnings() override { return solver_->take_warnings(); }
    const MeshReport* mesh_report() const override { return solver_->mesh_report(); }

private:
    std::unique_ptr<LongRangeSolver> solver_;
    int index_;
};

class CudaDomain final : public DeviceDomain {
public:
    CudaDomain(const ModelFile& file, const EngineOptions& options, int index)
        : index_(index),
          current_(std::make_unique<CurrentDevice>(index)),
          parts_(file, options, index, stream_.get()),
          arrays_(parts_.backend, parts_.metadata, options, parts_.network, parts_.step) {
        current_.reset();
    }

    void compute(const System& system, Results& results) override {
        const CurrentDevice current(index_);
        arrays_.compute(system, results);
    }
    void forward(const System& system, Communicator& communicator) override {
        const CurrentDevice current(index_);
        arrays_.forward(system, communicator);
    }
    const std::vector<double>& node_energies() const override { return arrays_.node_energies(); }
    const std::vector<double>& latent_charges() const override { return arrays_.latent_charges(); }
    const std::vector<double>& transfer_dipoles() const override { return arrays_.transfer_dipoles(); }
    const std::vector<double>& charge_gradient(const std::vector<double>& cotangents,
                                               const std::array<double, 3>& dipole_cotangent,
                                               Communicator& communicator) override {
        const CurrentDevice current(index_);
        return arrays_.charge_gradient(cotangents, dipole_cotangent, communicator);
    }
    void backward(const System& system, const std::vector<double>& cotangents,
                  const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                  Results& results) override {
        const CurrentDevice current(index_);
        arrays_.backward(system, cotangents, dipole_cotangent, communicator, results);
    }
    std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                           const LongRangeOptions& options,
                                                           bool deterministic) override {
        const CurrentDevice current(index_);
        return std::make_unique<CudaLongRange>(
            arrays_.make_distributed_mesh(parameters, n_channels, options, deterministic), index_);
    }
    std::unique_ptr<LongRangeSolver> make_isolated_rows(const LongRangeParameters& parameters,
                                                        int n_channels) override {
        const CurrentDevice current(index_);
        return std::make_unique<CudaLongRange>(arrays_.make_isolated_rows(parameters, n_channels), index_);
    }
    std::string long_range_description() const override { return arrays_.long_range_description(); }
    std::vector<std::string> take_warnings() override { return arrays_.take_warnings(); }

private:
    int index_;
    std::unique_ptr<CurrentDevice> current_;  // while the others are made
    OwnStream stream_;
    Parts parts_;
    cuda::HostArrays<CudaBackend> arrays_;
};

}  // namespace

std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile& file, const EngineOptions& options) {
    return std::make_unique<CudaDomain>(file, options, device_index_of(options.device, count_devices()));
}

}  // namespace les
