// A domain whose edges are found and collected on the CPU; the network alone may be on a GPU.
#pragma once

#include <array>
#include <vector>

#include "domain_network.h"
#include "les/neighbor_list.h"
#include "les/network.h"

namespace les {

class CpuDomain final : public DomainNetwork {
public:
    CpuDomain(NeighborList neighbor_list, Network network)
        : neighbor_list_(std::move(neighbor_list)), network_(std::move(network)) {}

    void find_edges(const System& system, const EdgeList* of_host) override;
    void forward(const System& system, Communicator& communicator) override;
    const std::vector<double>& node_energies() const override { return network_.node_energies(); }
    const std::vector<double>& latent_charges() const override { return network_.latent_charges(); }
    const std::vector<double>& transfer_dipoles() const override { return network_.transfer_dipoles(); }
    const std::vector<double>& charge_gradient(const std::vector<double>& cotangents,
                                               const std::array<double, 3>& dipole_cotangent,
                                               Communicator& communicator) override;
    void backward(const System& system, const std::vector<double>& cotangents,
                  const std::array<double, 3>& dipole_cotangent, Communicator& communicator, Results& results) override;

private:
    NeighborList neighbor_list_;
    Network network_;
    const Edges* edges_ = nullptr;
    std::size_t n_all_ = 0;
    std::vector<double> gradient_;  // (n_all, 3)
};

}  // namespace les
