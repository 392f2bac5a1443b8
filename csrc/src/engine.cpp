// The method on one page: Engine::Implementation::compute.
#include "les/engine.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <utility>

#include "les/charges.h"
#include "les/error.h"
#include "les/long_range.h"
#include "les/neighbor_list.h"
#include "les/network.h"
#include "les/version.h"
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

std::vector<double> total_charge_of(const Metadata& metadata, const EngineOptions& options) {
    const bool neutralizes = metadata.long_range && metadata.long_range->neutralize;
    if (options.total_charge && !neutralizes) {
        throw Error(
            "total_charge needs a model trained with `neutrality: true`, this one leaves its charges as predicted; "
            "remove the option");
    }
    if (!neutralizes) return {};
    std::vector<double> total = metadata.long_range->total_charge;
    if (options.total_charge) {
        total.assign(total.size(), 0.0);
        total[0] = *options.total_charge;
    }
    return total;
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
    std::vector<std::string> warnings;
    Results results;
    StageTimes times;                   // but for communication
    double communication_before = 0.0;  // seconds of the communicator at the last reset

    Implementation(const ModelFile& file, const EngineOptions& options, std::shared_ptr<Communicator> domains)
        : metadata(file.metadata()),
          communicator(std::move(domains)),
          neighbor_list(metadata.cutoff, options.skin),
          network(file, options.device),
          charges(metadata, total_charge_of(metadata, options)) {
        if (options.threads) {
            if (*options.threads < 1)
                throw Error("`threads` must be at least 1, got " + std::to_string(*options.threads));
            at::set_num_threads(*options.threads);
        }
        if (metadata.long_range) {
            LongRangeOptions periodic = options.long_range;
            // a float32 network asks for no more than a float32 mesh gives, unless the user does
            if (periodic.dtype.empty()) periodic.dtype = periodic.accuracy < 1e-6 ? "float64" : metadata.dtype;
            periodic_solver = make_periodic_solver(*metadata.long_range, metadata.n_channels, periodic);
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
        network.forward(system, edges);
        clock.end_of(times.network_forward);
        const std::vector<double>& latent_charges = charges.collect(system, network.latent_charges(), communicator);
        const LongRangeResult& long_range = compute_long_range(system, latent_charges);
        const std::vector<double>& cotangents = charges.cotangents(system, long_range.potentials, communicator);
        clock.end_of(times.long_range);
        const std::vector<double>& edge_gradients = network.backward(cotangents);
        clock.end_of(times.network_backward);
        collect_energies_and_charges(latent_charges, long_range);
        collect_forces_and_virial(system, edges, edge_gradients, long_range);
        collect_atom_virials(system, edges, edge_gradients, long_range.virial);
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

    void collect_energies_and_charges(const std::vector<double>& latent_charges, const LongRangeResult& long_range) {
        results.n_channels = metadata.n_channels;
        results.node_energies = network.node_energies();
        results.short_range_energy = 0.0;
        for (const double energy : results.node_energies) results.short_range_energy += energy;
        results.long_range_energy = long_range.energy;
        results.latent_charges = latent_charges;
        results.potentials = long_range.potentials;
    }

    void collect_forces_and_virial(const System& system, const Edges& edges, const std::vector<double>& edge_gradients,
                                   const LongRangeResult& long_range) {
        results.forces.assign(3 * static_cast<std::size_t>(system.n_all), 0.0);
        std::copy(long_range.forces.begin(), long_range.forces.end(), results.forces.begin());
        Matrix3 virial = long_range.virial;
        for (std::size_t e = 0; e < static_cast<std::size_t>(edges.n_edges); ++e) {
            // v = r_j - r_i: F_i += dE/dv, F_j -= dE/dv, W -= dE/dv (x) v
            const double* gradient = edge_gradients.data() + 3 * e;
            const double* vector = edges.vectors.data() + 3 * e;
            double* centre = results.forces.data() + 3 * edges.centres[e];
            double* neighbour = results.forces.data() + 3 * edges.neighbours[e];
            for (std::size_t a = 0; a < 3; ++a) {
                centre[a] += gradient[a];
                neighbour[a] -= gradient[a];
                for (std::size_t b = 0; b < 3; ++b) virial[a][b] -= gradient[a] * vector[b];
            }
        }
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) results.virial[a][b] = 0.5 * (virial[a][b] + virial[b][a]);
        }
    }

    void collect_atom_virials(const System& system, const Edges& edges, const std::vector<double>& edge_gradients,
                              const Matrix3& long_range_virial) {
        results.atom_virials.clear();
        if (!system.atom_virials) return;
        results.atom_virials.assign(9 * static_cast<std::size_t>(system.n_all), 0.0);
        for (std::size_t e = 0; e < static_cast<std::size_t>(edges.n_edges); ++e) {
            // w = -(dE/dv (x) v + v (x) dE/dv) / 2, one half to either end
            const double* gradient = edge_gradients.data() + 3 * e;
            const double* vector = edges.vectors.data() + 3 * e;
            double* centre = results.atom_virials.data() + 9 * edges.centres[e];
            double* neighbour = results.atom_virials.data() + 9 * edges.neighbours[e];
            for (std::size_t a = 0; a < 3; ++a) {
                for (std::size_t b = 0; b < 3; ++b) {
                    const double half = -0.25 * (gradient[a] * vector[b] + gradient[b] * vector[a]);
                    centre[3 * a + b] += half;
                    neighbour[3 * a + b] += half;
                }
            }
        }
        if (metadata.long_range) share_long_range_virial(long_range_virial);
    }

    /// W_i += W_lr sum_c q_ic^2 / sum_jc q_jc^2 with the sums over all domains.
    void share_long_range_virial(const Matrix3& share_of_domain) {
        std::array<double, 10> total{};  // W_lr symmetrised, sum of q^2
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b)
                total[3 * a + b] = 0.5 * (share_of_domain[a][b] + share_of_domain[b][a]);
        }
        for (const double charge : results.latent_charges) total[9] += charge * charge;
        communicator.allreduce_sum(total.data(), static_cast<std::int64_t>(total.size()));
        if (!(total[9] > 0.0)) return;  // without charges there is no long-range virial
        const auto channels = static_cast<std::size_t>(results.n_channels);
        for (std::size_t i = 0; i < results.latent_charges.size(); ++i) {
            const double weight = results.latent_charges[i] * results.latent_charges[i] / total[9];
            double* virial = results.atom_virials.data() + 9 * (i / channels);
            for (std::size_t ab = 0; ab < 9; ++ab) virial[ab] += weight * total[ab];
        }
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

/// torch's exceptions carry stack traces; hosts get one line.
template <class Evaluation>
const Results& with_one_line_errors(const Evaluation& evaluation) {
    try {
        return evaluation();
    } catch (const Error&) {
        throw;
    } catch (const c10::Error& error) {
        throw Error("network evaluation failed: " + first_line(error.what_without_backtrace()));
    } catch (const std::bad_alloc&) {
        throw Error("out of memory in the evaluation; use more MPI ranks or fewer atoms");
    } catch (const std::exception& error) {
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
    return implementation_->solver->description();
}

double Results::atom_energy(std::int64_t i) const {
    const auto atom = static_cast<std::size_t>(i), channels = static_cast<std::size_t>(n_channels);
    double energy = node_energies[atom];
    for (std::size_t channel = 0; channel < channels; ++channel) {
        energy += 0.5 * latent_charges[atom * channels + channel] * potentials[atom * channels + channel];
    }
    return energy;
}

double Results::atomic_charge(std::int64_t i, double atomic_charge_scale) const {
    const auto atom = static_cast<std::size_t>(i), channels = static_cast<std::size_t>(n_channels);
    double charge = 0.0;
    for (std::size_t channel = 0; channel < channels; ++channel) charge += latent_charges[atom * channels + channel];
    return charge * atomic_charge_scale;
}

}  // namespace les
