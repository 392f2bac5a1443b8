// The whole evaluation between device arrays: DeviceStep::compute is the page to read, with the steps of the CPU's
// Engine::compute. What a launch, an array and a wait are comes from `Backend`: of CUDA in cuda_backend.cuh, loops of
// the CPU in tests/cuda/emulated_backend.h, so that the same step runs without a GPU.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "../src/device_network.h"
#include "../src/engine_options.h"
#include "../src/model_state.h"
#include "device_charges.h"
#include "device_embedding.h"
#include "device_forces.h"
#include "device_long_range.h"
#include "device_response.h"
#include "external_charges.cuh"
#include "les/device_engine.h"
#include "neighbor_search.h"
#include "step_graph.h"

namespace les::cuda {

template <class Backend>
class DeviceStep {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    DeviceStep(Backend& backend, const Metadata& metadata, const EngineOptions& options, DeviceNetwork& network)
        : backend_(backend),
          network_(network),
          n_channels_(metadata.n_channels),
          search_(backend, metadata.cutoff, options.skin, static_cast<std::int32_t>(metadata.symbols.size())),
          charges_(backend, metadata, options),
          long_range_(backend, metadata, options, warnings_),
          embedding_(backend, metadata, options),
          response_(backend, metadata),
          forces_(backend, metadata.n_channels),
          graph_(backend, options.graphs,
                 metadata.rows_entry ? backend.why_no_graphs()
                                     : "the model file has no entry `rows`; export it again with `les-export`",
                 metadata.dtype == "float64" && long_range_options(metadata, options).dtype == "float64" ? 1e-8 : 1e-4,
                 warnings_) {
        const std::array<double, 2> state = model_state(metadata, options, warnings_);
        if (metadata.has_state()) network.set_state(state[0], state[1]);
    }

    /// Everything of one domain: forces, energies, charges and potentials, and what was asked for.
    void compute(const StepAtoms& atoms, const StepRequest& request = {}) {
        check(atoms, request);
        long_range_.set_cell(atoms);
        embedding_.set_cell(atoms, request);
        reserve(atoms);
        const bool plain = request.is_plain();
        bool launched = false;
        do {
            search_.start(atoms);
            launched = plain && graph_.is_for(key_of(atoms, request));
            if (launched) {
                launch_graph(atoms, request);
            } else if (search_.knows_runs()) {
                network_.forward(network_rows());
            }
            // the network's work is queued by now: while the host waits for the search, the device goes on
        } while (!search_.finish());
        if (!launched) {
            after_forward(atoms, request);
            if (!plain) {
                go_without_graph("more than energy, forces and polarization is asked for, or a field acts");
            } else if (graph_.is_due(key_of(atoms, request), n_owned_)) {
                capture(atoms, request);
            }
        } else if (!graph_.is_checked()) {
            check_graph(atoms, request);
        }
        warn(atoms, request);
    }

    const double* forces() const { return forces_.forces(); }
    const DeviceSummary* summary() const { return forces_.summary(); }
    const double* node_energies() const { return network_.node_energies(); }
    const double* latent_charges() const { return network_.latent_charges(); }
    const double* potentials() const { return long_range_.potentials(); }
    /// Null for what the last evaluation has not.
    const double* atom_virials() const { return has_atom_virials_ ? forces_.atom_virials() : nullptr; }
    const double* born_charges() const { return response_.born_charges(); }
    const double* field_energies() const { return response_.field_energies(); }
    const double* external_potentials() const { return embedding_.potentials(); }
    const double* external_forces() const { return embedding_.external_forces(); }
    std::int64_t n_external() const { return embedding_.n_external(); }
    bool was_periodic() const { return was_periodic_; }
    int n_channels() const { return n_channels_; }
    std::int64_t n_atoms() const { return n_atoms_; }
    std::int64_t n_owned() const { return n_owned_; }

    std::string description() const {
        const std::string of_sum = long_range_.description(), external = embedding_.description();
        return of_sum == "none" || external.empty() ? of_sum : of_sum + "; external charges: " + external;
    }
    std::vector<std::string> take_warnings() {
        std::vector<std::string> warnings = std::exchange(warnings_, {});
        if (std::string note = network_.take_note(); !note.empty()) warnings.push_back(std::move(note));
        return warnings;
    }

    const NeighborSearch<Backend>& search() const { return search_; }
    const StepGraph<Backend>& graph() const { return graph_; }

private:
    Backend& backend_;
    DeviceNetwork& network_;
    int n_channels_;
    std::vector<std::string> warnings_;
    NeighborSearch<Backend> search_;
    DeviceCharges<Backend> charges_;
    DeviceLongRange<Backend> long_range_;
    DeviceEmbedding<Backend> embedding_;
    DeviceResponse<Backend> response_;
    DeviceForces<Backend> forces_;
    StepGraph<Backend> graph_;
    std::int64_t n_atoms_ = 0, n_owned_ = 0;
    bool was_periodic_ = false, has_atom_virials_ = false, warned_of_field_ = false, checked_embedding_ = false;
    Array<double> term_forces_, term_potentials_;

    void check(const StepAtoms& atoms, const StepRequest& request) const {
        if (request.current && request.velocities == nullptr && atoms.n_owned > 0)
            throw Error(current_without_velocities);
        response_.check(request);
        embedding_.check(request);
    }

    /// Sentences for the user, each once.
    void warn(const StepAtoms& atoms, const StepRequest& request) {
        if (request.has_field() && !response_.is_defined(atoms) && !std::exchange(warned_of_field_, true))
            warnings_.emplace_back(warning_of_field);
        if (embedding_.report() != nullptr && !std::exchange(checked_embedding_, true))
            long_range_.warn_of_error(*embedding_.report());
    }

    void reserve(const StepAtoms& atoms) {
        forces_.reserve(atoms.n_atoms);
        n_atoms_ = atoms.n_atoms;
        n_owned_ = atoms.n_owned;
        was_periodic_ = atoms.periodic;
    }

    NetworkRows network_rows() const {
        const EdgeRows& rows = search_.rows();
        return {n_atoms_,        n_owned_,     rows.slots,      search_.types(),
                rows.neighbours, rows.vectors, search_.order(), search_.runs()};
    }

    /// The step behind the network's forward pass.
    void after_forward(const StepAtoms& atoms, const StepRequest& request) {
        charges_.neutralize(network_.latent_charges(), atoms.n_owned);
        long_range_.compute(atoms, network_.latent_charges());
        embedding_.compute(atoms, request, network_.latent_charges());
        response_.compute(atoms, request, search_, network_,
                          [&](const double* rows) { return charges_.cotangents_of(rows, atoms.n_owned); });
        const double* cotangents = charges_.cotangents_of(sum_of_potentials(atoms.n_owned), atoms.n_owned);
        const double* gradients = network_.backward(cotangents, response_.dipole_cotangent(request));
        forces_.collect(search_, gradients, network_.node_energies(), terms(atoms, request));
        collect_atom_virials(atoms, request);
    }

    /// Potentials of long-range sum, external charges and a field; the forces at fixed charges as well.
    const double* sum_of_potentials(std::int64_t n) {
        if (n == 0 || !has_more_terms()) return long_range_.potentials();
        term_forces_.reserve(3 * n);
        term_potentials_.reserve(n * n_channels_);
        launch_over(backend_, n,
                    AddTerms{n,
                             n_channels_,
                             {long_range_.forces(), embedding_.forces(), response_.forces()},
                             {long_range_.potentials(), embedding_.potentials(), response_.potentials()},
                             term_forces_.data(),
                             term_potentials_.data()},
                    "the sum of potentials");
        return term_potentials_.data();
    }
    bool has_more_terms() const { return embedding_.forces() != nullptr || response_.forces() != nullptr; }

    OtherTerms terms(const StepAtoms& atoms, const StepRequest& request) const {
        return {n_owned_ > 0 && has_more_terms() ? term_forces_.data() : long_range_.forces(),
                long_range_.summary(),
                embedding_.summary(),
                response_.sums(),
                response_.has_energy() ? response_.forces() : nullptr,
                request.moments_from != nullptr ? request.moments_from : atoms.positions};
    }

    void collect_atom_virials(const StepAtoms& atoms, const StepRequest& request) {
        has_atom_virials_ = request.atom_virials;
        if (request.atom_virials && atoms.n_owned > 0)
            forces_.collect_atom_virials(search_, network_.gradients(), network_.latent_charges(),
                                         terms(atoms, request));
    }

    // ---- the step as a graph

    /// The neighbour search is outside of the graph: it decides on the device what it has to do, and another cell means
    /// other arguments of its kernels.
    StepKey key_of(const StepAtoms& atoms, const StepRequest& request) const {
        const NeighborArrays& list = search_.list();
        const EdgeRows& rows = search_.rows();
        return {{atoms.positions, rows.neighbours, rows.vectors, list.candidates, list.reverse, list.slots,
                 search_.order(), forces_.forces(), request.moments_from},
                {n_atoms_, n_owned_, rows.slots, list.capacity, atoms.periodic ? 1 : 0, long_range_.generation(),
                 network_.generation(), request.polarization ? 1 : 0},
                search_.runs()};
    }

    void capture(const StepAtoms& atoms, const StepRequest& request) {
        if (network_.n_blocks() != 1) return go_without_graph("the network runs in blocks of atoms");
        if (long_range_.generation() < 0) return;
        network_.set_captured(true);
        const auto failure = graph_.capture([&] { evaluate(atoms, request); });
        network_.set_captured(false);
        if (failure) warnings_.push_back(*failure);
    }

    void go_without_graph(const std::string& reason) {
        if (auto line = graph_.go_without(reason)) warnings_.push_back(std::move(*line));
    }

    void launch_graph(const StepAtoms& atoms, const StepRequest& request) {
        if (!graph_.is_checked()) clear_results();
        graph_.launch();
        // what a step in between was asked for
        embedding_.compute(atoms, request, nullptr);
        response_.expect(atoms, request);
        long_range_.take();
        collect_atom_virials(atoms, request);
    }

    void check_graph(const StepAtoms& atoms, const StepRequest& request) {
        const StepResults launched = step_results();
        evaluate(atoms, request);
        if (const auto failure = graph_.check(launched, step_results())) warnings_.push_back(*failure);
    }

    void evaluate(const StepAtoms& atoms, const StepRequest& request) {
        network_.forward(network_rows());
        after_forward(atoms, request);
    }

    /// So that a graph that forgets something shows.
    void clear_results() {
        backend_.zero(forces_.forces(), 3 * static_cast<std::size_t>(n_atoms_) * sizeof(double));
        backend_.zero(forces_.summary(), sizeof(DeviceSummary));
        network_.clear();
    }

    StepResults step_results() {
        StepResults results;
        results.forces.resize(3 * static_cast<std::size_t>(n_atoms_));
        backend_.to_host(results.forces.data(), forces_.forces(), results.forces.size() * sizeof(double));
        backend_.to_host(&results.summary, forces_.summary(), sizeof(results.summary));
        backend_.wait();
        return results;
    }
};

}  // namespace les::cuda
