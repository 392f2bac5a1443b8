// The method on one page: Engine::Implementation::compute.
#include "les/engine.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <utility>

#include "collect.h"
#include "device_domain.h"
#include "embedding.h"
#include "engine_options.h"
#include "les/charges.h"
#include "les/device_engine.h"
#include "les/error.h"
#include "les/long_range.h"
#include "les/neighbor_list.h"
#include "les/network.h"
#include "les/version.h"
#include "model_state.h"
#include "one_line_errors.h"
#include "polarization.h"
#include "shared_failure.h"
#include "stage_clock.h"

namespace les {

struct Engine::Implementation {
    Metadata metadata;
    TimedCommunicator communicator;
    NeighborList neighbor_list;
    std::unique_ptr<Network> network;
    std::unique_ptr<DeviceDomain> device;                    // none: everything but the network is on the CPU
    std::function<std::unique_ptr<Network>()> make_network;  // for what the device does not take
    bool was_on_device = false;                              // the last evaluation
    SharedFailure failure;                                   // of devices
    std::vector<double> network_charges;                     // of the device
    Charges charges;
    std::unique_ptr<LongRangeSolver> periodic_solver, isolated_solver;
    LongRangeSolver* solver = nullptr;  // the one of the last evaluation
    LongRangeResult no_long_range;
    Embedding embedding;
    Polarization polarization;
    std::vector<double> total_potentials;  // of the long-range sum, external charges and the field
    std::vector<std::string> warnings;
    bool warned_of_field = false;
    Results results;
    StageTimes times;                   // but for communication
    double communication_before = 0.0;  // seconds of the communicator at the last reset

    Implementation(const ModelFile& file, const EngineOptions& options, std::shared_ptr<Communicator> domains)
        : metadata(file.metadata()),
          communicator(std::move(domains)),
          neighbor_list(metadata.cutoff, options.skin),
          charges(metadata, neutral_charges(metadata, options)),
          embedding(metadata, long_range_options(metadata, options)),
          polarization(metadata) {
        results.n_channels = metadata.n_channels;
        check_graphs(options.graphs);
        const bool wants_graphs = options.graphs == "on";
        if (wants_graphs && options.device == "cpu") throw Error(graphs_on_cpu);
        const std::array<double, 2> state = model_state(metadata, options, warnings);
        if (options.threads) {
            if (*options.threads < 1)
                throw Error("`threads` must be at least 1, got " + std::to_string(*options.threads));
            at::set_num_threads(*options.threads);
        }
        const bool by_layers = metadata.layer_entry && communicator.has_ghosts();
        const double memory = graph_memory_of(options);
        make_network = [=, this, has_state = metadata.has_state()] {
            if (options.deterministic && options.device != "cpu") warnings.emplace_back(warning_of_deterministic);
            auto made = std::make_unique<Network>(file, options.device, memory, by_layers);
            if (has_state) made->set_state(state[0], state[1]);
            return made;
        };
        // GPUs have no direct sum of periodic systems
        if (options.device.rfind("cuda", 0) == 0 && has_device_engine() && options.long_range.solver != "direct") {
            device = make_device_domain(file, options);
            if (options.graph_memory != EngineOptions{}.graph_memory)
                warnings.emplace_back("graph_memory has no effect on a GPU, where the free memory is the limit");
            if (wants_graphs && communicator.size() > 1) warnings.emplace_back(warning_of_graphs_divided);
        } else {
            network = make_network();
            make_network = nullptr;  // it holds the file
            if (wants_graphs) warnings.emplace_back(warning_of_graphs_alone);
        }
        if (metadata.long_range) {
            LongRangeOptions periodic = long_range_options(metadata, options);
            if (device) periodic.solver = "mesh";  // that of the device, also in evaluations that are not for it
            periodic_solver = device && communicator.size() > 1
                                  ? device->make_distributed_mesh(*metadata.long_range, metadata.n_channels, periodic,
                                                                  options.deterministic)
                                  : make_periodic_solver(*metadata.long_range, metadata.n_channels, periodic);
            isolated_solver = make_isolated_solver(*metadata.long_range, metadata.n_channels);
        } else if (sets_more_than_solver(options.long_range)) {
            warnings.emplace_back(options_without_long_range);
        }
    }

    void compute(const System& system, const EdgeList* host_edges) {
        StageClock clock(communicator);
        check(system, host_edges != nullptr);
        was_on_device = is_for_device(system);
        if (was_on_device) return compute_on_device(system, clock);
        if (!network) network = make_network();
        const Edges& edges =
            host_edges != nullptr ? neighbor_list.accept(system, *host_edges) : neighbor_list.build(system);
        clock.end_of(times.neighbours);
        network->forward(system, edges, communicator);
        clock.end_of(times.network_forward);
        const std::vector<double>& latent_charges = charges.collect(system, network->latent_charges(), communicator);
        const LongRangeResult& long_range = compute_long_range(system, latent_charges);
        const EmbeddingResult& embedded = embedding.compute(system, latent_charges, communicator);
        clock.end_of(times.long_range);
        const PolarizationResult& polar =
            polarization.compute(system, edges, latent_charges, *network, charges, communicator);
        warn_of_field(system);
        const std::vector<double>& potentials = sum_of(long_range.potentials, embedded.potentials, polar.potentials);
        const std::vector<double>& cotangents = charges.cotangents(system, potentials, communicator);
        const std::vector<double>& edge_gradients = network->backward(cotangents, polar.dipole_cotangent, communicator);
        clock.end_of(times.network_backward);
        collect_energies_and_charges(*network, latent_charges, long_range, embedded, polar, results);
        collect_forces_and_virial(system, edges, edge_gradients, long_range, embedded, polar, results);
        collect_atom_virials(system, edges, edge_gradients, long_range, embedded, polar, communicator, results);
        check_finite(results);
    }

    /// The rest, on several domains alone, is for the CPU with the network on the GPU. The same for all domains.
    bool is_for_device(const System& system) const {
        const bool plain = system.field == std::array<double, 3>{} && system.n_external == 0 && !system.atom_virials &&
                           !system.polarization_current && !system.born_charges;
        return device && (communicator.size() == 1 || (plain && metadata.n_layers == 1));
    }

    /// One domain: everything. Several: the domains exchange charges, and the mesh is divided among their devices.
    void compute_on_device(const System& system, StageClock& clock) {
        if (communicator.size() == 1) {
            device->compute(system, results);
            clock.end_of(times.network_forward);
        } else {
            on_all_domains([&] { device->forward(system, results.node_energies, network_charges); });
            clock.end_of(times.network_forward);
            const std::vector<double>& latent_charges = charges.collect(system, network_charges, communicator);
            const LongRangeResult& long_range = compute_long_range(system, latent_charges);
            clock.end_of(times.long_range);
            const std::vector<double>& cotangents = charges.cotangents(system, long_range.potentials, communicator);
            on_all_domains([&] { device->backward(cotangents, results.forces, results.virial); });
            clock.end_of(times.network_backward);
            collect_device_results(latent_charges, long_range, results);
            results.polarization = polarization.moments(system, results.latent_charges, device->transfer_dipoles());
        }
        check_finite(results);
    }

    /// What fails on one of several domains with devices is thrown on all, so that none waits for another for ever.
    void on_all_domains(const std::function<void()>& step) {
        failure.attempt([&] { with_one_line_errors(step); });
        failure.check(communicator);
    }

    void check(const System& system, bool has_host_edges) const {
        if (!has_host_edges && system.n_local != system.n_all) {
            throw Error("a system with ghosts needs the neighbour list of its host, got " +
                        std::to_string(system.n_all - system.n_local) + " ghosts and no list");
        }
        const auto n_types = static_cast<std::int32_t>(metadata.symbols.size());
        for (std::int64_t i = 0; i < system.n_all; ++i) {
            if (system.types[i] < 0 || system.types[i] >= n_types) {
                throw Error("`types` must be 0 to " + std::to_string(n_types - 1) + ", got " +
                            std::to_string(system.types[i]) + " for atom " + std::to_string(i));
            }
            const double* r = system.positions + 3 * i;
            if (!std::isfinite(r[0]) || !std::isfinite(r[1]) || !std::isfinite(r[2])) throw position_not_finite(i);
        }
        if (system.periodic) check_cell(system.cell);
    }

    const LongRangeResult& compute_long_range(const System& system, const std::vector<double>& latent_charges) {
        if (!metadata.long_range) return no_long_range;
        solver = system.periodic ? periodic_solver.get() : isolated_solver.get();
        return solver->compute(system, latent_charges, communicator);
    }

    /// Per charge; external charges have the same potential for all channels of an atom.
    const std::vector<double>& sum_of(const std::vector<double>& potentials, const std::vector<double>& of_external,
                                      const std::vector<double>& of_field) {
        if (of_external.empty() && of_field.empty()) return potentials;
        total_potentials = potentials;
        const auto channels = static_cast<std::size_t>(metadata.n_channels);
        for (std::size_t n = 0; n < total_potentials.size(); ++n) {
            if (!of_external.empty()) total_potentials[n] += of_external[n / channels];
            if (!of_field.empty()) total_potentials[n] += of_field[n];
        }
        return total_potentials;
    }

    void warn_of_field(const System& system) {
        if (warned_of_field || system.field == std::array<double, 3>{} || polarization.is_defined(system)) return;
        warned_of_field = true;
        warnings.emplace_back(warning_of_field);
    }

    static void check_finite(const Results& results) {
        double sum = results.energy();
        for (const double force : results.forces) sum += force;
        if (!std::isfinite(sum)) throw Error(results_not_finite);
    }
};

Engine::Engine(const ModelFile& file, const EngineOptions& options, std::shared_ptr<Communicator> communicator) {
    check_torch_version();
    implementation_ = std::make_unique<Implementation>(file, options, std::move(communicator));
}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const Metadata& Engine::metadata() const { return implementation_->metadata; }

const Results& Engine::compute(const System& system) {
    with_one_line_errors([&] { implementation_->compute(system, nullptr); });
    return implementation_->results;
}

const Results& Engine::compute(const System& system, const EdgeList& edges) {
    with_one_line_errors([&] { implementation_->compute(system, &edges); });
    return implementation_->results;
}

std::vector<std::string> Engine::take_warnings() {
    std::vector<std::string> warnings = std::exchange(implementation_->warnings, {});
    if (implementation_->solver != nullptr) {
        for (auto& text : implementation_->solver->take_warnings()) warnings.push_back(std::move(text));
    }
    // the sums share their settings, and what there is to say of them
    const auto add = [&](std::vector<std::string> texts) {
        for (auto& text : texts) {
            if (std::find(warnings.begin(), warnings.end(), text) == warnings.end())
                warnings.push_back(std::move(text));
        }
    };
    if (implementation_->device) add(implementation_->device->take_warnings());
    add(implementation_->embedding.take_warnings());
    return warnings;
}

StageTimes Engine::stage_times() const {
    StageTimes times = implementation_->times;
    times.communication = implementation_->communicator.seconds() - implementation_->communication_before;
    return times;
}

void Engine::reset_stage_times() {
    implementation_->times = {};
    implementation_->communication_before = implementation_->communicator.seconds();
}

std::string Engine::long_range_description() const {
    if (implementation_->device && implementation_->was_on_device && implementation_->communicator.size() == 1)
        return implementation_->device->long_range_description();
    if (implementation_->solver == nullptr) return "none";
    const std::string embedding = implementation_->embedding.description();
    return implementation_->solver->description() + (embedding.empty() ? "" : "; external charges: " + embedding);
}

}  // namespace les
