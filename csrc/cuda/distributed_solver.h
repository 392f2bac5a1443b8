// The periodic long-range sum of several domains with a device each; DistributedSolver::compute is the page to read,
// and has the steps of the CPU's MeshSolver::compute. Host arrays go in and come out, as domains exchange charges and
// potentials there; what is of the size of the mesh stays on the devices but for messages. Choices are those of the CPU
// (mesh_setup.h). Whatever fails on one domain is thrown on all.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../src/lattice.h"
#include "brick_points.h"

namespace les::cuda {

template <class Backend, class Real>
class DistributedSolver final : public LongRangeSolver {
public:
    /// `deterministic`: charges are collected, see points_to_mesh.cuh.
    DistributedSolver(const Backend& backend, const LongRangeParameters& parameters, int n_channels,
                      const LongRangeOptions& options, bool deterministic)
        : backend_(backend),
          setup_(parameters, n_channels, options),
          moves_k_set_(parameters.k_cutoff && !options.freeze_k_set),
          points_(backend, deterministic),
          filter_(backend, failure_),
          mesh_(backend, failure_) {}

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        const bool known = have_cell_ && system.cell == cell_;
        have_cell_ = false;  // until all went well
        if (!known) set_cell(system, communicator);
        find_brick(system, charges, communicator);
        failure_.attempt([&] {
            points_.sort(setup_.nodes(), filter_.cell_terms());
            for_nodes(setup_.nodes(), [&]<int n>() { points_.points_to_mesh(setup_.pieces<Real, n>()); });
        });
        for (int channel = 0; channel < setup_.n_channels(); ++channel) {
            mesh_.solve(points_.brick(channel), [&](Real* modes) { filter_.launch(channel, modes); }, communicator);
        }
        failure_.attempt([&] {
            for_nodes(setup_.nodes(), [&]<int n>() {
                points_.mesh_to_points(setup_.pieces<Real, n>(), filter_.cell_terms(), filter_.self_terms());
            });
            filter_.send_sums(of_modes_);
            points_.send_results(of_points_, result_);
            backend_.wait();
        });
        add_up(communicator);
        have_cell_ = true;
        return result_;
    }

    std::string description() const override {
        if (!have_cell_) return "mesh";
        return setup_.description() + ", divided among " + std::to_string(n_domains_) + " domains";
    }
    std::vector<std::string> take_warnings() override { return std::exchange(warnings_, {}); }
    const MeshReport* mesh_report() const override { return have_cell_ ? &setup_.report() : nullptr; }

private:
    const Backend& backend_;
    SharedFailure failure_;
    MeshSetup setup_;
    bool moves_k_set_;
    BrickPoints<Backend, Real> points_;
    DistributedFilter<Backend, Real> filter_;
    DistributedMesh<Backend, Real> mesh_;
    Matrix3 cell_{}, first_cell_{};
    bool have_cell_ = false, had_cell_ = false, warned_of_cell_ = false;
    int n_domains_ = 1, kept_ = -1;
    double held_bytes_ = 0.0;  // of the largest mesh so far, which the next one takes over
    std::array<double, n_point_sums> of_points_{};
    std::array<double, n_filter_sums> of_modes_{};
    std::vector<std::string> warnings_;
    LongRangeResult result_;

    void set_cell(const System& system, Communicator& communicator) {
        double n_atoms = static_cast<double>(system.n_local);
        communicator.allreduce_sum(&n_atoms, 1);
        n_domains_ = communicator.size();
        failure_.attempt([&] {
            const bool changed = setup_.set_cell(system.cell, static_cast<std::int64_t>(n_atoms), n_domains_);
            if (changed || setup_.kept() != kept_) resize(communicator);
        });
        failure_.check(communicator);
        filter_.set_cell(setup_, communicator);
        warn(system.cell);
        cell_ = system.cell;
    }

    void resize(const Communicator& communicator) {
        kept_ = -1;
        const double bytes = bytes_of(setup_.report().mesh);
        check_memory(setup_.report().mesh, bytes);
        mesh_.resize(setup_.report().mesh, setup_.nodes(), setup_.kept(), communicator);
        filter_.resize(setup_, mesh_.division().panels(), mesh_.division().third_modes());
        kept_ = setup_.kept();
        held_bytes_ = std::max(held_bytes_, bytes);
    }

    /// Pencils in three orientations, two buffers of messages, work space of the transforms, influence function.
    double bytes_of(const std::array<int, 3>& mesh) const {
        return 7.5 * sizeof(Real) * mesh[0] * mesh[1] * mesh[2] / n_domains_;
    }

    void check_memory(const std::array<int, 3>& mesh, double bytes) const {
        const double free = backend_.free_memory() + held_bytes_;
        if (bytes <= free) return;
        char text[300];
        std::snprintf(
            text, sizeof(text),
            "a domain's part of the mesh of %d x %d x %d points needs %.3g GB, and %.3g GB of its GPU's memory "
            "are free; choose a smaller cell, a larger accuracy value or mesh_spacing, float32 for the mesh, "
            "or more GPUs",
            mesh[0], mesh[1], mesh[2], 1e-9 * bytes, 1e-9 * free);
        throw Error(text);
    }

    void warn(const Matrix3& cell) {
        if (!had_cell_) {
            had_cell_ = true;
            first_cell_ = cell;
            if (std::string text = warning_of_error(setup_.report()); !text.empty())
                warnings_.push_back(std::move(text));
        } else if (moves_k_set_ && !warned_of_cell_ && cell != first_cell_) {
            warned_of_cell_ = true;
            warnings_.emplace_back(warning_of_moving_k_set);
        }
    }

    /// The bricks of all domains, and what they share with pencils; what failed on a domain so far is thrown on all.
    void find_brick(const System& system, const std::vector<double>& charges, Communicator& communicator) {
        std::array<double, MeshDivision::brick_numbers> brick{};
        failure_.attempt([&] {
            points_.send(system, charges, setup_.n_channels());
            brick = points_.find_brick(setup_, filter_.cell_terms(), mesh_.division());
        });
        std::vector<double> told(brick.begin(), brick.end());
        told.push_back(failure_.happened() ? 1.0 : 0.0);
        const std::vector<double> all = communicator.allgather(told);
        for (std::size_t i = brick.size(); i < all.size(); i += told.size()) {
            if (all[i] > 0.0) failure_.raise(communicator);
        }
        mesh_.division().set_bricks(all, told.size(), points_.shape().row(), points_.shape().plane());
        mesh_.share_bricks();
    }

    /// The net force of the mesh is taken out of the atoms; each domain has a share of energy and virial, and the first
    /// one what holds for all atoms together. What failed on a domain is thrown on all.
    void add_up(Communicator& communicator) {
        std::array<double, n_point_sums + 1> sums{};
        std::copy(of_points_.begin(), of_points_.end(), sums.begin());
        sums[energy_sum] = static_cast<double>(points_.size());
        sums.back() = failure_.happened() ? 1.0 : 0.0;
        communicator.allreduce_sum(sums.data(), static_cast<std::int64_t>(sums.size()));
        if (sums.back() > 0.0) failure_.raise(communicator);
        const double n_atoms = std::max(1.0, sums[energy_sum]);
        result_.energy = of_points_[energy_sum];
        for (std::size_t x = 0; x < 3; ++x) result_.net_force[x] = sums[force_sum + x];
        for (std::size_t i = 0; i < result_.forces.size(); ++i) result_.forces[i] -= sums[force_sum + i % 3] / n_atoms;
        const std::array<double, n_point_sums> none{};
        const double* of_points = communicator.rank() == 0 ? sums.data() : none.data();
        for (int component = 0; component < 6; ++component) {
            const auto a = static_cast<std::size_t>(first_of(component)),
                       b = static_cast<std::size_t>(second_of(component));
            result_.virial[a][b] = result_.virial[b][a] =
                virial_of(setup_.cell_terms(), filter_.host_self_terms(), of_points, of_modes_.data(), component);
        }
    }
};

/// With a mesh in the precision of the options.
template <class Backend>
std::unique_ptr<LongRangeSolver> make_distributed_solver(const Backend& backend, const LongRangeParameters& parameters,
                                                         int n_channels, const LongRangeOptions& options,
                                                         bool deterministic) {
    if (options.dtype == "float32")
        return std::make_unique<DistributedSolver<Backend, float>>(backend, parameters, n_channels, options,
                                                                   deterministic);
    return std::make_unique<DistributedSolver<Backend, double>>(backend, parameters, n_channels, options,
                                                                deterministic);
}

}  // namespace les::cuda
