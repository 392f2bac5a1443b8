// The whole evaluation between device arrays: DeviceStep::compute is the page to read, with the steps of the CPU's
// Engine::compute. What a launch, an array and a wait are comes from `Backend`: of CUDA in cuda_backend.cuh, loops of
// the CPU in tests/cuda/emulated_backend.h, so that the same step runs without a GPU.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../src/device_network.h"
#include "../src/engine_options.h"
#include "../src/lattice.h"
#include "../src/model_state.h"
#include "atom_virials.cuh"
#include "charge_shift.cuh"
#include "device_embedding.h"
#include "device_response.h"
#include "edge_forces.cuh"
#include "les/device_engine.h"
#include "mesh_solver.h"
#include "neighbor_search.h"
#include "pair_sum.cuh"
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
          metadata_(metadata),
          options_(options),
          search_(backend, metadata.cutoff, options.skin, static_cast<std::int32_t>(metadata.symbols.size())),
          embedding_(backend, metadata, options),
          response_(backend, metadata),
          graph_(backend, options.graphs,
                 metadata.rows_entry ? backend.why_no_graphs()
                                     : "the model file has no entry `rows`; export it again with `les-export`",
                 metadata.dtype == "float64" && long_range_options(metadata, options).dtype == "float64" ? 1e-8 : 1e-4,
                 warnings_) {
        const std::vector<double> total = neutral_charges(metadata, options);
        n_channels_ = metadata.n_channels;
        const std::array<double, 2> state = model_state(metadata, options, warnings_);
        if (metadata.has_state()) network.set_state(state[0], state[1]);
        neutralizes_ = !total.empty();
        if (neutralizes_) {
            total_charge_.reserve(n_channels_);
            backend_.to_device(total_charge_.data(), total.data(), total.size() * sizeof(double));
            backend_.wait();  // the source goes out of scope
        }
        channel_sums_.reserve(n_channels_);
        force_totals_.reserve(most_force_blocks * n_edge_sums);
        summary_.reserve(1);
        pair_summary_.reserve(1);
        if (metadata.long_range) {
            mesh_ = backend_.make_mesh(*metadata.long_range, n_channels_, long_range_options(metadata, options),
                                       options.deterministic);
        } else if (sets_more_than_solver(options.long_range)) {
            warnings_.emplace_back(options_without_long_range);
        }
    }

    /// Everything of one domain: forces, energies, charges and potentials, and what was asked for.
    void compute(const StepAtoms& atoms, const StepRequest& request = {}) {
        check(atoms, request);
        set_mesh(atoms);
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

    /// Neighbours, energies and charges as the network has them, contributions on ghosts included.
    void forward(const StepAtoms& atoms) {
        reserve(atoms);
        do {
            search_.start(atoms);
            if (search_.knows_runs()) network_.forward(network_rows());
        } while (!search_.finish());
    }

    /// The other half where charges are exchanged between domains: from cotangents (n_atoms, n_channels) on the device,
    /// or null, to forces without those of the long-range sum.
    void backward(const StepAtoms& atoms, const double* cotangents) {
        gradients_ = network_.backward(cotangents);
        collect(atoms);
    }

    const double* forces() const { return forces_.data(); }
    const DeviceSummary* summary() const { return summary_.data(); }
    const double* node_energies() const { return network_.node_energies(); }
    const double* latent_charges() const { return network_.latent_charges(); }
    const double* potentials() const { return potentials_; }
    const double* transfer_dipoles() const { return network_.transfer_dipoles(); }
    /// Null for what the last evaluation has not.
    const double* atom_virials() const { return has_atom_virials_ ? atom_virials_.data() : nullptr; }
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
        if (long_range_summary_ == nullptr) return "none";
        const std::string external = embedding_.description();
        return (was_periodic_
                    ? mesh_->description()
                    : "direct sum over all pairs of " + std::to_string(n_owned_) + " isolated atoms, on the GPU") +
               (external.empty() ? "" : "; external charges: " + external);
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
    Metadata metadata_;
    EngineOptions options_;
    int n_channels_ = 0;
    bool neutralizes_ = false;
    std::unique_ptr<MeshSolver> mesh_;
    std::vector<std::string> warnings_;

    NeighborSearch<Backend> search_;
    DeviceEmbedding<Backend> embedding_;
    DeviceResponse<Backend> response_;
    StepGraph<Backend> graph_;
    std::int64_t n_atoms_ = 0, n_owned_ = 0;
    bool was_periodic_ = false;
    Array<double> forces_, total_charge_, channel_sums_, cotangents_, pair_potentials_, pair_forces_, pair_totals_,
        force_totals_;
    Array<Summary> pair_summary_;
    Array<DeviceSummary> summary_;
    const double *potentials_ = nullptr, *long_range_forces_ = nullptr, *gradients_ = nullptr;
    const Summary* long_range_summary_ = nullptr;
    Array<double> term_forces_, term_potentials_, charge_square_, atom_virials_;
    bool has_atom_virials_ = false, warned_of_field_ = false, checked_embedding_ = false;

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
            warn_of_error(*embedding_.report());
    }

    void reserve(const StepAtoms& atoms) {
        if (3 * atoms.n_atoms > forces_room_) {
            backend_.wait();
            forces_room_ = 3 * (atoms.n_atoms + atoms.n_atoms / 16);
            forces_.reserve(forces_room_);
        }
        n_atoms_ = atoms.n_atoms;
        n_owned_ = atoms.n_owned;
        was_periodic_ = atoms.periodic;
        potentials_ = long_range_forces_ = nullptr;
        long_range_summary_ = nullptr;
    }
    std::int64_t forces_room_ = 0;

    NetworkRows network_rows() const {
        const EdgeRows& rows = search_.rows();
        return {n_atoms_,        n_owned_,     rows.slots,      search_.types(),
                rows.neighbours, rows.vectors, search_.order(), search_.runs()};
    }

    /// The step behind the network's forward pass.
    void after_forward(const StepAtoms& atoms, const StepRequest& request) {
        neutralize(atoms.n_owned);
        long_range(atoms);
        embedding_.compute(atoms, request, network_.latent_charges());
        response_.compute(atoms, request, search_, network_,
                          [&](const double* rows) { return cotangents_of(rows, atoms.n_owned); });
        const double* cotangents = cotangents_of(sum_of_potentials(atoms.n_owned), atoms.n_owned);
        gradients_ = network_.backward(cotangents, response_.dipole_cotangent(request));
        collect(atoms);
        collect_atom_virials(atoms, request);
    }

    // ---- the step as a graph

    /// The neighbour search is outside of the graph: it decides on the device what it has to do, and another cell means
    /// other arguments of its kernels.
    StepKey key_of(const StepAtoms& atoms, const StepRequest& request) const {
        const NeighborArrays& list = search_.list();
        const EdgeRows& rows = search_.rows();
        return {{atoms.positions, rows.neighbours, rows.vectors, list.candidates, list.reverse, list.slots,
                 search_.order(), forces_.data(), request.moments_from},
                {n_atoms_, n_owned_, rows.slots, list.capacity, atoms.periodic ? 1 : 0, mesh_ ? mesh_->generation() : 0,
                 request.polarization ? 1 : 0},
                search_.runs()};
    }

    void capture(const StepAtoms& atoms, const StepRequest& request) {
        if (network_.n_blocks() != 1) return go_without_graph("the network runs in blocks of atoms");
        if (mesh_ && mesh_->generation() < 0) return;
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
        collect_atom_virials(atoms, request);
        if (mesh_ && atoms.n_owned > 0) take_long_range(atoms.periodic);
        gradients_ = network_.gradients();
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
        backend_.zero(forces_.data(), 3 * static_cast<std::size_t>(n_atoms_) * sizeof(double));
        backend_.zero(summary_.data(), sizeof(DeviceSummary));
        network_.clear();
    }

    StepResults step_results() {
        StepResults results;
        results.forces.resize(3 * static_cast<std::size_t>(n_atoms_));
        backend_.to_host(results.forces.data(), forces_.data(), results.forces.size() * sizeof(double));
        backend_.to_host(&results.summary, summary_.data(), sizeof(results.summary));
        backend_.wait();
        return results;
    }

    // ---- charges

    void shift(const double* rows, const double* total, std::int64_t n, double* shifted) {
        backend_.launch(SumChannels{rows, n, n_channels_, channel_sums_.data()}, n_channels_, "the sum of charges");
        launch_over(backend_, n * n_channels_,
                    ShiftChannels{rows, channel_sums_.data(), total, n, n_channels_, shifted}, "the shift of charges");
    }

    /// q_i - (sum_j q_j - Q) / N
    void neutralize(std::int64_t n) {
        if (neutralizes_ && n > 0) shift(network_.latent_charges(), total_charge_.data(), n, network_.latent_charges());
    }

    /// The derivative of the shift: phi_i - mean(phi).
    const double* cotangents_of(const double* potentials, std::int64_t n) {
        if (!neutralizes_ || potentials == nullptr || n == 0) return potentials;
        cotangents_.reserve(n * n_channels_);
        shift(potentials, nullptr, n, cotangents_.data());
        return cotangents_.data();
    }

    void long_range(const StepAtoms& atoms) {
        if (!mesh_ || atoms.n_owned == 0) return;
        if (atoms.periodic) {
            sum_on_mesh(atoms);
        } else {
            sum_pairs(atoms);
        }
    }

    /// Before the network, which takes as much memory as is left.
    void set_mesh(const StepAtoms& atoms) {
        if (!mesh_ || !atoms.periodic || atoms.n_owned == 0) return;
        check_cell(atoms.cell);
        mesh_->set_cell(atoms.cell, atoms.n_owned);
        if (!has_mesh_) {
            first_cell_ = atoms.cell;
            has_mesh_ = true;
            warn_of_error(mesh_->report());
        } else if (metadata_.long_range->k_cutoff && !options_.long_range.freeze_k_set && !warned_of_cell_ &&
                   atoms.cell != first_cell_) {
            warned_of_cell_ = true;
            warnings_.emplace_back(warning_of_moving_k_set);
        }
    }

    void sum_on_mesh(const StepAtoms& atoms) {
        mesh_->compute(atoms.positions, network_.latent_charges(), atoms.n_owned);
        take_long_range(true);
    }

    void take_long_range(bool periodic) {
        potentials_ = periodic ? mesh_->potentials() : pair_potentials_.data();
        long_range_forces_ = periodic ? mesh_->forces() : pair_forces_.data();
        long_range_summary_ = periodic ? reinterpret_cast<const Summary*>(mesh_->summary()) : pair_summary_.data();
    }
    bool has_mesh_ = false, warned_of_cell_ = false;
    Matrix3 first_cell_{};

    void warn_of_error(const MeshReport& report) {
        if (report.estimated_error <= 0.7 * report.asked_accuracy) return;
        char text[200];
        std::snprintf(text, sizeof(text),
                      "the estimated error with the mesh and window given, %.2g, is too near the accuracy asked for, "
                      "%.2g; choose a smaller mesh_spacing or more interpolation_nodes",
                      report.estimated_error, report.asked_accuracy);
        if (std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end()) warnings_.emplace_back(text);
    }

    void sum_pairs(const StepAtoms& atoms) {
        const std::int64_t n = atoms.n_owned;
        const int blocks = static_cast<int>((n + SumPairs::threads - 1) / SumPairs::threads);
        pair_potentials_.reserve(n * n_channels_);
        pair_forces_.reserve(3 * n);
        pair_totals_.reserve(static_cast<std::int64_t>(blocks) * n_pair_sums);
        const LongRangeParameters& parameters = *metadata_.long_range;
        const double self = parameters.remove_self_interaction ? 0.0 : 2.0 * self_energy_of_unit_charge(parameters);
        backend_.launch(SumPairs{atoms.positions, network_.latent_charges(), n, n_channels_,
                                 1.0 / (std::sqrt(2.0) * parameters.smearing), parameters.coulomb_constant, self,
                                 pair_potentials_.data(), pair_forces_.data(), pair_totals_.data()},
                        blocks, "the sum over pairs");
        backend_.launch(ClosePairs{pair_totals_.data(), blocks, pair_summary_.data()}, 1, "the sum over pairs");
        take_long_range(false);
    }

    /// Of the long-range sum, external charges and a field; the forces at fixed charges as well.
    const double* sum_of_potentials(std::int64_t n) {
        if (n == 0 || (embedding_.forces() == nullptr && response_.forces() == nullptr)) return potentials_;
        term_forces_.reserve(3 * n);
        term_potentials_.reserve(n * n_channels_);
        launch_over(backend_, n,
                    AddTerms{n,
                             n_channels_,
                             {long_range_forces_, embedding_.forces(), response_.forces()},
                             {potentials_, embedding_.potentials(), response_.potentials()},
                             term_forces_.data(),
                             term_potentials_.data()},
                    "the sum of potentials");
        long_range_forces_ = term_forces_.data();
        return term_potentials_.data();
    }

    // ---- forces

    void collect(const StepAtoms& atoms) {
        const std::int64_t wanted = (atoms.n_atoms + CollectForces::threads - 1) / CollectForces::threads;
        const int blocks = static_cast<int>(wanted < 1 ? 1 : wanted < most_force_blocks ? wanted : most_force_blocks);
        backend_.launch(CollectForces{search_.list(), search_.rows(), gradients_, long_range_forces_,
                                      network_.node_energies(), forces_.data(), force_totals_.data()},
                        blocks, "the forces");
        backend_.launch(CloseStep{force_totals_.data(), blocks, long_range_summary_, embedding_.summary(),
                                  response_.sums(), summary_.data()},
                        1, "the end of the step");
    }

    void collect_atom_virials(const StepAtoms& atoms, const StepRequest& request) {
        has_atom_virials_ = request.atom_virials;
        if (!request.atom_virials || atoms.n_owned == 0) return;
        const std::int64_t n = atoms.n_owned;
        charge_square_.reserve(1);
        atom_virials_.reserve(9 * n);
        backend_.launch(SumSquares{network_.latent_charges(), n * n_channels_, charge_square_.data()}, 1,
                        "the sum of squared charges");
        launch_over(backend_, n,
                    CollectAtomVirials{search_.list(), search_.rows(), gradients_, long_range_summary_,
                                       embedding_.summary(), network_.latent_charges(), charge_square_.data(),
                                       n_channels_, response_.has_energy() ? response_.forces() : nullptr,
                                       request.moments_from != nullptr ? request.moments_from : atoms.positions,
                                       atom_virials_.data()},
                    "the virials of the atoms");
    }
};

}  // namespace les::cuda
