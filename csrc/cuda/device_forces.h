// The end of an evaluation on a device, from gradients on the edges: forces, virial and energies, and virials of the
// atoms.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../src/device_network.h"
#include "atom_virials.cuh"
#include "edge_forces.cuh"
#include "neighbor_search.h"

namespace les::cuda {

/// What is added to the terms of the edges; null for what there is not.
struct OtherTerms {
    const double* forces = nullptr;                            // (n_owned, 3), eV/angstrom, at fixed charges
    const Summary *long_range = nullptr, *external = nullptr;  // their virials and energies
    const ResponseSums* response = nullptr;
    const double *field_forces = nullptr, *moments_from = nullptr;  // (n_owned, 3), of a field that has an energy
};

template <class Backend>
class DeviceForces {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    DeviceForces(Backend& backend, int n_channels) : backend_(backend), n_channels_(n_channels) {
        totals_.reserve(most_force_blocks * n_edge_sums);
        charge_square_.reserve(1);
        summary_.reserve(1);
    }

    /// Room for `n_atoms`; waits if the array has to be another.
    void reserve(std::int64_t n_atoms) {
        if (3 * n_atoms <= room_) return;
        backend_.wait();
        room_ = 3 * (n_atoms + n_atoms / 16);
        forces_.reserve(room_);
    }

    /// `gradients` (n_owned, slots, 3), eV/angstrom.
    void collect(const NeighborSearch<Backend>& search, const double* gradients, const double* node_energies,
                 const OtherTerms& terms) {
        const std::int64_t n_atoms = search.list().n_atoms;
        const std::int64_t wanted = (n_atoms + CollectForces::threads - 1) / CollectForces::threads;
        const int blocks = static_cast<int>(std::clamp<std::int64_t>(wanted, 1, most_force_blocks));
        backend_.launch(CollectForces{search.list(), search.rows(), gradients, terms.forces, node_energies,
                                      forces_.data(), totals_.data()},
                        blocks, "the forces");
        backend_.launch(
            CloseStep{totals_.data(), blocks, terms.long_range, terms.external, terms.response, summary_.data()}, 1,
            "the end of the step");
    }

    /// `charges` (n_owned, n_channels) share the virials of the other terms; null where there is nothing to share.
    void collect_atom_virials(const NeighborSearch<Backend>& search, const double* gradients, const double* charges,
                              const OtherTerms& terms) {
        const std::int64_t n_atoms = search.list().n_atoms, n_owned = search.list().n_centres;
        atom_virials_.reserve(9 * n_atoms);
        if (charges != nullptr)
            backend_.launch(SumSquares{charges, n_owned * n_channels_, charge_square_.data()}, 1,
                            "the sum of squared charges");
        launch_over(backend_, n_atoms,
                    CollectAtomVirials{search.list(), search.rows(), gradients, terms.long_range, terms.external,
                                       charges, charges != nullptr ? charge_square_.data() : nullptr, n_channels_,
                                       terms.field_forces, terms.moments_from, atom_virials_.data()},
                    "the virials of the atoms");
    }

    double* forces() const { return forces_.data(); }  // (n_atoms, 3), eV/angstrom
    DeviceSummary* summary() const { return summary_.data(); }
    const double* atom_virials() const { return atom_virials_.data(); }  // (n_atoms, 3, 3), eV

private:
    Backend& backend_;
    int n_channels_;
    std::int64_t room_ = 0;
    mutable Array<double> forces_;
    mutable Array<DeviceSummary> summary_;
    Array<double> totals_, charge_square_, atom_virials_;
};

}  // namespace les::cuda
