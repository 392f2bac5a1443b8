// The method on one page: Engine::Implementation::compute.
#include "les/engine.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "collect.h"
#include "cpu_domain.h"
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
#include "stage_clock.h"

namespace les {

struct Engine::Implementation {
    Metadata metadata;
    TimedCommunicator communicator;
    std::unique_ptr<DeviceDomain> device;    // none: everything but the network is on the CPU
    std::unique_ptr<DomainNetwork> network;  // none: one domain, all of which is on the device
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
        const double graph_memory = graph_memory_of(options);
        // GPUs have no direct sum of periodic systems
        if (options.device.rfind("cuda", 0) == 0 && has_device_engine() && options.long_range.solver != "direct") {
            device = make_device_domain(file, options);
            if (options.graph_memory != EngineOptions{}.graph_memory)
                warnings.emplace_back("graph_memory has no effect on a GPU, where the free memory is the limit");
            if (wants_graphs && communicator.size() > 1) warnings.emplace_back(warning_of_graphs_divided);
        } else if (wants_graphs) {
            warnings.emplace_back(warning_of_graphs_alone);
        }
        if (device && communicator.size() == 1) return;
        make_network(file, options, graph_memory, state);
        if (metadata.long_range) {
            make_solvers(long_range_options(metadata, options), options.deterministic);
        } else if (sets_more_than_solver(options.long_range)) {
            warnings.emplace_back(options_without_long_range);
        }
    }

    void make_network(const ModelFile& file, const EngineOptions& options, double graph_memory,
                      const std::array<double, 2>& state) {
        const bool by_layers = metadata.layer_entry && communicator.has_ghosts();
        if (device && (metadata.n_layers == 1 || by_layers)) {
            network = std::make_unique<SharedDomain>(*device);
            return;
        }
        if (options.deterministic && options.device != "cpu") warnings.emplace_back(warning_of_deterministic);
        Network on_domain(file, options.device, graph_memory, by_layers);
        if (metadata.has_state()) on_domain.set_state(state[0], state[1]);
        network = std::make_unique<CpuDomain>(NeighborList(metadata.cutoff, options.skin), std::move(on_domain));
    }

    void make_solvers(LongRangeOptions periodic, bool deterministic) {
        const LongRangeParameters& parameters = *metadata.long_range;
        if (device) {
            periodic.solver = "mesh";
            periodic_solver = device->make_distributed_mesh(parameters, metadata.n_channels, periodic, deterministic);
            isolated_solver = device->make_isolated_rows(parameters, metadata.n_channels);
        } else {
            periodic_solver = make_periodic_solver(parameters, metadata.n_channels, periodic);
            isolated_solver = make_isolated_solver(parameters, metadata.n_channels);
        }
    }

    void compute(const System& system, const EdgeList* host_edges) {
        StageClock clock(communicator);
        check(system, host_edges != nullptr);
        if (!network) return compute_on_device(system, clock);
        network->find_edges(system, host_edges);
        clock.end_of(times.neighbours);
        network->forward(system, communicator);
        clock.end_of(times.network_forward);
        const std::vector<double>& latent_charges = charges.collect(system, network->latent_charges(), communicator);
        const LongRangeResult& long_range = compute_long_range(system, latent_charges);
        const EmbeddingResult& embedded = embedding.compute(system, latent_charges, communicator);
        if (metadata.long_range) clock.end_of(times.long_range);
        const PolarizationResult& polar = polarization.compute(system, latent_charges, *network, charges, communicator);
        warn_of_field(system);
        const std::vector<double>& potentials = sum_of(long_range.potentials, embedded.potentials, polar.potentials);
        const std::vector<double>& cotangents = charges.cotangents(system, potentials, communicator);
        network->backward(system, cotangents, polar.dipole_cotangent, communicator, results);
        clock.end_of(times.network_backward);
        collect_energies_and_charges(*network, latent_charges, long_range, embedded, polar, results);
        add_forces_and_virial(long_range, embedded, polar, results);
        add_atom_virials(system, long_range, embedded, polar, communicator, results);
        check_finite(results);
    }

    /// With one domain everything is on the device.
    void compute_on_device(const System& system, StageClock& clock) {
        device->compute(system, results);
        clock.end_of(times.network_forward);
        check_finite(results);
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
    if (!implementation_->network) return implementation_->device->long_range_description();
    if (implementation_->solver == nullptr) return "none";
    const std::string embedding = implementation_->embedding.description();
    return implementation_->solver->description() + (embedding.empty() ? "" : "; external charges: " + embedding);
}

}  // namespace les
