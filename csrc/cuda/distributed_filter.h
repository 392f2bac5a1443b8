// The k-space side of a mesh that is divided among devices: each domain has the modes of its x pencils, their influence
// function and filter; the self terms are sums over the modes of all domains.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "distributed_mesh.h"
#include "mesh_bodies.cuh"
#include "mesh_setup.h"

namespace les::cuda {

/// Blocks that share `work`.
inline int blocks_for(std::int64_t work, int threads, int most) {
    const std::int64_t blocks = (work + threads - 1) / threads;
    return static_cast<int>(std::clamp<std::int64_t>(blocks, 1, most));
}

template <class Backend, class Real>
class DistributedFilter {
    template <class T>
    using Array = GrowingArray<typename Backend::template Array<T>>;

public:
    DistributedFilter(const Backend& backend, SharedFailure& failure) : backend_(backend), failure_(failure) {}

    /// The modes of a domain, in [first, last) panels and third modes.
    void resize(const MeshSetup& setup, const std::array<int, 2>& panels, const std::array<int, 2>& thirds) {
        modes_ = setup.modes(panels, thirds);
        influence_.reserve(modes_.n_modes());
        host_tables_ = setup.tables();
        tables_.reserve(setup.table_size());
        backend_.to_device(tables_.data(), host_tables_.data(), host_tables_.size() * sizeof(double));
        cell_terms_.reserve(1);
        self_terms_.reserve(1);
        sums_.reserve(std::max(n_self_sums, n_filter_sums));
        totals_.reserve(most_blocks * std::max(n_self_sums, n_filter_sums * setup.n_channels()));
        backend_.wait();
    }

    /// Influence function and self terms for the cell of `setup`. Collective; what fails on one domain is thrown on
    /// all.
    void set_cell(const MeshSetup& setup, Communicator& communicator) {
        const CellTerms& terms = setup.cell_terms();
        std::array<double, n_self_sums + 1> sums{};
        failure_.attempt([&] {
            backend_.to_device(cell_terms_.data(), &terms, sizeof(terms));
            if (modes_.n_modes() == 0) return;
            backend_.zero(influence_.data(), static_cast<std::size_t>(modes_.n_modes()) * sizeof(Real));
            const std::int64_t modes = (2 * std::int64_t{terms.reach[0]} + 1) * (2 * std::int64_t{terms.reach[1]} + 1) *
                                       (std::int64_t{terms.reach[2]} + 1);
            const int blocks = blocks_for(modes, MakeInfluence<Real>::threads, most_blocks);
            backend_.launch(MakeInfluence<Real>{cell_terms_.data(), modes_, setup.axis_tables(tables_.data()),
                                                influence_.data(), totals_.data()},
                            blocks, "the influence function");
            backend_.launch(SumBlocks<n_self_sums>{totals_.data(), blocks, sums_.data()}, 1, "the self terms");
            backend_.to_host(sums.data(), sums_.data(), n_self_sums * sizeof(double));
            backend_.wait();
        });
        sums.back() = failure_.happened() ? 1.0 : 0.0;
        communicator.allreduce_sum(sums.data(), static_cast<std::int64_t>(sums.size()));
        if (sums.back() > 0.0) failure_.raise(communicator);
        failure_.attempt([&] {
            backend_.to_device(sums_.data(), sums.data(), n_self_sums * sizeof(double));
            backend_.launch(CloseInfluence{cell_terms_.data(), sums_.data(), self_terms_.data()}, 1, "the self terms");
            backend_.to_host(&host_self_, self_terms_.data(), sizeof(host_self_));
            backend_.wait();
        });
    }

    /// Filters x pencils of one channel; channels come in order.
    void launch(int channel, Real* data) {
        n_totals_ = 0;
        if (modes_.n_modes() == 0) return;
        const int blocks = blocks_for(modes_.n_modes(), FilterModes<Real>::threads, most_blocks);
        backend_.launch(FilterModes<Real>{cell_terms_.data(), modes_, influence_.data(), data,
                                          totals_.data() + std::int64_t{channel} * blocks * n_filter_sums},
                        blocks, "kspace_filter");
        n_totals_ = (channel + 1) * blocks;
    }

    /// Sums over this domain's modes of all channels, to the host behind what is on the stream.
    void send_sums(std::array<double, n_filter_sums>& sums) {
        backend_.launch(SumBlocks<n_filter_sums>{totals_.data(), n_totals_, sums_.data()}, 1, "the sums over modes");
        backend_.to_host(sums.data(), sums_.data(), sizeof(sums));
    }

    const CellTerms* cell_terms() const { return cell_terms_.data(); }
    const SelfTerms* self_terms() const { return self_terms_.data(); }
    const SelfTerms& host_self_terms() const { return host_self_; }

private:
    static constexpr int most_blocks = 512;

    const Backend& backend_;
    SharedFailure& failure_;
    MeshShape modes_{};
    std::vector<double> host_tables_;
    SelfTerms host_self_{};
    Array<CellTerms> cell_terms_;
    Array<SelfTerms> self_terms_;
    Array<double> tables_, totals_, sums_;
    Array<Real> influence_;
    int n_totals_ = 0;
};

}  // namespace les::cuda
