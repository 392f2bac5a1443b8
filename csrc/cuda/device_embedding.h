// External charges on the device: cross energy, forces on both and potentials at the atoms, from a mesh of one channel
// or from pairs. The steps and names are those of csrc/src/embedding.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "../src/engine_options.h"
#include "edge_forces.cuh"
#include "external_charges.cuh"
#include "les/model_file.h"
#include "mesh_solver.h"
#include "neighbor_search.h"
#include "step_request.h"

namespace les::cuda {

template <class Backend>
class DeviceEmbedding {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    DeviceEmbedding(Backend& backend, const Metadata& metadata, const EngineOptions& options)
        : backend_(backend),
          parameters_(metadata.long_range),
          options_(long_range_options(metadata, options)),
          device_options_{options.deterministic, options.graphs != "off"},
          n_channels_(metadata.n_channels) {
        summary_.reserve(1);
    }

    void check(const StepRequest& request) const {
        if (request.n_external > 0 && !parameters_) throw Error(embedding_without_charges);
    }

    /// Before the network, which takes as much memory as is left.
    void set_cell(const StepAtoms& atoms, const StepRequest& request) {
        if (request.n_external == 0 || !atoms.periodic) return;
        if (!mesh_) mesh_ = backend_.make_mesh(*parameters_, 1, options_, device_options_);
        mesh_->set_cell(atoms.cell, atoms.n_owned + request.n_external);
    }

    /// `charges` (n_owned, n_channels), e. Nothing without external charges.
    void compute(const StepAtoms& atoms, const StepRequest& request, const double* charges) {
        n_atoms_ = atoms.n_owned;
        n_external_ = request.n_external;
        if (n_external_ == 0) return;
        const std::int64_t n = n_atoms_ + n_external_;
        points_.reserve(3 * n);
        values_.reserve(n);
        potentials_.reserve(n);
        forces_.reserve(3 * n);
        launch_over(backend_, n,
                    JoinPoints{n_atoms_, n_external_, n_channels_, atoms.positions, charges, request.external_positions,
                               request.external_charges, points_.data(), values_.data()},
                    "the external charges");
        was_periodic_ = atoms.periodic;
        if (was_periodic_) {
            add_half(0.5, true);
            launch_over(backend_, n_external_, NegateCharges{n_external_, values_.data() + n_atoms_},
                        "the external charges");
            add_half(-0.5, false);
            backend_.launch(SumEmbeddingEnergy{values_.data(), potentials_.data(), n_atoms_, summary_.data()}, 1,
                            "the energy of external charges");
        } else {
            add_pairs(n);
        }
    }

    /// Of the last evaluation, on the device; null without external charges.
    const Summary* summary() const { return n_external_ > 0 ? summary_.data() : nullptr; }
    const double* potentials() const { return n_external_ > 0 ? potentials_.data() : nullptr; }  // (n_owned,), V
    const double* forces() const { return n_external_ > 0 ? forces_.data() : nullptr; }  // (n_owned, 3), eV/angstrom
    const double* external_forces() const { return n_external_ > 0 ? forces_.data() + 3 * n_atoms_ : nullptr; }
    std::int64_t n_external() const { return n_external_; }
    const MeshReport* report() const { return mesh_ ? &mesh_->report() : nullptr; }

    /// Empty before the first evaluation with external charges.
    std::string description() const {
        if (points_.data() == nullptr) return {};
        if (was_periodic_) return mesh_->description();
        return "direct sum over pairs of " + std::to_string(n_atoms_) + " isolated atoms and " +
               std::to_string(n_external_) + " external charges, on the GPU";
    }

private:
    Backend& backend_;
    std::optional<LongRangeParameters> parameters_;
    LongRangeOptions options_;
    DeviceOptions device_options_;
    bool was_periodic_ = false;
    int n_channels_;
    std::int64_t n_atoms_ = 0, n_external_ = 0;
    std::unique_ptr<MeshSolver> mesh_;
    Array<double> points_, values_, potentials_, forces_, totals_;  // of atoms, then of external charges
    Array<Summary> summary_;

    /// Adds `weight` times the long-range sum of the charges `values_` at `points_`.
    void add_half(double weight, bool first) {
        const std::int64_t n = n_atoms_ + n_external_;
        mesh_->compute(points_.data(), values_.data(), n);
        launch_over(backend_, n,
                    AddHalf{weight, first, n, mesh_->potentials(), mesh_->forces(),
                            reinterpret_cast<const Summary*>(mesh_->summary()), potentials_.data(), forces_.data(),
                            summary_.data()},
                    "the sums of external charges");
    }

    /// X = K_e sum_ij Q_i z_j erf(r_ij / (sqrt(2) sigma)) / r_ij.
    void add_pairs(std::int64_t n) {
        const std::int64_t wanted = (n + SumExternalPairs::threads - 1) / SumExternalPairs::threads;
        const int blocks = static_cast<int>(wanted < most_force_blocks ? wanted : most_force_blocks);
        totals_.reserve(most_force_blocks * n_pair_sums);
        backend_.launch(SumExternalPairs{n_atoms_, n, points_.data(), values_.data(),
                                         1.0 / (std::sqrt(2.0) * parameters_->smearing), parameters_->coulomb_constant,
                                         potentials_.data(), forces_.data(), totals_.data()},
                        blocks, "the pairs with external charges");
        backend_.launch(ClosePairs{totals_.data(), blocks, summary_.data()}, 1, "the pairs with external charges");
    }
};

}  // namespace les::cuda
