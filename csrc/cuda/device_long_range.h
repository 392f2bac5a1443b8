// The long-range sum of one domain that owns every atom, on the device: the mesh where the system is periodic, else all
// pairs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../src/engine_options.h"
#include "../src/lattice.h"
#include "les/model_file.h"
#include "mesh_solver.h"
#include "neighbor_search.h"
#include "pair_rows.h"

namespace les::cuda {

template <class Backend>
class DeviceLongRange {
public:
    /// Sentences for the user are added to `warnings`, each once.
    DeviceLongRange(Backend& backend, const Metadata& metadata, const EngineOptions& options,
                    std::vector<std::string>& warnings)
        : backend_(backend),
          parameters_(metadata.long_range),
          n_channels_(metadata.n_channels),
          moves_k_set_(metadata.long_range && metadata.long_range->k_cutoff && !options.long_range.freeze_k_set),
          warnings_(warnings) {
        if (parameters_) {
            pairs_.emplace(backend_, *parameters_, n_channels_);
            mesh_ = backend_.make_mesh(*parameters_, n_channels_, long_range_options(metadata, options),
                                       {options.deterministic, options.graphs != "off"});
        } else if (sets_more_than_solver(options.long_range)) {
            warnings_.emplace_back(options_without_long_range);
        }
    }

    /// Before the network, which takes as much memory as is left.
    void set_cell(const StepAtoms& atoms) {
        potentials_ = forces_ = nullptr;
        summary_ = nullptr;
        n_atoms_ = atoms.n_owned;
        was_periodic_ = atoms.periodic;
        if (!mesh_ || !atoms.periodic || atoms.n_owned == 0) return;
        check_cell(atoms.cell);
        mesh_->set_cell(atoms.cell, atoms.n_owned);
        if (!first_cell_) {
            first_cell_ = atoms.cell;
            warn_of_error(mesh_->report());
        } else if (moves_k_set_ && !warned_of_cell_ && atoms.cell != *first_cell_) {
            warned_of_cell_ = true;
            warnings_.emplace_back(warning_of_moving_k_set);
        }
    }

    /// `charges` (n_owned, n_channels), e.
    void compute(const StepAtoms& atoms, const double* charges) {
        if (!mesh_ || atoms.n_owned == 0) return;
        if (atoms.periodic) {
            mesh_->compute(atoms.positions, charges, atoms.n_owned);
        } else {
            pairs_->compute(atoms.positions, charges, atoms.n_owned, 0, atoms.n_owned);
        }
        take();
    }

    /// What `compute` leaves, after it ran as part of a graph.
    void take() {
        if (!mesh_ || n_atoms_ == 0) return;
        potentials_ = was_periodic_ ? mesh_->potentials() : pairs_->potentials();
        forces_ = was_periodic_ ? mesh_->forces() : pairs_->forces();
        summary_ = was_periodic_ ? reinterpret_cast<const Summary*>(mesh_->summary()) : pairs_->summary();
    }

    /// On the device; null without a sum.
    const double* potentials() const { return potentials_; }  // (n_owned, n_channels), V
    const double* forces() const { return forces_; }          // (n_owned, 3), eV/angstrom
    const Summary* summary() const { return summary_; }
    /// As that of MeshSolver, 0 without a mesh.
    std::int64_t generation() const { return mesh_ ? mesh_->generation() : 0; }

    std::string description() const {
        if (summary_ == nullptr) return "none";
        if (was_periodic_) return mesh_->description();
        return "direct sum over all pairs of " + std::to_string(n_atoms_) + " isolated atoms, on the GPU";
    }

    void warn_of_error(const MeshReport& report) {
        if (report.estimated_error <= 0.7 * report.asked_accuracy) return;
        char text[200];
        std::snprintf(text, sizeof(text),
                      "the estimated error with the mesh and window given, %.2g, is too near the accuracy asked for, "
                      "%.2g; choose a smaller mesh_spacing or more interpolation_nodes",
                      report.estimated_error, report.asked_accuracy);
        if (std::find(warnings_.begin(), warnings_.end(), text) == warnings_.end()) warnings_.emplace_back(text);
    }

private:
    Backend& backend_;
    std::optional<LongRangeParameters> parameters_;
    int n_channels_;
    bool moves_k_set_, was_periodic_ = false, warned_of_cell_ = false;
    std::vector<std::string>& warnings_;
    std::unique_ptr<MeshSolver> mesh_;  // null: no long-range energy
    std::optional<Matrix3> first_cell_;
    std::int64_t n_atoms_ = 0;
    std::optional<PairRows<Backend>> pairs_;
    const double *potentials_ = nullptr, *forces_ = nullptr;
    const Summary* summary_ = nullptr;
};

}  // namespace les::cuda
