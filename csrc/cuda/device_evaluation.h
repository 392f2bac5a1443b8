// What a host wants of DeviceStep and DomainStep: results copied to host arrays, and evaluations of host arrays. For
// any backend.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "../src/device_domain.h"
#include "../src/embedding.h"
#include "device_step.h"
#include "domain_step.h"
#include "pair_rows.h"

namespace les::cuda {

/// What a host with device arrays asks for.
inline StepRequest request_of(const DeviceSystem& system) {
    return {system.field,           system.unwrapped_positions,  system.velocities,
            system.polarization,    system.polarization_current, system.born_charges,
            system.atom_virials,    system.n_external,           system.external_positions,
            system.external_charges};
}

/// Copies everything and waits. Throws les::Error if energy or forces are not finite.
template <class Backend>
Results copy_results(Backend& backend, const DeviceStep<Backend>& step) {
    Results results;
    results.n_channels = step.n_channels();
    const auto n = static_cast<std::size_t>(step.n_owned()), channels = static_cast<std::size_t>(step.n_channels());
    results.node_energies.resize(n);
    results.forces.resize(3 * static_cast<std::size_t>(step.n_atoms()));
    results.latent_charges.resize(n * channels);
    results.potentials.assign(n * channels, 0.0);
    DeviceSummary summary{};
    const auto copy = [&](std::vector<double>& to, const double* from) {
        if (!to.empty() && from != nullptr) backend.to_host(to.data(), from, to.size() * sizeof(double));
    };
    copy(results.node_energies, step.node_energies());
    copy(results.forces, step.forces());
    copy(results.latent_charges, step.latent_charges());
    copy(results.potentials, step.potentials());
    const auto copy_wanted = [&](std::vector<double>& to, const double* from, std::size_t size) {
        if (from != nullptr) to.resize(size);
        copy(to, from);
    };
    copy_wanted(results.field_energies, step.field_energies(), n);
    copy_wanted(results.born_charges, step.born_charges(), 9 * n);
    copy_wanted(results.atom_virials, step.atom_virials(), 9 * n);
    copy_wanted(results.external_potentials, step.external_potentials(), n);
    copy_wanted(results.external_forces, step.external_forces(), 3 * static_cast<std::size_t>(step.n_external()));
    backend.to_host(&summary, step.summary(), sizeof(summary));
    backend.wait();
    // of pairs; a mesh says no more than that something is not finite
    if (summary.status == 2.0 && !step.was_periodic()) throw Error(external_charge_at_atom);
    if (summary.status != 0.0) throw Error(results_not_finite);
    results.short_range_energy = summary.short_range_energy;
    results.long_range_energy = summary.long_range_energy;
    results.field_energy = summary.field_energy;
    results.embedding_energy = summary.embedding_energy;
    for (std::size_t a = 0; a < 3; ++a) {
        results.polarization[a] = summary.polarization[a];
        results.polarization_current[a] = summary.polarization_current[a];
        for (std::size_t b = 0; b < 3; ++b) results.virial[a][b] = summary.virial[3 * a + b];
    }
    return results;
}

/// Device copies of a host's arrays, and DeviceStep or, on one of several domains, DomainStep on them.
template <class Backend>
class HostArrays final : public DeviceDomain {
public:
    template <class T>
    using Array = typename Backend::template Array<T>;

    HostArrays(Backend& backend, const Metadata& metadata, const EngineOptions& options, DeviceNetwork& network,
               DeviceStep<Backend>& step)
        : backend_(backend), step_(step), domain_(backend, metadata, options, network) {}

    void compute(const System& system, Results& results) override {
        SingleProcess alone;
        check_external_charges(system, alone);
        send(system, system.n_local, system.periodic);
        step_.compute(atoms_, request(system));
        Results found = copy_results(backend_, step_);
        found.forces.resize(3 * static_cast<std::size_t>(system.n_all), 0.0);
        if (system.atom_virials) found.atom_virials.resize(9 * static_cast<std::size_t>(system.n_all), 0.0);
        restore_external(system, found);
        std::swap(results, found);
    }

    // ---- of several domains

    void forward(const System& system, Communicator& communicator) override {
        // ghosts carry the images
        send(system, system.n_all, false);
        domain_.forward(atoms_, communicator);
        copy(node_energies_, domain_.node_energies(), atoms_.n_owned);
        copy(charges_, domain_.latent_charges(), atoms_.n_atoms * step_.n_channels());
        copy(dipoles_, domain_.transfer_dipoles(), 3 * atoms_.n_owned);
        backend_.wait();
    }

    const std::vector<double>& node_energies() const override { return node_energies_; }
    const std::vector<double>& latent_charges() const override { return charges_; }
    const std::vector<double>& transfer_dipoles() const override { return dipoles_; }

    const std::vector<double>& charge_gradient(const std::vector<double>& cotangents,
                                               const std::array<double, 3>& dipole_cotangent,
                                               Communicator& communicator) override {
        const double* on_device = copied(cotangents.data(), static_cast<std::int64_t>(cotangents.size()), cotangents_);
        copy(gradient_, domain_.charge_gradient(on_device, dipole_cotangent, communicator), 3 * atoms_.n_atoms);
        backend_.wait();
        return gradient_;
    }

    void backward(const System& system, const std::vector<double>& cotangents,
                  const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                  Results& results) override {
        const double* on_device = copied(cotangents.data(), static_cast<std::int64_t>(cotangents.size()), cotangents_);
        domain_.backward(on_device, dipole_cotangent, system.atom_virials, communicator);
        DeviceSummary summary{};
        copy(results.forces, domain_.results().forces(), 3 * atoms_.n_atoms);
        copy(results.atom_virials, domain_.results().atom_virials(), system.atom_virials ? 9 * atoms_.n_atoms : 0);
        backend_.to_host(&summary, domain_.results().summary(), sizeof(summary));
        backend_.wait();
        for (std::size_t ab = 0; ab < 9; ++ab) results.virial[ab / 3][ab % 3] = summary.virial[ab];
    }

    std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                           const LongRangeOptions& options,
                                                           bool deterministic) override {
        return backend_.make_distributed_mesh(parameters, n_channels, options, deterministic);
    }
    std::unique_ptr<LongRangeSolver> make_isolated_rows(const LongRangeParameters& parameters,
                                                        int n_channels) override {
        return std::make_unique<IsolatedRows<Backend>>(backend_, parameters, n_channels);
    }

    std::string long_range_description() const override { return step_.description(); }
    std::vector<std::string> take_warnings() override { return step_.take_warnings(); }

private:
    Backend& backend_;
    DeviceStep<Backend>& step_;
    DomainStep<Backend> domain_;
    StepAtoms atoms_;
    Array<double> positions_, cotangents_, unwrapped_, velocities_, external_positions_, external_charges_;
    Array<std::int32_t> types_;
    std::vector<double> node_energies_, charges_, dipoles_, gradient_;  // of one of several domains
    std::vector<double> charged_positions_, charged_charges_;
    std::vector<std::size_t> charged_;  // external charges that are not zero

    /// `n` numbers of the device, or none; without a wait.
    void copy(std::vector<double>& to, const double* from, std::int64_t n) {
        to.resize(from != nullptr ? static_cast<std::size_t>(n) : 0);
        if (!to.empty()) backend_.to_host(to.data(), from, to.size() * sizeof(double));
    }

    /// Device copy of `n` numbers of the host, or null.
    const double* copied(const double* from, std::int64_t n, Array<double>& to) {
        if (from == nullptr || n == 0) return nullptr;
        to.reserve(n);
        backend_.to_device(to.data(), from, static_cast<std::size_t>(n) * sizeof(double));
        return to.data();
    }

    StepRequest request(const System& system) {
        StepRequest wanted;
        wanted.field = system.field;
        wanted.polarization = true;
        wanted.current = system.polarization_current;
        wanted.born_charges = system.born_charges;
        wanted.atom_virials = system.atom_virials;
        wanted.moments_from = copied(system.unwrapped_positions, 3 * system.n_local, unwrapped_);
        if (wanted.current) {
            if (system.velocities == nullptr && system.n_local > 0) throw Error(current_without_velocities);
            wanted.velocities = copied(system.velocities, 3 * system.n_local, velocities_);
        }
        charged_.clear();
        charged_positions_.clear();
        charged_charges_.clear();
        for (std::size_t j = 0; j < static_cast<std::size_t>(system.n_external); ++j) {
            if (system.external_charges[j] == 0.0) continue;
            charged_.push_back(j);
            charged_charges_.push_back(system.external_charges[j]);
            charged_positions_.insert(charged_positions_.end(), system.external_positions + 3 * j,
                                      system.external_positions + 3 * j + 3);
        }
        wanted.n_external = static_cast<std::int64_t>(charged_.size());
        wanted.external_positions = copied(charged_positions_.data(), 3 * wanted.n_external, external_positions_);
        wanted.external_charges = copied(charged_charges_.data(), wanted.n_external, external_charges_);
        return wanted;
    }

    /// Rows of all external charges from those of the ones that are not zero.
    void restore_external(const System& system, Results& results) const {
        if (system.n_external == 0) return;
        results.external_potentials.resize(static_cast<std::size_t>(system.n_local), 0.0);
        std::vector<double> all(3 * static_cast<std::size_t>(system.n_external), 0.0);
        for (std::size_t n = 0; n < results.external_forces.size(); ++n)
            all[3 * charged_[n / 3] + n % 3] = results.external_forces[n];
        results.external_forces = std::move(all);
    }

    void send(const System& system, std::int64_t n_atoms, bool periodic) {
        positions_.reserve(3 * n_atoms);
        types_.reserve(n_atoms);
        const auto n = static_cast<std::size_t>(n_atoms);
        if (n > 0) {
            backend_.to_device(positions_.data(), system.positions, 3 * n * sizeof(double));
            backend_.to_device(types_.data(), system.types, n * sizeof(std::int32_t));
        }
        atoms_ = {n_atoms, system.n_local, positions_.data(), types_.data(), system.cell, periodic};
    }
};

}  // namespace les::cuda
