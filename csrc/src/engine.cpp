// The method on one page: Engine::Implementation::compute.
#include "les/engine.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <utility>

#include "collect.h"
#include "embedding.h"
#include "les/charges.h"
#include "les/error.h"
#include "les/long_range.h"
#include "les/neighbor_list.h"
#include "les/network.h"
#include "les/version.h"
#include "model_state.h"
#include "polarization.h"
#include "stage_clock.h"

namespace les {

namespace {

/// First line of a library's message; the rest is a stack trace that helps no user.
std::string first_line(const std::string& message) { return message.substr(0, message.find('\n')); }

/// The line of a TorchScript message that says what went wrong.
std::string last_line(std::string message) {
    while (!message.empty() && message.back() == '\n') message.pop_back();
    return message.substr(message.rfind('\n') + 1);
}

bool sets_more_than_solver(const LongRangeOptions& options) {
    LongRangeOptions plain;
    plain.solver = options.solver;
    return options != plain;
}

double graph_memory_of(const EngineOptions& options) {
    if (!(options.graph_memory >= 0.0))
        throw Error("`graph_memory` must be a number of GB, 0 or more, got " + std::to_string(options.graph_memory));
    return 1e9 * options.graph_memory;
}

/// A float32 network asks for no more than a float32 mesh gives, unless the user does.
LongRangeOptions long_range_options(const Metadata& metadata, const EngineOptions& options) {
    LongRangeOptions periodic = options.long_range;
    if (periodic.dtype.empty()) periodic.dtype = periodic.accuracy < 1e-6 ? "float64" : metadata.dtype;
    return periodic;
}

}  // namespace

struct Engine::Implementation {
    Metadata metadata;
    TimedCommunicator communicator;
    NeighborList neighbor_list;
    Network network;
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
          network(file, options.device, graph_memory_of(options), metadata.layer_entry && communicator.has_ghosts()),
          charges(metadata, neutral_charges(metadata, options)),
          embedding(metadata, long_range_options(metadata, options)),
          polarization(metadata) {
        results.n_channels = metadata.n_channels;
        const std::array<double, 2> state = model_state(metadata, options, warnings);
        if (metadata.has_state()) network.set_state(state[0], state[1]);
        if (options.threads) {
            if (*options.threads < 1)
                throw Error("`threads` must be at least 1, got " + std::to_string(*options.threads));
            at::set_num_threads(*options.threads);
        }
        if (metadata.long_range) {
            periodic_solver =
                make_periodic_solver(*metadata.long_range, metadata.n_channels, long_range_options(metadata, options));
            isolated_solver = make_isolated_solver(*metadata.long_range, metadata.n_channels);
        } else if (sets_more_than_solver(options.long_range)) {
            warnings.emplace_back("this model has no long-range energy: options of the long-range sum have no effect");
        }
    }

    const Results& compute(const System& system, const EdgeList* host_edges) {
        StageClock clock(communicator);
        check(system, host_edges != nullptr);
        const Edges& edges =
            host_edges != nullptr ? neighbor_list.accept(system, *host_edges) : neighbor_list.build(system);
        clock.end_of(times.neighbours);
        network.forward(system, edges, communicator);
        clock.end_of(times.network_forward);
        const std::vector<double>& latent_charges = charges.collect(system, network.latent_charges(), communicator);
        const LongRangeResult& long_range = compute_long_range(system, latent_charges);
        const EmbeddingResult& embedded = embedding.compute(system, latent_charges, communicator);
        clock.end_of(times.long_range);
        const PolarizationResult& polar =
            polarization.compute(system, edges, latent_charges, network, charges, communicator);
        warn_of_field(system);
        const std::vector<double>& potentials = sum_of(long_range.potentials, embedded.potentials, polar.potentials);
        const std::vector<double>& cotangents = charges.cotangents(system, potentials, communicator);
        const std::vector<double>& edge_gradients = network.backward(cotangents, polar.dipole_cotangent, communicator);
        clock.end_of(times.network_backward);
        collect_energies_and_charges(network, latent_charges, long_range, embedded, polar, results);
        collect_forces_and_virial(system, edges, edge_gradients, long_range, embedded, polar, results);
        collect_atom_virials(system, edges, edge_gradients, long_range, embedded, polar, communicator, results);
        check_finite(results);
        return results;
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
            if (!std::isfinite(r[0]) || !std::isfinite(r[1]) || !std::isfinite(r[2])) {
                throw Error("`positions` must be finite, atom " + std::to_string(i) +
                            " (counted from 0) is not; reduce the time step or check the structure");
            }
        }
        if (!system.periodic) return;
        double lengths = 1.0;
        for (const auto& row : system.cell) lengths *= std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
        const auto& c = system.cell;
        const double volume = std::abs(c[0][0] * (c[1][1] * c[2][2] - c[1][2] * c[2][1]) -
                                       c[0][1] * (c[1][0] * c[2][2] - c[1][2] * c[2][0]) +
                                       c[0][2] * (c[1][0] * c[2][1] - c[1][1] * c[2][0]));
        if (!std::isfinite(lengths) || !(volume > 1e-6 * lengths)) {
            throw Error("`cell` of a periodic system must be finite and have a volume, got a volume of " +
                        std::to_string(volume) + " cubic angstrom");
        }
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
        warnings.emplace_back(
            "the field acts by Born effective charges of this model, so energy is not conserved, and energy and virial "
            "have no share of the field; models trained with `charge_flux` have an exact polarization");
    }

    static void check_finite(const Results& results) {
        double sum = results.energy();
        for (const double force : results.forces) sum += force;
        if (!std::isfinite(sum))
            throw Error(
                "energy and forces must be finite, got NaN or infinity; atoms may be too close, reduce the time step");
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

namespace {

constexpr const char* out_of_memory = "out of memory in the evaluation; use more MPI ranks or fewer atoms";

/// Whether a message of torch is about memory, of the processor or of a device.
bool tells_of_memory(const std::string& message) {
    return message.find("can't allocate memory") != std::string::npos ||
           message.find("out of memory") != std::string::npos;
}

/// torch's exceptions carry stack traces; hosts get one line.
template <class Evaluation>
const Results& with_one_line_errors(const Evaluation& evaluation) {
    try {
        return evaluation();
    } catch (const Error&) {
        throw;
    } catch (const c10::Error& error) {
        if (tells_of_memory(error.what_without_backtrace())) throw Error(out_of_memory);
        throw Error("network evaluation failed: " + first_line(error.what_without_backtrace()));
    } catch (const std::bad_alloc&) {
        throw Error(out_of_memory);
    } catch (const std::exception& error) {
        if (tells_of_memory(error.what())) throw Error(out_of_memory);
        throw Error("network evaluation failed: " + last_line(error.what()));
    }
}

}  // namespace

const Results& Engine::compute(const System& system) {
    return with_one_line_errors([&]() -> const Results& { return implementation_->compute(system, nullptr); });
}

const Results& Engine::compute(const System& system, const EdgeList& edges) {
    return with_one_line_errors([&]() -> const Results& { return implementation_->compute(system, &edges); });
}

std::vector<std::string> Engine::take_warnings() {
    std::vector<std::string> warnings = std::exchange(implementation_->warnings, {});
    if (implementation_->solver != nullptr) {
        for (auto& text : implementation_->solver->take_warnings()) warnings.push_back(std::move(text));
    }
    for (auto& text : implementation_->embedding.take_warnings()) {
        // the two sums share their settings, and what there is to say of them
        if (std::find(warnings.begin(), warnings.end(), text) == warnings.end()) warnings.push_back(std::move(text));
    }
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
    if (implementation_->solver == nullptr) return "none";
    const std::string embedding = implementation_->embedding.description();
    return implementation_->solver->description() + (embedding.empty() ? "" : "; external charges: " + embedding);
}

}  // namespace les
