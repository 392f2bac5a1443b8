// Loops over edges and atoms that end an evaluation; see collect.h.
#include "collect.h"

#include <algorithm>
#include <array>

namespace les {

namespace {

Matrix3 sum(Matrix3 a, const Matrix3& b) {
    for (std::size_t x = 0; x < 3; ++x) {
        for (std::size_t y = 0; y < 3; ++y) a[x][y] += b[x][y];
    }
    return a;
}

}  // namespace

void collect_energies_and_charges(const Network& network, const std::vector<double>& latent_charges,
                                  const LongRangeResult& long_range, const EmbeddingResult& embedding,
                                  const PolarizationResult& polar, Results& results) {
    results.node_energies = network.node_energies();
    results.short_range_energy = 0.0;
    for (const double energy : results.node_energies) results.short_range_energy += energy;
    results.long_range_energy = long_range.energy;
    results.latent_charges = latent_charges;
    results.potentials = long_range.potentials;
    results.embedding_energy = embedding.energy;
    results.external_potentials = embedding.potentials;
    results.external_forces = embedding.external_forces;
    results.field_energy = polar.field_energy;
    results.field_energies = polar.field_energies;
    results.polarization = polar.polarization;
    results.polarization_current = polar.current;
    results.born_charges = polar.born_charges;
}

void collect_forces_and_virial(const System& system, const Edges& edges, const std::vector<double>& edge_gradients,
                               const LongRangeResult& long_range, const EmbeddingResult& embedding,
                               const PolarizationResult& polar, Results& results) {
    results.forces.assign(3 * static_cast<std::size_t>(system.n_all), 0.0);
    std::copy(long_range.forces.begin(), long_range.forces.end(), results.forces.begin());
    for (std::size_t n = 0; n < polar.forces.size(); ++n) results.forces[n] += polar.forces[n];
    for (std::size_t n = 0; n < embedding.forces.size(); ++n) results.forces[n] += embedding.forces[n];
    Matrix3 virial = long_range.virial;
    if (system.n_external > 0) virial = sum(virial, embedding.virial);
    for (std::size_t n = 0; n < polar.virials.size(); ++n) virial[n % 9 / 3][n % 3] += polar.virials[n];
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

void collect_device_results(const std::vector<double>& latent_charges, const LongRangeResult& long_range,
                            Results& results) {
    results.short_range_energy = 0.0;
    for (const double energy : results.node_energies) results.short_range_energy += energy;
    results.long_range_energy = long_range.energy;
    results.latent_charges = latent_charges;
    results.potentials = long_range.potentials;
    for (std::size_t n = 0; n < long_range.forces.size(); ++n) results.forces[n] += long_range.forces[n];
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            results.virial[a][b] += 0.5 * (long_range.virial[a][b] + long_range.virial[b][a]);
    }
    // what is never on a device
    results.field_energy = results.embedding_energy = 0.0;
    results.polarization_current = {};
    for (auto* rows : {&results.external_potentials, &results.external_forces, &results.atom_virials,
                       &results.born_charges, &results.field_energies})
        rows->clear();
}

namespace {

/// W_i += W_lr sum_c q_ic^2 / sum_jc q_jc^2 with the sums over all domains.
void share_long_range_virial(const Matrix3& share_of_domain, Communicator& communicator, Results& results) {
    std::array<double, 10> total{};  // W_lr symmetrised, sum of q^2
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) total[3 * a + b] = 0.5 * (share_of_domain[a][b] + share_of_domain[b][a]);
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

}  // namespace

void collect_atom_virials(const System& system, const Edges& edges, const std::vector<double>& edge_gradients,
                          const LongRangeResult& long_range, const EmbeddingResult& embedding,
                          const PolarizationResult& polar, Communicator& communicator, Results& results) {
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
    for (std::size_t n = 0; n < polar.virials.size(); ++n) results.atom_virials[n] += polar.virials[n];
    if (results.n_channels > 0)
        share_long_range_virial(sum(long_range.virial, embedding.virial), communicator, results);
}

double Results::atom_energy(std::int64_t i) const {
    const auto atom = static_cast<std::size_t>(i), channels = static_cast<std::size_t>(n_channels);
    double energy = node_energies[atom];
    for (std::size_t channel = 0; channel < channels; ++channel) {
        energy += 0.5 * latent_charges[atom * channels + channel] * potentials[atom * channels + channel];
    }
    if (!external_potentials.empty()) energy += atomic_charge(i, 1.0) * external_potentials[atom];
    if (!field_energies.empty()) energy += field_energies[atom];
    return energy;
}

std::array<double, 3> Results::current_of(const double* velocities) const {
    std::array<double, 3> current{};
    for (std::size_t n = 0; n < born_charges.size(); ++n)
        current[n % 9 / 3] += born_charges[n] * velocities[n / 9 * 3 + n % 3];
    return current;
}

double Results::atomic_charge(std::int64_t i, double atomic_charge_scale) const {
    const auto atom = static_cast<std::size_t>(i), channels = static_cast<std::size_t>(n_channels);
    double charge = 0.0;
    for (std::size_t channel = 0; channel < channels; ++channel) charge += latent_charges[atom * channels + channel];
    return charge * atomic_charge_scale;
}

}  // namespace les
