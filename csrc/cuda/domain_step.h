// One of several domains on its device: neighbours of the owned atoms among these and their ghosts, network, and what
// the edges give. The passes are those of DomainNetwork (csrc/src/domain_network.h) on device arrays; what is between
// them, exchanges and long-range sum, is Engine::compute of the host.
#pragma once

#include <array>

#include "../src/device_network.h"
#include "../src/engine_options.h"
#include "device_forces.h"
#include "field_terms.cuh"
#include "les/communicator.h"
#include "neighbor_search.h"

namespace les::cuda {

template <class Backend>
class DomainStep {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    DomainStep(Backend& backend, const Metadata& metadata, const EngineOptions& options, DeviceNetwork& network)
        : backend_(backend),
          network_(network),
          by_layers_(metadata.layer_entry),
          search_(backend, metadata.cutoff, options.skin, static_cast<std::int32_t>(metadata.symbols.size())),
          forces_(backend, metadata.n_channels) {}

    /// Energies and charges as the network has them, contributions on ghosts included.
    void forward(const StepAtoms& atoms, Communicator& domains) {
        forces_.reserve(atoms.n_atoms);
        gradient_.reserve(3 * atoms.n_atoms);
        do {
            search_.start(atoms);
            // behind the search, for which the host waits meanwhile; not where domains exchange on the way, as each may
            // have to search again
            if (search_.knows_runs() && !by_layers_) network_.forward(network_rows(atoms));
        } while (!search_.finish());
        if (by_layers_) network_.forward(network_rows(atoms), &domains);
    }

    /// Gradient (n_atoms, 3) of the charges, weighted with cotangents (n_atoms, n_channels), and dipoles; all on the
    /// device.
    const double* charge_gradient(const double* cotangents, const std::array<double, 3>& dipole_cotangent,
                                  Communicator& domains) {
        const double* of_edges = network_.charge_gradient(cotangents, dipole_cotangent, &domains);
        launch_over(backend_, search_.list().n_atoms,
                    GatherGradients{search_.list(), search_.rows(), of_edges, gradient_.data()},
                    "the gradients of charges");
        return gradient_.data();
    }

    /// Forces, virial and virials of the atoms, without those of the long-range sum and of a field at fixed charges.
    void backward(const double* cotangents, const std::array<double, 3>& dipole_cotangent, bool atom_virials,
                  Communicator& domains) {
        const double* gradients = network_.backward(cotangents, dipole_cotangent, &domains);
        forces_.collect(search_, gradients, network_.node_energies(), {});
        if (atom_virials) forces_.collect_atom_virials(search_, gradients, nullptr, {});
    }

    const DeviceForces<Backend>& results() const { return forces_; }
    const double* node_energies() const { return network_.node_energies(); }
    const double* latent_charges() const { return network_.latent_charges(); }
    const double* transfer_dipoles() const { return network_.transfer_dipoles(); }

private:
    Backend& backend_;
    DeviceNetwork& network_;
    bool by_layers_;  // domains exchange messages after each layer
    NeighborSearch<Backend> search_;
    DeviceForces<Backend> forces_;
    Array<double> gradient_;

    NetworkRows network_rows(const StepAtoms& atoms) const {
        const EdgeRows& rows = search_.rows();
        return {atoms.n_atoms,   atoms.n_owned, rows.slots,      search_.types(),
                rows.neighbours, rows.vectors,  search_.order(), search_.runs()};
    }
};

}  // namespace les::cuda
