// The GPU of one domain of an Engine, emulated.
#pragma once

#include "cuda/device_evaluation.h"
#include "emulated_backend.h"

namespace les::cuda {

inline thread_local EmulatedBackend* device_of_thread = nullptr;  // the one made last

/// HostArrays on the emulated device, with what they refer to.
class EmulatedDomain final : public DeviceDomain {
public:
    EmulatedDomain(const ModelFile& file, const EngineOptions& options)
        : network_(file, "cpu", nullptr, {}),
          step_(backend_, file.metadata(), options, network_),
          arrays_(backend_, file.metadata(), options, network_, step_) {
        device_of_thread = &backend_;
    }
    void compute(const System& system, Results& results) override { arrays_.compute(system, results); }
    void forward(const System& system, Communicator& communicator) override { arrays_.forward(system, communicator); }
    const std::vector<double>& node_energies() const override { return arrays_.node_energies(); }
    const std::vector<double>& latent_charges() const override { return arrays_.latent_charges(); }
    const std::vector<double>& transfer_dipoles() const override { return arrays_.transfer_dipoles(); }
    const std::vector<double>& charge_gradient(const std::vector<double>& cotangents,
                                               const std::array<double, 3>& dipole_cotangent,
                                               Communicator& communicator) override {
        return arrays_.charge_gradient(cotangents, dipole_cotangent, communicator);
    }
    void backward(const System& system, const std::vector<double>& cotangents,
                  const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                  Results& results) override {
        arrays_.backward(system, cotangents, dipole_cotangent, communicator, results);
    }
    std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                           const LongRangeOptions& options,
                                                           bool deterministic) override {
        return arrays_.make_distributed_mesh(parameters, n_channels, options, deterministic);
    }
    std::unique_ptr<LongRangeSolver> make_isolated_rows(const LongRangeParameters& parameters,
                                                        int n_channels) override {
        return arrays_.make_isolated_rows(parameters, n_channels);
    }
    std::string long_range_description() const override { return arrays_.long_range_description(); }
    std::vector<std::string> take_warnings() override { return arrays_.take_warnings(); }

private:
    EmulatedBackend backend_;
    DeviceNetwork network_;
    DeviceStep<EmulatedBackend> step_;
    HostArrays<EmulatedBackend> arrays_;
};

}  // namespace les::cuda
