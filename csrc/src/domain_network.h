// Neighbours and network of one domain, from positions to derivatives with respect to positions: what the CPU
// (cpu_domain) and a GPU (device_domain) do each in their own way, so that what follows from it is written once.
#pragma once

#include <array>
#include <vector>

#include "les/communicator.h"
#include "les/system.h"

namespace les {

class DomainNetwork {
public:
    virtual ~DomainNetwork() = default;

    /// Edges of the atoms of `system`, from the host's list or, where that is null, by a search.
    virtual void find_edges(const System& system, const EdgeList* of_host) = 0;
    /// Energies and charges; keeps what the other passes need, `system` among it. Collective, as all passes are.
    virtual void forward(const System& system, Communicator& communicator) = 0;

    /// Of the last `forward`.
    virtual const std::vector<double>& node_energies() const = 0;   ///< (n_local,), eV, with offsets
    virtual const std::vector<double>& latent_charges() const = 0;  ///< (n_all, n_channels), e
    /// (n_local, 3), e angstrom, summed over channels; empty without charge transfers.
    virtual const std::vector<double>& transfer_dipoles() const = 0;

    /// Gradient (n_all, 3) of sum(cotangents * latent_charges) + dipole_cotangent . sum(transfer_dipoles) with respect
    /// to the positions, rows of ghosts for their owners; between `forward` and `backward`, as often as wanted.
    /// `cotangents` is (n_all, n_channels) or empty.
    virtual const std::vector<double>& charge_gradient(const std::vector<double>& cotangents,
                                                       const std::array<double, 3>& dipole_cotangent,
                                                       Communicator& communicator) = 0;
    /// Forces (n_all, 3), virial and, if the system wants them, virials (n_all, 3, 3) of the atoms into `results`: of
    /// the energies, and of the charges and dipoles with the cotangents given, V and V/angstrom.
    virtual void backward(const System& system, const std::vector<double>& cotangents,
                          const std::array<double, 3>& dipole_cotangent, Communicator& communicator,
                          Results& results) = 0;
};

}  // namespace les
