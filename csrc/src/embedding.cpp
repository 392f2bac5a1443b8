// The cross energy of two sets of charges, from the solvers of the long-range sum: E is a quadratic form, so X = 2 B(Q,
// z) = [E(Q + z) - E(Q - z)] / 2, in which the energy of either set with itself cancels, self terms and the errors of
// the mesh included. Isolated systems sum the pairs of atoms and external charges.
#include "embedding.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "engine_options.h"
#include "les/error.h"
#include "smeared_pair.h"

namespace les {

Embedding::Embedding(const Metadata& metadata, const LongRangeOptions& options)
    : parameters_(metadata.long_range), options_(options), channels_(static_cast<std::size_t>(metadata.n_channels)) {}

const EmbeddingResult& Embedding::compute(const System& system, const std::vector<double>& charges,
                                          Communicator& communicator) {
    result_.energy = 0.0;
    result_.virial = {};
    for (auto* rows : {&result_.potentials, &result_.forces, &result_.external_forces}) rows->clear();
    if (system.n_external == 0) return result_;
    check_external_charges(system, communicator);
    if (!parameters_) throw Error(embedding_without_charges);
    find_points(system, charges);
    if (system.periodic) {
        add_periodic(system, communicator);
    } else {
        add_isolated(system);
    }
    for (std::size_t i = 0; i < atom_charges_.size(); ++i) result_.energy += atom_charges_[i] * result_.potentials[i];
    return result_;
}

std::string Embedding::description() const {
    return isolated_description_.empty() && solver_ ? solver_->description() : isolated_description_;
}

std::vector<std::string> Embedding::take_warnings() {
    return solver_ ? solver_->take_warnings() : std::vector<std::string>{};
}

void check_external_charges(const System& system, const Communicator& communicator) {
    if (communicator.size() > 1)
        throw Error("external charges must be given to one domain, got " + std::to_string(communicator.size()));
    for (std::int64_t j = 0; j < system.n_external; ++j) {
        const double* r = system.external_positions + 3 * j;
        if (std::isfinite(r[0]) && std::isfinite(r[1]) && std::isfinite(r[2]) &&
            std::isfinite(system.external_charges[j]))
            continue;
        throw Error("`external_positions` and `external_charges` must be finite, those of external charge " +
                    std::to_string(j) + " (counted from 0) are not; reduce the time step or check the structure");
    }
}

/// Atoms and external charges in one list; charges of zero are left out.
void Embedding::find_points(const System& system, const std::vector<double>& charges) {
    const auto n = static_cast<std::size_t>(system.n_local), n_external = static_cast<std::size_t>(system.n_external);
    charged_.clear();
    for (std::size_t j = 0; j < n_external; ++j) {
        if (system.external_charges[j] != 0.0) charged_.push_back(j);
    }
    atom_charges_.assign(n, 0.0);
    for (std::size_t i = 0; i < charges.size(); ++i) atom_charges_[i / channels_] += charges[i];
    points_.assign(system.positions, system.positions + 3 * n);
    for (const std::size_t j : charged_)
        points_.insert(points_.end(), system.external_positions + 3 * j, system.external_positions + 3 * j + 3);
    result_.potentials.assign(n, 0.0);
    result_.forces.assign(3 * n, 0.0);
    result_.external_forces.assign(3 * n_external, 0.0);
}

void Embedding::add_periodic(const System& system, Communicator& communicator) {
    isolated_description_.clear();
    if (!solver_) solver_ = make_periodic_solver(*parameters_, 1, options_);
    System points;
    points.n_local = points.n_all = static_cast<std::int64_t>(points_.size() / 3);
    points.positions = points_.data();
    points.cell = system.cell;
    points.periodic = true;
    values_ = atom_charges_;
    for (const std::size_t j : charged_) values_.push_back(system.external_charges[j]);
    add_half(0.5, points, communicator);
    for (std::size_t p = atom_charges_.size(); p < values_.size(); ++p) values_[p] = -values_[p];
    add_half(-0.5, points, communicator);
}

/// Adds `weight` times the long-range sum of the charges `values_` at `points`.
void Embedding::add_half(double weight, const System& points, Communicator& communicator) {
    const LongRangeResult& sum = solver_->compute(points, values_, communicator);
    const std::size_t n = atom_charges_.size();
    for (std::size_t i = 0; i < n; ++i) result_.potentials[i] += weight * sum.potentials[i];
    for (std::size_t x = 0; x < 3 * n; ++x) result_.forces[x] += weight * sum.forces[x];
    for (std::size_t p = 0; p < charged_.size(); ++p) {
        for (std::size_t x = 0; x < 3; ++x)
            result_.external_forces[3 * charged_[p] + x] += weight * sum.forces[3 * (n + p) + x];
    }
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) result_.virial[a][b] += weight * sum.virial[a][b];
    }
}

/// X = K_e sum_ij Q_i z_j erf(r_ij / (sqrt(2) sigma)) / r_ij. Atoms and external charges each sum over the others, so
/// that threads share nothing.
void Embedding::add_isolated(const System& system) {
    const std::size_t n = atom_charges_.size();
    isolated_description_ = "direct sum over pairs of " + std::to_string(n) + " isolated atoms and " +
                            std::to_string(charged_.size()) + " external charges";
    const double a = 1.0 / (std::sqrt(2.0) * parameters_->smearing), k = parameters_->coulomb_constant;
    /// -k f'(r) / r d, the force of unit charges on the first of them, and their energy k f(r)
    const auto unit_pair = [&](const double* first, const double* second, double* d, double* force) {
        for (std::size_t x = 0; x < 3; ++x) d[x] = first[x] - second[x];
        const double r = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        if (r < 1e-6) throw Error(external_charge_at_atom);
        const SmearedPair pair = smeared_pair(r, a);
        for (std::size_t x = 0; x < 3; ++x) force[x] = -k * pair.f_prime / r * d[x];
        return k * pair.f;
    };
    atom_virials_.assign(9 * n, 0.0);
    at::parallel_for(0, static_cast<std::int64_t>(n), 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            for (std::size_t p = 0; p < charged_.size(); ++p) {
                double d[3], force[3];
                const double z = system.external_charges[charged_[p]];
                result_.potentials[i] += z * unit_pair(points_.data() + 3 * i, points_.data() + 3 * (n + p), d, force);
                for (std::size_t x = 0; x < 3; ++x) {
                    force[x] *= atom_charges_[i] * z;
                    result_.forces[3 * i + x] += force[x];
                    for (std::size_t y = 0; y < 3; ++y) atom_virials_[9 * i + 3 * x + y] += force[x] * d[y];
                }
            }
        }
    });
    at::parallel_for(0, static_cast<std::int64_t>(charged_.size()), 64, [&](std::int64_t begin, std::int64_t end) {
        for (auto p = static_cast<std::size_t>(begin); p < static_cast<std::size_t>(end); ++p) {
            double* external = result_.external_forces.data() + 3 * charged_[p];
            for (std::size_t i = 0; i < n; ++i) {
                double d[3], force[3];
                unit_pair(points_.data() + 3 * (n + p), points_.data() + 3 * i, d, force);
                for (std::size_t x = 0; x < 3; ++x)
                    external[x] += atom_charges_[i] * system.external_charges[charged_[p]] * force[x];
            }
        }
    });
    for (std::size_t n_xy = 0; n_xy < atom_virials_.size(); ++n_xy)
        result_.virial[n_xy % 9 / 3][n_xy % 3] += atom_virials_[n_xy];
}

}  // namespace les
