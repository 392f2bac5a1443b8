// The mesh of several domains on devices: DistributedMesh::solve is the page to read. Bricks around the atoms of each
// domain are added up in pencils, which turn twice on the way to k-space and back, as on the CPU and by the same plan
// (csrc/src/mesh_division.h). Arrays, transforms and packing are the device's; messages go through memory of the host,
// so the host program's MPI need know no device, and what a domain sends to itself stays on its device.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "../src/fft.h"
#include "../src/mesh_division.h"
#include "../src/shared_failure.h"
#include "growing_array.h"
#include "les/communicator.h"
#include "mesh_blocks.cuh"
#include "neighbor_search.h"

namespace les::cuda {

template <class Backend, class Real>
class DistributedMesh {
    template <class T>
    using Array = GrowingArray<typename Backend::template Array<T>>;

public:
    DistributedMesh(const Backend& backend, SharedFailure& failure) : backend_(backend), failure_(failure) {}

    /// Divides a mesh among the domains of the communicator; `kept` third modes are needed.
    void resize(const std::array<int, 3>& mesh, int nodes, int kept, const Communicator& communicator) {
        mesh_ = mesh;
        rank_ = communicator.rank();
        n_ranks_ = communicator.size();
        division_.resize(mesh, nodes, kept, rank_, n_ranks_, YPencils::one_batch);
        // before all else, with their work space
        z_lines_.reset();
        y_lines_.reset();
        x_lines_.reset();
        z_.reserve(division_.z_reals());
        y_.reserve(division_.y_reals());
        x_.reserve(division_.x_reals());
        fill(z_side_, division_.of_z());
        fill(y_side_of_z_, division_.of_y_with_z());
        fill(y_side_of_x_, division_.of_y_with_x());
        fill(x_side_, division_.of_x());
        for (Side* side : {&z_side_, &y_side_of_z_, &y_side_of_x_, &x_side_}) send(*side);
        const MeshBox &y = division_.y_pencils(), &x = division_.x_pencils();
        if (division_.z_rows() > 0)
            z_lines_ = backend_.template real_lines<Real>(mesh[2], division_.z_rows(), division_.z_stride());
        const auto all_lines = [](std::int64_t points, int length) { return points / length; };
        if (!y.empty()) {
            const std::int64_t lines = all_lines(division_.y_reals() / 2, mesh[1]);
            y_lines_ = backend_.template complex_lines<Real>(mesh[1], lines, lines);
        }
        if (!x.empty()) {
            const std::int64_t lines = all_lines(division_.x_reals() / 2, mesh[0]);
            x_lines_ = backend_.template complex_lines<Real>(mesh[0], lines, lines);
        }
    }

    MeshDivision& division() { return division_; }
    const MeshDivision& division() const { return division_; }

    /// What bricks share with pencils, when the bricks of all domains are known.
    void share_bricks() {
        fill(brick_side_, division_.of_brick());
        fill(pencil_side_, division_.of_z_with_bricks());
        const std::int64_t plane = std::max(1, division_.z_pencils().extent(1));
        for (BufferBlock& block : pencil_side_.blocks) {
            const std::int64_t row = block.first / division_.z_stride();
            block.low[0] = static_cast<std::int32_t>(row / plane);
            block.low[1] = static_cast<std::int32_t>(row % plane);
            block.low[2] = static_cast<std::int32_t>(block.first % division_.z_stride());
        }
        failure_.attempt([&] {
            send(brick_side_);
            send(pencil_side_);
        });
    }

    /// Charges on the brick to potentials on the brick; `filter(x pencils)` launches the filter. Collective.
    template <class Filter>
    void solve(Real* brick, const Filter& filter, Communicator& communicator) {
        exchange(brick_side_, brick, pencil_side_, communicator);
        failure_.attempt([&] {
            add_bricks();
            if (z_lines_) z_lines_->forward(z_.data());
        });
        exchange(z_side_, z_.data(), y_side_of_z_, communicator);
        failure_.attempt([&] {
            unpack(y_side_of_z_, y_.data());
            if (y_lines_) y_lines_->forward(y_.data());
        });
        exchange(y_side_of_x_, y_.data(), x_side_, communicator);
        failure_.attempt([&] {
            unpack(x_side_, x_.data());
            if (x_lines_) x_lines_->forward(x_.data());
            filter(x_.data());
            if (x_lines_) x_lines_->backward(x_.data());
        });
        exchange(x_side_, x_.data(), y_side_of_x_, communicator);
        failure_.attempt([&] {
            unpack(y_side_of_x_, y_.data());
            if (y_lines_) y_lines_->backward(y_.data());
        });
        exchange(y_side_of_z_, y_.data(), z_side_, communicator);
        failure_.attempt([&] {
            // modes that are not kept
            if (z_lines_) backend_.zero(z_.data(), static_cast<std::size_t>(division_.z_reals()) * sizeof(Real));
            unpack(z_side_, z_.data());
            if (z_lines_) z_lines_->backward(z_.data());
        });
        exchange(pencil_side_, z_.data(), brick_side_, communicator);
        failure_.attempt([&] { unpack(brick_side_, brick); });
    }

private:
    /// What an array shares, with places in the buffers: those of the other domains, then those of this one.
    struct Side {
        std::vector<BufferBlock> blocks;
        Array<BufferBlock> on_device;
        std::int64_t n_others = 0, n_all = 0;  // reals
        std::vector<std::int64_t> bytes;       // for each domain, none for this one
    };

    const Backend& backend_;
    SharedFailure& failure_;
    std::array<int, 3> mesh_{};
    int rank_ = 0, n_ranks_ = 1;
    MeshDivision division_;
    Side brick_side_, pencil_side_, z_side_, y_side_of_z_, y_side_of_x_, x_side_;
    Array<Real> z_, y_, x_, sent_, received_;
    GrowingArray<typename Backend::template Pinned<Real>> host_sent_, host_received_;
    std::vector<Real> spare_sent_, spare_received_;
    std::unique_ptr<LineTransform<Real>> z_lines_, y_lines_, x_lines_;

    void fill(Side& side, const MeshShares& shares) {
        side.blocks.clear();
        side.bytes.assign(static_cast<std::size_t>(n_ranks_), 0);
        std::int64_t place = 0;
        const auto take = [&](int rank) {
            for (std::size_t b = shares.begin(rank); b < shares.begin(rank + 1); ++b) {
                const MeshBlock& block = shares.blocks()[b];
                side.blocks.push_back({block.first,
                                       {block.strides[0], block.strides[1]},
                                       place,
                                       {block.counts[0], block.counts[1]},
                                       block.width,
                                       {0, 0, 0}});
                place += block.size();
            }
        };
        for (int rank = 0; rank < n_ranks_; ++rank) {
            if (rank == rank_) continue;
            take(rank);
            side.bytes[static_cast<std::size_t>(rank)] = shares.count(rank) * static_cast<std::int64_t>(sizeof(Real));
        }
        side.n_others = place;
        take(rank_);
        side.n_all = place;
    }

    void send(Side& side) {
        if (side.blocks.empty()) return;
        side.on_device.reserve(static_cast<std::int64_t>(side.blocks.size()));
        backend_.to_device(side.on_device.data(), side.blocks.data(), side.blocks.size() * sizeof(BufferBlock));
    }

    /// Memory of the host for messages; if there is none of the kind that copies fast, ordinary memory, for the message
    /// must go.
    template <class Buffer>
    Real* host_buffer(Buffer& buffer, std::vector<Real>& spare, std::int64_t size) {
        failure_.attempt([&] { buffer.reserve(size); });
        if (!failure_.happened()) return buffer.data();
        spare.resize(static_cast<std::size_t>(size));
        return spare.data();
    }

    /// Shares of one array into the buffer of what another takes in.
    void exchange(const Side& from, const Real* data, const Side& to, Communicator& communicator) {
        Real* host_sent = host_buffer(host_sent_, spare_sent_, from.n_others);
        Real* host_received = host_buffer(host_received_, spare_received_, to.n_others);
        failure_.attempt([&] {
            sent_.reserve(from.n_others);
            received_.reserve(to.n_all);
            if (from.n_all > 0) {
                launch_over(backend_, from.n_all,
                            PackBlocks<Real>{from.on_device.data(), static_cast<int>(from.blocks.size()), from.n_others,
                                             from.n_all, data, sent_.data(), received_.data() + to.n_others},
                            "packing of the mesh");
            }
            if (from.n_others > 0) {
                backend_.to_host(host_sent, sent_.data(), static_cast<std::size_t>(from.n_others) * sizeof(Real));
            }
            // also for what came before, whose memory is written now
            if (from.n_others + to.n_others > 0) backend_.wait();
        });
        communicator.exchange(host_sent, from.bytes, host_received, to.bytes);
        failure_.attempt([&] {
            if (to.n_others > 0)
                backend_.to_device(received_.data(), host_received,
                                   static_cast<std::size_t>(to.n_others) * sizeof(Real));
        });
    }

    void unpack(const Side& side, Real* data) {
        if (side.n_all == 0) return;
        launch_over(backend_, side.n_all,
                    UnpackBlocks<Real>{side.on_device.data(), static_cast<int>(side.blocks.size()), side.n_all,
                                       received_.data(), data},
                    "unpacking of the mesh");
    }

    void add_bricks() {
        if (division_.z_rows() == 0) return;
        launch_over(
            backend_, division_.z_reals(),
            AddBlocks<Real>{pencil_side_.on_device.data(), static_cast<int>(pencil_side_.blocks.size()),
                            division_.z_rows(), static_cast<std::int32_t>(division_.z_stride()),
                            static_cast<std::int32_t>(division_.z_pencils().extent(1)), received_.data(), z_.data()},
            "adding up of bricks");
    }
};

}  // namespace les::cuda
