// A GPU for an Engine whose arrays are on the host: positions up, forces down. With one domain the whole evaluation is
// on the device; with several the charges come down in between, for the domains exchange them, and the long-range sum
// is divided among the devices of all.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "domain_network.h"
#include "les/engine.h"
#include "les/long_range.h"
#include "les/system.h"
#include "one_line_errors.h"
#include "shared_failure.h"

namespace les {

/// As DomainNetwork it is one of several; of the host's list and edges it needs none.
class DeviceDomain : public DomainNetwork {
public:
    /// All of an evaluation, of the owned atoms of `system` alone: hosts of one domain carry no ghosts that the cell
    /// does not give.
    virtual void compute(const System& system, Results& results) = 0;

    void find_edges(const System&, const EdgeList*) final {}

    /// The long-range sums of several domains, on the devices of all of them; must not outlive this object.
    virtual std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters,
                                                                   int n_channels, const LongRangeOptions& options,
                                                                   bool deterministic) = 0;
    virtual std::unique_ptr<LongRangeSolver> make_isolated_rows(const LongRangeParameters& parameters,
                                                                int n_channels) = 0;

    virtual std::string long_range_description() const = 0;
    virtual std::vector<std::string> take_warnings() = 0;
};

/// `device` is "cuda" or "cuda:N", see device_index_of. Throws les::Error for a build without CUDA.
std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile& file, const EngineOptions& options);

/// One of several domains with a device each: what fails on one is thrown on all, so that none waits for another for
/// ever.
class SharedDomain final : public DomainNetwork {
public:
    explicit SharedDomain(DomainNetwork& device) : device_(device) {}

    void find_edges(const System& system, const EdgeList* of_host) override { device_.find_edges(system, of_host); }
    void forward(const System& system, Communicator& communicator) override {
        on_all_domains(communicator, [&](Communicator& checked) { device_.forward(system, checked); });
    }
    const std::vector<double>& node_energies() const override { return device_.node_energies(); }
    const std::vector<double>& latent_charges() const override { return device_.latent_charges(); }
    const std::vector<double>& transfer_dipoles() const override { return device_.transfer_dipoles(); }
    const std::vector<double>& charge_gradient(const std::vector<double>& cotangents,
                                               const std::array<double, 3>& dipole_cotangent,
                                               Communicator& communicator) override {
        const std::vector<double>* gradient = nullptr;
        on_all_domains(communicator, [&](Communicator& checked) {
            gradient = &device_.charge_gradient(cotangents, dipole_cotangent, checked);
        });
        return *gradient;
    }
    void backward(const System& system, const std::vector<double>& cotangents,
                  const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                  Results& results) override {
        on_all_domains(communicator, [&](Communicator& checked) {
            device_.backward(system, cotangents, dipole_cotangent, checked, results);
        });
    }

private:
    DomainNetwork& device_;
    SharedFailure failure_;

    /// `step` is given a communicator whose exchanges end on all domains if another has failed before it.
    template <class Step>
    void on_all_domains(Communicator& communicator, const Step& step) {
        CheckedCommunicator checked(communicator, failure_);
        failure_.attempt([&] { with_one_line_errors([&] { step(checked); }); });
        failure_.check(communicator);
    }
};

}  // namespace les
