// The mesh of csrc/cuda without a GPU: the bodies of its kernels in ordinary loops over blocks and threads, in the
// order of the launches of mesh_solver.cu, with the transforms of the CPU solver.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda/kspace_filter.cuh"
#include "cuda/mesh_setup.h"
#include "src/fft.h"

namespace les::cuda {

template <class Real>
class EmulatedMesh {
public:
    EmulatedMesh(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options,
                 bool deterministic)
        : setup_(parameters, n_channels, options), deterministic_(deterministic) {}

    /// Blocks of the launches with a free number of them.
    int blocks = 7;
    /// The order in which atoms are counted, as threads of a GPU run in any order; empty: that of the host.
    std::vector<std::int32_t> order;
    /// Threads of each phase from the last to the first.
    bool backwards = false;

    std::vector<double> potentials, forces;
    Summary summary{};
    const MeshSetup& setup() const { return setup_; }

    /// Whether the mesh is another one.
    bool set_cell(const Matrix3& cell, std::int64_t n_atoms) {
        const bool changed = setup_.set_cell(cell, n_atoms);
        if (changed) resize();
        return changed;
    }
    /// Room for the results of this many atoms, which then stay where they are.
    void reserve(std::int64_t n_atoms) {
        potentials.reserve(static_cast<std::size_t>(n_atoms * setup_.n_channels()));
        forces.reserve(static_cast<std::size_t>(3 * n_atoms));
    }

    void compute(const Matrix3& cell, const std::vector<double>& positions, const std::vector<double>& charges) {
        n_ = static_cast<std::int64_t>(positions.size() / 3);
        set_cell(cell, n_);
        make_influence();
        potentials.assign(charges.size(), 0.0);
        forces.assign(positions.size(), 0.0);
        for_nodes(setup_.nodes(), [&]<int nodes>() { evaluate<nodes>(positions.data(), charges.data()); });
    }

    /// Mesh after the charges were spread, for tests of that stage.
    std::vector<Real> spread(const Matrix3& cell, const std::vector<double>& positions,
                             const std::vector<double>& charges) {
        n_ = static_cast<std::int64_t>(positions.size() / 3);
        if (setup_.set_cell(cell, n_)) resize();
        for_nodes(setup_.nodes(), [&]<int nodes>() {
            sort<nodes>(positions.data(), charges.data());
            points_to_mesh<nodes>();
        });
        return mesh_;
    }

private:
    MeshSetup setup_;
    bool deterministic_;
    std::int64_t n_ = 0;
    std::vector<double> tables_, influence_sums_, filter_sums_, point_sums_;
    std::vector<Real> influence_, mesh_, t_, charges_;
    std::vector<std::int32_t> counts_, begin_, first_, atom_, tile_and_number_, unordered_;
    std::int32_t status_ = 0;
    SelfTerms self_{};
    SortedPoints<Real> points_{};
    std::unique_ptr<LineTransform<Real>> rows_, columns_, lines_;

    void resize() {
        const MeshShape& shape = setup_.shape();
        tables_ = setup_.tables();
        influence_.resize(static_cast<std::size_t>(shape.n_modes()));
        mesh_.assign(static_cast<std::size_t>(shape.channel() * shape.channels), Real(0));
        counts_.assign(static_cast<std::size_t>(shape.n_tiles()), 0);
        begin_.assign(counts_.size() + 1, 0);
        const int m0 = shape.points[0], m1 = shape.points[1];
        rows_ = real_lines<Real>(shape.points[2], m0 * m1, shape.row());
        columns_ = complex_lines<Real>(m1, shape.half, shape.half);
        lines_ = complex_lines<Real>(m0, m1 * shape.half, m1 * shape.half);
    }

    /// A launch: `body(block)` for `count` blocks of `threads`.
    template <int threads, class Body>
    void launch(int count, const Body& body) const {
        for (int index = 0; index < count; ++index) body(Block<threads>{index, count, backwards});
    }

    void make_influence() {
        const CellTerms& cell = setup_.cell_terms();
        const AxisTables tables = setup_.axis_tables(tables_.data());
        std::fill(influence_.begin(), influence_.end(), Real(0));
        influence_sums_.assign(static_cast<std::size_t>(blocks) * n_self_sums, 0.0);
        std::vector<double> scratch(block_sum_bytes(n_self_sums, influence_threads) / sizeof(double));
        launch<influence_threads>(blocks, [&](const auto& block) {
            influence_modes(block, scratch.data(), cell, setup_.shape(), tables, influence_.data(),
                            influence_sums_.data() + block.index * n_self_sums);
        });
        launch<influence_threads>(1, [&](const auto& block) {
            close_influence(block, scratch.data(), cell, influence_sums_.data(), blocks, self_);
        });
    }

    template <int nodes>
    void sort(const double* positions, const double* charges) {
        const MeshShape& shape = setup_.shape();
        const CellTerms& cell = setup_.cell_terms();
        const auto n = static_cast<std::size_t>(n_);
        first_.resize(3 * n);
        t_.resize(3 * n);
        charges_.resize(n * static_cast<std::size_t>(shape.channels));
        atom_.resize(n);
        unordered_.resize(n);
        tile_and_number_.resize(2 * n);
        points_ = {first_.data(), t_.data(), charges_.data(), atom_.data(), begin_.data()};
        for (std::int64_t i = 0; i < n_; ++i) {
            const std::int64_t atom = order.empty() ? i : order[static_cast<std::size_t>(i)];
            count_point(cell, shape, nodes, positions, atom, counts_.data(), tile_and_number_.data(), &status_);
        }
        constexpr int threads = 128;
        std::vector<std::int32_t> shared(2 * threads);
        launch<threads>(1, [&](const auto& block) {
            scan_counts(block, shared.data(), shape.n_tiles(), counts_.data(), begin_.data());
        });
        for (std::int32_t atom = 0; atom < n_; ++atom) {
            if (deterministic_) {
                place_atom(atom, tile_and_number_.data(), begin_.data(), unordered_.data());
            } else {
                place_point(cell, shape, nodes, positions, charges, atom, tile_and_number_.data(), points_, &status_);
            }
        }
        for (std::int64_t place = 0; deterministic_ && place < n_; ++place)
            rank_point(cell, shape, nodes, positions, charges, place, tile_and_number_.data(), unordered_.data(),
                       points_, &status_);
    }

    template <int nodes>
    void points_to_mesh() {
        const MeshShape& shape = setup_.shape();
        const auto window = setup_.template pieces<Real, nodes>();
        // what was there before must not matter, but for the scattering kernel, whose mesh is cleared
        std::fill(mesh_.begin(), mesh_.end(), deterministic_ ? Real(NAN) : Real(0));
        const auto collected = std::make_unique<CollectShared<Real, nodes>>();
        const auto scattered = std::make_unique<ScatterShared<Real, nodes>>();
        for (int channel = 0; channel < shape.channels; ++channel) {
            for (std::int32_t tile = 0; tile < shape.n_tiles(); ++tile) {
                if (deterministic_) {
                    collect_tile(Block<collect_threads>{0, 1, backwards}, *collected, window, shape, points_, tile,
                                 channel, mesh_.data());
                } else {
                    scatter_tile(Block<scatter_threads>{0, 1, backwards}, *scattered, window, shape, points_, tile,
                                 channel, mesh_.data());
                }
            }
        }
    }

    void transform(bool forward) {
        const MeshShape& shape = setup_.shape();
        for (int channel = 0; channel < shape.channels; ++channel) {
            Real* data = mesh_.data() + channel * shape.channel();
            if (forward) rows_->forward(data);
            if (!forward) lines_->backward(data);
            for (int i0 = 0; i0 < shape.points[0]; ++i0) {
                Real* plane = data + i0 * shape.plane();
                forward ? columns_->forward(plane) : columns_->backward(plane);
            }
            if (forward) lines_->forward(data);
            if (!forward) rows_->backward(data);
        }
    }

    template <int nodes>
    void evaluate(const double* positions, const double* charges) {
        const MeshShape& shape = setup_.shape();
        const CellTerms& cell = setup_.cell_terms();
        sort<nodes>(positions, charges);
        points_to_mesh<nodes>();
        transform(true);
        filter_sums_.assign(static_cast<std::size_t>(blocks) * n_filter_sums, 0.0);
        std::vector<double> scratch(block_sum_bytes(n_filter_sums, filter_threads) / sizeof(double));
        launch<filter_threads>(blocks, [&](const auto& block) {
            filter_modes(block, scratch.data(), cell, shape, influence_.data(), mesh_.data(),
                         filter_sums_.data() + block.index * n_filter_sums);
        });
        transform(false);
        point_sums_.assign(static_cast<std::size_t>(blocks) * n_point_sums, 0.0);
        // one piece of memory for tile and sums, as on the device
        std::vector<double> memory(gather_shared_bytes<Real, nodes>() / sizeof(double) + 1);
        auto& shared = *reinterpret_cast<GatherShared<Real, nodes>*>(memory.data());
        const auto window = setup_.template pieces<Real, nodes>();
        launch<gather_threads>(blocks, [&](const auto& block) {
            gather_tiles(block, shared, window, shape, cell, self_, points_, charges, mesh_.data(),
                         AtomResults{potentials.data(), forces.data()},
                         point_sums_.data() + block.index * n_point_sums);
        });
        CloseShared closing;
        // block 0 last: it resets the status
        for (int index = blocks - 1; index >= 0; --index) {
            close_evaluation(Block<close_threads>{index, blocks, backwards}, closing, cell, self_, point_sums_.data(),
                             blocks, filter_sums_.data(), blocks, n_, &status_, forces.data(), &summary);
        }
    }
};

}  // namespace les::cuda
