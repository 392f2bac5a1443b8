// Polarization and electric field on the device: what the field adds to energy, forces and virial, Born effective
// charges and the current. The steps and names are those of csrc/src/polarization.h.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "../src/device_network.h"
#include "../src/engine_options.h"
#include "../src/lattice.h"
#include "field_terms.cuh"
#include "les/model_file.h"
#include "neighbor_search.h"
#include "step_request.h"

namespace les::cuda {

template <class Backend>
class DeviceResponse {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    DeviceResponse(Backend& backend, const Metadata& metadata)
        : backend_(backend),
          n_channels_(metadata.n_channels),
          flux_(metadata.charge_flux()),
          scale_(metadata.atomic_charge_scale) {
        sums_.reserve(1);
        totals_.reserve(most_force_blocks * n_field_sums);
        if (!flux_) return;
        element_charges_.reserve(static_cast<std::int64_t>(metadata.element_charges.size()));
        backend_.to_device(element_charges_.data(), metadata.element_charges.data(),
                           metadata.element_charges.size() * sizeof(double));
        backend_.wait();  // the source may go out of scope
    }

    /// Whether the polarization is defined, so that a field has an energy.
    bool is_defined(const StepAtoms& atoms) const { return flux_ || !atoms.periodic; }

    /// Throws les::Error for what the model does not have.
    void check(const StepRequest& request) const {
        if (n_channels_ == 0 && (request.has_field() || request.born_charges || request.current))
            throw Error(response_without_charges);
    }

    /// Between the forward and the backward pass of `network`. `cotangents_of(rows)` makes cotangents of the network of
    /// those of the charges.
    template <class CotangentsOf>
    void compute(const StepAtoms& atoms, const StepRequest& request, const NeighborSearch<Backend>& search,
                 DeviceNetwork& network, const CotangentsOf& cotangents_of) {
        has_sums_ = has_energy_ = has_forces_ = has_born_charges_ = false;
        const bool wants_response = request.born_charges || request.current, has_field = request.has_field();
        const bool wants_moments = request.polarization && is_defined(atoms);
        if (n_channels_ == 0 || atoms.n_owned == 0 || !(wants_response || has_field || wants_moments)) return;
        reserve(atoms.n_owned);
        sum_moments(atoms, request, search, network);
        if (is_defined(atoms)) {
            if (wants_response) add_exact_response(atoms, request, search, network, cotangents_of);
        } else if (has_field || wants_response) {
            add_periodic_response(atoms, request, search, network, cotangents_of);
        }
        if (request.current)
            backend_.launch(SumCurrent{born_charges_.data(), request.velocities, atoms.n_owned, sums_.data()->current},
                            1, "the current");
        has_sums_ = true;
        has_born_charges_ = request.born_charges;
    }

    /// A plain evaluation was launched without `compute`.
    void expect(const StepAtoms& atoms, const StepRequest& request) {
        has_energy_ = has_forces_ = has_born_charges_ = false;
        has_sums_ = n_channels_ > 0 && atoms.n_owned > 0 && request.polarization && is_defined(atoms);
    }

    /// Of the last evaluation, on the device; null for what it has not.
    const ResponseSums* sums() const { return has_sums_ ? sums_.data() : nullptr; }
    const double* field_energies() const { return has_energy_ ? energies_.data() : nullptr; }  // (n,), eV
    const double* forces() const { return has_forces_ ? forces_.data() : nullptr; }            // (n, 3), eV/angstrom
    const double* potentials() const { return has_energy_ && !flux_ ? potentials_.data() : nullptr; }  // V
    const double* born_charges() const { return has_born_charges_ ? born_charges_.data() : nullptr; }  // (n, 3, 3), e
    /// The forces come with a virial force (x) position.
    bool has_energy() const { return has_energy_; }
    /// V/angstrom, d(field energy)/d(transfer dipole)
    std::array<double, 3> dipole_cotangent(const StepRequest& request) const {
        std::array<double, 3> cotangent{};
        for (std::size_t a = 0; flux_ && a < 3; ++a) cotangent[a] = -scale_ * request.field[a];
        return cotangent;
    }

private:
    Backend& backend_;
    int n_channels_;
    bool flux_;
    double scale_;  // of latent charges to physical ones
    bool has_sums_ = false, has_energy_ = false, has_forces_ = false, has_born_charges_ = false;
    Array<ResponseSums> sums_;
    Array<double> element_charges_, totals_, fixed_charges_, energies_, forces_, potentials_, weights_, born_charges_;
    std::array<Array<double>, 2> gradients_;  // (n, 3)

    static const double* moments_from(const StepAtoms& atoms, const StepRequest& request) {
        return request.moments_from != nullptr ? request.moments_from : atoms.positions;
    }

    void reserve(std::int64_t n) {
        for (auto* rows : {&fixed_charges_, &energies_}) rows->reserve(n);
        for (auto* rows : {&forces_, &gradients_[0], &gradients_[1]}) rows->reserve(3 * n);
        for (auto* rows : {&potentials_, &weights_}) rows->reserve(n * n_channels_);
        born_charges_.reserve(9 * n);
    }

    void sum_moments(const StepAtoms& atoms, const StepRequest& request, const NeighborSearch<Backend>& search,
                     DeviceNetwork& network) {
        const bool defined = is_defined(atoms);
        has_forces_ = request.has_field();
        has_energy_ = has_forces_ && defined;
        const std::int64_t wanted = (atoms.n_owned + SumMoments::threads - 1) / SumMoments::threads;
        const int blocks = static_cast<int>(wanted < most_force_blocks ? wanted : most_force_blocks);
        backend_.launch(SumMoments{atoms.n_owned,
                                   n_channels_,
                                   scale_,
                                   defined,
                                   has_energy_,
                                   {request.field[0], request.field[1], request.field[2]},
                                   moments_from(atoms, request),
                                   network.latent_charges(),
                                   search.types(),
                                   flux_ ? element_charges_.data() : nullptr,
                                   flux_ ? network.transfer_dipoles() : nullptr,
                                   fixed_charges_.data(),
                                   energies_.data(),
                                   forces_.data(),
                                   flux_ ? nullptr : potentials_.data(),
                                   totals_.data()},
                        blocks, "the polarization");
        backend_.launch(CloseMoments{totals_.data(), blocks, sums_.data()}, 1, "the polarization");
    }

    /// d(sum of weights w(direction . r_i) q_i)/dr, or of the dipoles along `direction`, into gradients (n, 3).
    template <class CotangentsOf>
    const double* charge_gradient(Weight weight, const std::array<double, 3>& direction, double scale,
                                  const double* positions, const StepAtoms& atoms,
                                  const NeighborSearch<Backend>& search, DeviceNetwork& network,
                                  const CotangentsOf& cotangents_of, Array<double>& gradients) {
        const double* of_edges = nullptr;
        if (flux_) {
            of_edges =
                network.charge_gradient(nullptr, {scale * direction[0], scale * direction[1], scale * direction[2]});
        } else {
            launch_over(backend_, atoms.n_owned,
                        WeightAtoms{weight,
                                    {direction[0], direction[1], direction[2]},
                                    scale,
                                    positions,
                                    atoms.n_owned,
                                    n_channels_,
                                    weights_.data()},
                        "the weights of charges");
            of_edges = network.charge_gradient(cotangents_of(weights_.data()), {});
        }
        launch_over(backend_, atoms.n_owned, GatherGradients{search.list(), search.rows(), of_edges, gradients.data()},
                    "the gradients of charges");
        return gradients.data();
    }

    template <class CotangentsOf>
    void add_exact_response(const StepAtoms& atoms, const StepRequest& request, const NeighborSearch<Backend>& search,
                            DeviceNetwork& network, const CotangentsOf& cotangents_of) {
        for (int a = 0; a < 3; ++a) {
            std::array<double, 3> direction{};
            direction[static_cast<std::size_t>(a)] = 1.0;
            const double* gradient =
                charge_gradient(Weight::coordinate, direction, scale_, moments_from(atoms, request), atoms, search,
                                network, cotangents_of, gradients_[0]);
            launch_over(backend_, atoms.n_owned,
                        AddBornRow{a, atoms.n_owned, gradient, fixed_charges_.data(), born_charges_.data()},
                        "the Born charges");
        }
    }

    template <class CotangentsOf>
    void add_periodic_response(const StepAtoms& atoms, const StepRequest& request,
                               const NeighborSearch<Backend>& search, DeviceNetwork& network,
                               const CotangentsOf& cotangents_of) {
        const Matrix3 reciprocal = reciprocal_of(atoms.cell);
        const bool all_directions = request.born_charges || request.current;
        bool first = true;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const auto &v = atoms.cell[axis], &b = reciprocal[axis];
            const double along = request.field[0] * v[0] + request.field[1] * v[1] + request.field[2] * v[2];
            if (!all_directions && along == 0.0) continue;
            const auto gradient = [&](Weight weight, Array<double>& into) {
                return charge_gradient(weight, b, 1.0, atoms.positions, atoms, search, network, cotangents_of, into);
            };
            const double* of_sine = gradient(Weight::sine, gradients_[0]);
            const double* of_cosine = gradient(Weight::cosine, gradients_[1]);
            launch_over(backend_, atoms.n_owned,
                        AddFractional{{v[0], v[1], v[2]},
                                      {b[0], b[1], b[2]},
                                      along,
                                      scale_,
                                      std::exchange(first, false),
                                      atoms.n_owned,
                                      atoms.positions,
                                      of_sine,
                                      of_cosine,
                                      fixed_charges_.data(),
                                      all_directions ? born_charges_.data() : nullptr,
                                      request.has_field() ? forces_.data() : nullptr},
                        "the Born charges");
        }
    }
};

}  // namespace les::cuda
