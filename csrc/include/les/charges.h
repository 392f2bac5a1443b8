// Latent charges between network and solver: contributions on ghosts go home, the neutrality option shifts, and the
// potentials travel the same way back as cotangents.
#pragma once

#include <vector>

#include "les/communicator.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

class Charges {
public:
    Charges(const Metadata& metadata, std::vector<double> total_charge);

    /// Charges (n_local, n_channels) in e of the owned atoms from the network's (n_all, n_channels). Collective.
    const std::vector<double>& collect(const System& system, const std::vector<double>& network_charges,
                                       Communicator& communicator);

    /// Cotangents (n_all, n_channels) of the network's charges from the potentials (n_local, n_channels). Collective.
    const std::vector<double>& cotangents(const System& system, const std::vector<double>& potentials,
                                          Communicator& communicator);

private:
    std::size_t channels_;
    bool ghost_charges_, neutralize_;
    std::vector<double> total_charge_;
    std::vector<double> all_, owned_, cotangents_;

    /// Mean over all atoms of every domain of (rows - shift / n_atoms), per channel.
    std::vector<double> mean_less(const System& system, const std::vector<double>& rows,
                                  const std::vector<double>& shift, Communicator& communicator) const;
};

}  // namespace les
