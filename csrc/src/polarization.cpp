// Moments, response and field, each a loop over owned atoms; see polarization.h.
#include "polarization.h"

#include <algorithm>
#include <cmath>

#include "engine_options.h"
#include "lattice.h"
#include "les/error.h"

namespace les {

namespace {

double dot(const Vector3& a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

const double* moments_from(const System& system) {
    return system.unwrapped_positions != nullptr ? system.unwrapped_positions : system.positions;
}

}  // namespace

Polarization::Polarization(const Metadata& metadata)
    : flux_(metadata.charge_flux()),
      channels_(static_cast<std::size_t>(metadata.n_channels)),
      scale_(metadata.atomic_charge_scale),
      element_charges_(metadata.element_charges) {}

const PolarizationResult& Polarization::compute(const System& system, const std::vector<double>& charges,
                                                DomainNetwork& network, Charges& charge_exchange,
                                                Communicator& communicator) {
    result_.polarization = result_.current = result_.dipole_cotangent = {};
    result_.field_energy = 0.0;
    for (auto* rows :
         {&result_.born_charges, &result_.field_energies, &result_.forces, &result_.virials, &result_.potentials})
        rows->clear();
    const bool has_field = system.field != std::array<double, 3>{};
    const bool wants_response = system.born_charges || system.polarization_current;
    if (system.polarization_current && system.velocities == nullptr && system.n_local > 0)
        throw Error(current_without_velocities);

    if (channels_ == 0) {
        if (has_field || wants_response) throw Error(response_without_charges);
        return result_;
    }

    set_fixed_charges(system, charges);
    if (is_defined(system)) {
        add_moments(system, network.transfer_dipoles());
        if (has_field) add_field(system, network.transfer_dipoles());
        if (wants_response) add_exact_response(system, network, charge_exchange, communicator);
    } else if (has_field || wants_response) {
        add_periodic_response(system, network, charge_exchange, communicator, wants_response);
    }
    if (system.polarization_current) add_current(system);
    if (!system.born_charges) result_.born_charges.clear();
    return result_;
}

/// Charges that move with their atoms: the constant ones of charge transfers, else those of this moment.
void Polarization::set_fixed_charges(const System& system, const std::vector<double>& charges) {
    const auto n_local = static_cast<std::size_t>(system.n_local);
    fixed_charges_.resize(n_local);
    for (std::size_t i = 0; i < n_local; ++i) {
        double charge = 0.0;
        if (flux_) {
            charge = element_charges_[static_cast<std::size_t>(system.types[i])];
        } else {
            for (std::size_t channel = 0; channel < channels_; ++channel) charge += charges[i * channels_ + channel];
        }
        fixed_charges_[i] = scale_ * charge;
    }
}

/// P = sum_i q_i r_i + sum_i D_i with the dipoles D of charge transfers.
void Polarization::add_moments(const System& system, const std::vector<double>& transfer_dipoles) {
    const double* r = moments_from(system);
    for (std::size_t i = 0; i < static_cast<std::size_t>(system.n_local); ++i) {
        for (std::size_t a = 0; a < 3; ++a) {
            result_.polarization[a] += fixed_charges_[i] * r[3 * i + a];
            if (flux_) result_.polarization[a] += scale_ * transfer_dipoles[3 * i + a];
        }
    }
}

/// H = E - E_field . P: energy, and its derivatives at fixed latent charges and transfers.
void Polarization::add_field(const System& system, const std::vector<double>& transfer_dipoles) {
    const auto n_local = static_cast<std::size_t>(system.n_local);
    const double* r = moments_from(system);
    const auto& field = system.field;
    result_.field_energies.resize(n_local);
    result_.forces.resize(3 * n_local);
    result_.virials.resize(9 * n_local);
    if (!flux_) result_.potentials.resize(n_local * channels_);
    for (std::size_t i = 0; i < n_local; ++i) {
        const double potential = -dot(field, r + 3 * i);
        result_.field_energies[i] = fixed_charges_[i] * potential;
        if (flux_) {
            result_.field_energies[i] -= scale_ * dot(field, transfer_dipoles.data() + 3 * i);
        } else {
            std::fill_n(result_.potentials.data() + i * channels_, channels_, scale_ * potential);
        }
        result_.field_energy += result_.field_energies[i];
        double* force = result_.forces.data() + 3 * i;
        for (std::size_t a = 0; a < 3; ++a) force[a] = fixed_charges_[i] * field[a];
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b)
                result_.virials[9 * i + 3 * a + b] = 0.5 * (force[a] * r[3 * i + b] + force[b] * r[3 * i + a]);
        }
    }
    if (flux_) {
        for (std::size_t a = 0; a < 3; ++a) result_.dipole_cotangent[a] = -scale_ * field[a];
    }
}

/// Z*_{i,a,b} = q_i delta_ab + d(sum_j D_ja)/dr_ib, or + sum_j r_ja dq_j/dr_ib.
void Polarization::add_exact_response(const System& system, DomainNetwork& network, Charges& charge_exchange,
                                      Communicator& communicator) {
    const auto n_local = static_cast<std::size_t>(system.n_local);
    result_.born_charges.assign(9 * n_local, 0.0);
    const double* r = moments_from(system);
    for (std::size_t a = 0; a < 3; ++a) {
        std::array<double, 3> dipole_cotangent{};
        if (flux_) {
            dipole_cotangent[a] = scale_;
            find_gradient(network, {}, dipole_cotangent, communicator, gradient_);
        } else {
            rows_.resize(n_local * channels_);
            for (std::size_t i = 0; i < n_local; ++i)
                std::fill_n(rows_.data() + i * channels_, channels_, scale_ * r[3 * i + a]);
            const auto& cotangents = charge_exchange.cotangents(system, rows_, communicator);
            find_gradient(network, cotangents, {}, communicator, gradient_);
        }
        for (std::size_t i = 0; i < n_local; ++i) {
            for (std::size_t b = 0; b < 3; ++b)
                result_.born_charges[9 * i + 3 * a + b] = gradient_[3 * i + b] + (a == b ? fixed_charges_[i] : 0.0);
        }
    }
}

/// Along each fractional direction t_ib = [cos(u_i) d/dr_ib sum_j q_j sin(u_j) - sin(u_i) d/dr_ib sum_j q_j cos(u_j)] /
/// 2 pi + q_i ds_i/dr_ib, u = 2 pi s, derivatives of q_j alone; Z*_{i,a,b} = sum t_ib (lattice vector)_a. Forces E .
/// Z*.
void Polarization::add_periodic_response(const System& system, DomainNetwork& network, Charges& charge_exchange,
                                         Communicator& communicator, bool all_directions) {
    const auto n_local = static_cast<std::size_t>(system.n_local);
    const Matrix3 reciprocal = reciprocal_of(system.cell);
    const bool has_field = system.field != std::array<double, 3>{};
    if (all_directions) result_.born_charges.assign(9 * n_local, 0.0);
    if (has_field) result_.forces.assign(3 * n_local, 0.0);
    sine_.resize(n_local * channels_);
    cosine_.resize(n_local * channels_);
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const double along = dot(system.field, system.cell[axis].data());
        if (!all_directions && along == 0.0) continue;
        for (std::size_t i = 0; i < n_local; ++i) {
            const double angle = dot(reciprocal[axis], system.positions + 3 * i);
            std::fill_n(sine_.data() + i * channels_, channels_, std::sin(angle));
            std::fill_n(cosine_.data() + i * channels_, channels_, std::cos(angle));
        }
        for (const bool sine : {true, false}) {
            const auto& cotangents = charge_exchange.cotangents(system, sine ? sine_ : cosine_, communicator);
            find_gradient(network, cotangents, {}, communicator, sine ? gradient_ : of_cosine_);
        }
        for (std::size_t i = 0; i < n_local; ++i) {
            const double s = sine_[i * channels_], c = cosine_[i * channels_];
            for (std::size_t b = 0; b < 3; ++b) {
                const double t = (scale_ * (c * gradient_[3 * i + b] - s * of_cosine_[3 * i + b]) +
                                  fixed_charges_[i] * reciprocal[axis][b]) /
                                 (2.0 * pi);
                if (has_field) result_.forces[3 * i + b] += along * t;
                if (!all_directions) continue;
                for (std::size_t a = 0; a < 3; ++a) result_.born_charges[9 * i + 3 * a + b] += system.cell[axis][a] * t;
            }
        }
    }
}

/// dP/dt = sum_i Z*_i v_i.
void Polarization::add_current(const System& system) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(system.n_local); ++i) {
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b)
                result_.current[a] += result_.born_charges[9 * i + 3 * a + b] * system.velocities[3 * i + b];
        }
    }
}

/// Rows of owned atoms (n_local, 3), to which those of their ghosts were added.
void Polarization::find_gradient(DomainNetwork& network, const std::vector<double>& cotangents,
                                 const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                                 std::vector<double>& rows) {
    rows = network.charge_gradient(cotangents, dipole_cotangent, communicator);
    communicator.ghosts_to_owners(rows.data(), 3);
}

}  // namespace les
