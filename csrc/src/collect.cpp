// Sums over the terms of an evaluation, and over atoms; see collect.h.
#include "collect.h"

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

void collect_energies_and_charges(const DomainNetwork& network, const std::vector<double>& latent_charges,
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

void add_forces_and_virial(const LongRangeResult& long_range, const EmbeddingResult& embedding,
                           const PolarizationResult& polar, Results& results) {
    for (const auto* forces : {&long_range.forces, &polar.forces, &embedding.forces}) {
        for (std::size_t n = 0; n < forces->size(); ++n) results.forces[n] += (*forces)[n];
    }
    Matrix3 virial = sum(long_range.virial, embedding.virial);
    for (std::size_t n = 0; n < polar.virials.size(); ++n) virial[n % 9 / 3][n % 3] += polar.virials[n];
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) results.virial[a][b] += 0.5 * (virial[a][b] + virial[b][a]);
    }
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

void add_atom_virials(const System& system, const LongRangeResult& long_range, const EmbeddingResult& embedding,
                      const PolarizationResult& polar, Communicator& communicator, Results& results) {
    if (!system.atom_virials) return;
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
