// Polarization of the charges and the external electric field: what the field adds to energy, forces and virial, Born
// effective charges and the current. The equations are in docs/conventions.md.
#pragma once

#include <array>
#include <vector>

#include "domain_network.h"
#include "les/charges.h"
#include "les/communicator.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

/// Shares of this domain, of physical charges (sqrt(eps_inf) times latent ones).
struct PolarizationResult {
    std::array<double, 3> polarization{}, current{};
    std::vector<double> born_charges;    ///< (n_local, 3, 3), empty unless wanted
    double field_energy = 0.0;           ///< eV
    std::vector<double> field_energies;  ///< (n_local,), eV, empty without a field
    std::vector<double> forces;          ///< (n_local, 3), of the field at fixed charges, or all of it; empty without
    std::vector<double> virials;         ///< (n_local, 3, 3), symmetric, of `forces` where they have an energy
    std::vector<double> potentials;      ///< (n_local, n_channels), V, d(field energy)/d(latent charge), or empty
    std::array<double, 3> dipole_cotangent{};  ///< d(field energy)/d(transfer dipole), V/angstrom
};

class Polarization {
public:
    explicit Polarization(const Metadata& metadata);

    /// Between the forward and the backward pass of `network`. Collective. Further passes through the network are made
    /// only for what is wanted: three (or six, where the polarization is not defined) for Born charges and current.
    const PolarizationResult& compute(const System& system, const std::vector<double>& charges, DomainNetwork& network,
                                      Charges& charge_exchange, Communicator& communicator);

    /// Whether the polarization of `system` is defined, so that a field has an energy.
    bool is_defined(const System& system) const { return flux_ || !system.periodic; }

private:
    void set_fixed_charges(const System& system, const std::vector<double>& charges);
    void add_moments(const System& system, const std::vector<double>& transfer_dipoles);
    void add_field(const System& system, const std::vector<double>& transfer_dipoles);
    void add_exact_response(const System& system, DomainNetwork& network, Charges& charge_exchange,
                            Communicator& communicator);
    void add_periodic_response(const System& system, DomainNetwork& network, Charges& charge_exchange,
                               Communicator& communicator, bool all_directions);
    void add_current(const System& system);
    static void find_gradient(DomainNetwork& network, const std::vector<double>& cotangents,
                              const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                              std::vector<double>& rows);

    bool flux_;
    std::size_t channels_;
    double scale_;  // of latent charges to physical ones
    std::vector<double> element_charges_;
    PolarizationResult result_;
    std::vector<double> fixed_charges_;                                // (n_local,), e, physical
    std::vector<double> rows_, sine_, cosine_, gradient_, of_cosine_;  // buffers kept between steps
};

}  // namespace les
