// The learned part: edges to atomic energies and latent charges, and one backward pass to gradients on the edges.
// The TorchScript module is hidden behind this class, so that another payload can stand behind the same calls.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "les/communicator.h"
#include "les/model_file.h"
#include "les/neighbor_list.h"
#include "les/system.h"

namespace les {

class Network {
public:
    /// `device` is "cpu", "cuda" or "cuda:N"; throws les::Error if it cannot be used. `graph_memory` in bytes: where
    /// the values between forward and backward pass would take more, they are computed again, block by block.
    /// `layer_by_layer`: every layer is evaluated for owned atoms only and the domains exchange messages after it, so
    /// that `forward`, `backward` and `charge_gradient` are collective; needs Metadata::layer_entry. Else layers are
    /// evaluated for ghosts as far as there are edges.
    Network(const ModelFile& file, const std::string& device, double graph_memory, bool layer_by_layer);
    ~Network();
    Network(Network&&) noexcept;

    /// Total charge (e) and spin multiplicity of the system, for models that take them as inputs.
    void set_state(double total_charge, double spin);

    /// Evaluates energies and charges and keeps what `backward` needs, `system` and `edges` among it.
    void forward(const System& system, const Edges& edges, Communicator& communicator);
    /// Gradient (n_edges, 3) in eV/angstrom of sum(node_energies) + sum(charge_cotangents * latent_charges) +
    /// dipole_cotangent . sum(transfer_dipoles) with respect to the edge vectors of the last `forward`.
    /// `charge_cotangents` is (n_all, n_channels), V, or empty; `dipole_cotangent` is V/angstrom.
    const std::vector<double>& backward(const std::vector<double>& charge_cotangents,
                                        const std::array<double, 3>& dipole_cotangent, Communicator& communicator);
    /// The same without the energies and before `backward`, as often as wanted; in a buffer of its own.
    const std::vector<double>& charge_gradient(const std::vector<double>& charge_cotangents,
                                               const std::array<double, 3>& dipole_cotangent,
                                               Communicator& communicator);

    const std::vector<double>& node_energies() const { return node_energies_; }    ///< (n_local,), eV, with offsets
    const std::vector<double>& latent_charges() const { return latent_charges_; }  ///< (n_all, n_channels), e
    /// (n_local, 3), e angstrom, summed over channels; empty without charge transfers.
    const std::vector<double>& transfer_dipoles() const { return transfer_dipoles_; }

private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation_;
    std::vector<double> node_energies_, latent_charges_, transfer_dipoles_, edge_gradients_, charge_gradients_;
};

}  // namespace les
