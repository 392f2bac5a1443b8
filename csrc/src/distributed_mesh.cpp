// Bricks, pencils and the messages between them; see distributed_mesh.h.
#include "distributed_mesh.h"

#include <algorithm>

#include "parallel.h"

namespace les {

namespace {

/// The shortest stretch of a periodic axis that holds all occupied points: {first, number}; {0, 0} if there are none.
std::array<int, 2> cover(const std::vector<char>& occupied) {
    const int points = static_cast<int>(occupied.size());
    int longest_gap = 0, gap = 0, gap_end = 0, seen = 0;
    // twice around, so that a gap across the periodic end counts as one
    for (int i = 0; i < 2 * points; ++i) {
        if (occupied[static_cast<std::size_t>(i % points)]) {
            ++seen;
            gap = 0;
            continue;
        }
        if (++gap > longest_gap && gap <= points) {
            longest_gap = gap;
            gap_end = i + 1;
        }
    }
    if (seen == 0) return {0, 0};
    return {gap_end % points, points - longest_gap};
}

}  // namespace

template <class Real>
double DistributedMesh<Real>::memory(const std::array<int, 3>& mesh, int n_ranks) {
    // pencils in three orientations and two message buffers
    return 5.0 * sizeof(Real) * static_cast<double>(mesh[0]) * mesh[1] * mesh[2] / n_ranks;
}

template <class Real>
MeshBox DistributedMesh<Real>::z_box(int rank) const {
    MeshBox box;
    if (!grid_.has(rank)) return box;
    const auto x = mesh_part(mesh_[0], grid_.rows, grid_.row(rank));
    const auto y = mesh_part(mesh_[1], grid_.columns, grid_.column(rank));
    return {{x[0], y[0], 0}, {x[1], y[1], mesh_[2]}};
}

template <class Real>
void DistributedMesh<Real>::resize(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels,
                                   int kept, const Communicator& communicator) {
    mesh_ = mesh;
    nodes_ = nodes;
    padded_nodes_ = padded_nodes;
    n_channels_ = n_channels;
    kept_ = kept;
    rank_ = communicator.rank();
    n_ranks_ = communicator.size();
    grid_ = PencilGrid(mesh, n_ranks_);
    z_pencils_ = z_box(rank_);
    y_pencils_ = x_pencils_ = MeshBox{};
    if (grid_.has(rank_)) {
        const auto x = mesh_part(mesh[0], grid_.rows, grid_.row(rank_));
        const auto y = mesh_part(mesh[1], grid_.rows, grid_.row(rank_));
        const auto k = mesh_part(kept, grid_.columns, grid_.column(rank_));
        y_pencils_ = {{x[0], 0, k[0]}, {x[1], mesh[1], k[1]}};
        x_pencils_ = {{0, y[0], k[0]}, {mesh[0], y[1], k[1]}};
    }
    z_stride_ = mesh[2] + 2 + mesh[2] % 2;
    const auto points = [](const MeshBox& box) {
        return box.empty() ? 0 : static_cast<std::int64_t>(box.extent(0)) * box.extent(1) * box.extent(2);
    };
    const std::int64_t z_rows =
        z_pencils_.empty() ? 0 : static_cast<std::int64_t>(z_pencils_.extent(0)) * z_pencils_.extent(1);
    z_data_.assign(static_cast<std::size_t>(z_rows * z_stride_), Real(0));
    y_data_.assign(static_cast<std::size_t>(2 * points(y_pencils_)), Real(0));
    x_data_.assign(static_cast<std::size_t>(2 * points(x_pencils_)), Real(0));
    z_lines_.reset();
    y_lines_.reset();
    x_lines_.reset();
    if (z_rows > 0) z_lines_ = real_lines<Real>(mesh[2], z_pencils_.extent(1), z_stride_);
    if (!y_pencils_.empty()) y_lines_ = complex_lines<Real>(mesh[1], y_pencils_.extent(2), y_pencils_.extent(2));
    if (!x_pencils_.empty()) {
        x_lines_ = complex_lines<Real>(mesh[0], x_pencils_.extent(2),
                                       static_cast<std::int64_t>(x_pencils_.extent(1)) * x_pencils_.extent(2));
    }
    sent_counts_.assign(static_cast<std::size_t>(n_ranks_), 0);
    received_counts_.assign(static_cast<std::size_t>(n_ranks_), 0);
}

template <class Real>
void DistributedMesh<Real>::set_brick(const std::array<std::vector<char>, 3>& occupied, Communicator& communicator) {
    std::vector<double> mine(6, 0.0);
    for (std::size_t a = 0; a < 3; ++a) {
        const auto stretch = cover(occupied[a]);
        origin_[a] = stretch[0];
        extent_[a] = stretch[1];
        mine[a] = stretch[0];
        mine[a + 3] = stretch[1] > 0 ? stretch[1] + nodes_ - 1 : 0;
    }
    const std::vector<double> all = communicator.allgather(mine);
    origins_.resize(static_cast<std::size_t>(n_ranks_));
    lengths_.resize(static_cast<std::size_t>(n_ranks_));
    for (std::size_t r = 0; r < origins_.size(); ++r) {
        for (std::size_t a = 0; a < 3; ++a) {
            origins_[r][a] = static_cast<int>(all[6 * r + a]);
            lengths_[r][a] = static_cast<int>(all[6 * r + 3 + a]);
        }
    }
    const auto& length = lengths_[static_cast<std::size_t>(rank_)];
    row_stride_ = length[2] + padded_nodes_;
    plane_stride_ = row_stride_ * length[1];
    channel_stride_ = plane_stride_ * length[0];
    const auto size = static_cast<std::size_t>(channel_stride_ * n_channels_);
    if (brick_.size() < size) brick_.resize(size);
}

template <class Real>
void DistributedMesh<Real>::clear() {
    std::fill(brick_.begin(), brick_.begin() + channel_stride_ * n_channels_, Real(0));
}

template <class Real>
template <class Pack, class Unpack>
void DistributedMesh<Real>::exchange(const Pack& pack, const Unpack& unpack, Communicator& communicator) {
    // pack(rank, f) and unpack(rank, f) call f(data, count) for the same runs in the same order on both sides
    std::int64_t sent = 0, received = 0;
    for (int r = 0; r < n_ranks_; ++r) {
        std::int64_t out = 0, in = 0;
        pack(r, [&](Real*, std::int64_t count) { out += count; });
        unpack(r, [&](Real*, std::int64_t count) { in += count; });
        sent_counts_[static_cast<std::size_t>(r)] = out;
        received_counts_[static_cast<std::size_t>(r)] = in;
        sent += out;
        received += in;
    }
    if (static_cast<std::int64_t>(sent_.size()) < sent) sent_.resize(static_cast<std::size_t>(sent));
    if (static_cast<std::int64_t>(received_.size()) < received) received_.resize(static_cast<std::size_t>(received));
    Real* to = sent_.data();
    for (int r = 0; r < n_ranks_; ++r) {
        pack(r, [&](Real* data, std::int64_t count) {
            std::copy(data, data + count, to);
            to += count;
        });
    }
    for (auto* counts : {&sent_counts_, &received_counts_}) {
        for (std::int64_t& count : *counts) count *= static_cast<std::int64_t>(sizeof(Real));
    }
    communicator.exchange(sent_.data(), sent_counts_, received_.data(), received_counts_);
}

/// Calls f(data, count) for the runs of this domain's brick that lie in the z pencils of `rank`.
template <class Real>
template <class Function>
void DistributedMesh<Real>::brick_runs(int channel, int rank, const Function& f) {
    Real* brick = brick_.data() + channel * channel_stride_;
    for_common_runs(origin_, lengths_[static_cast<std::size_t>(rank_)], mesh_, z_box(rank),
                    [&](int, int, int, int x, int y, int z, int count) {
                        f(brick + x * plane_stride_ + y * row_stride_ + z, count);
                    });
}

/// The same runs on the other side: those of this domain's z pencils that lie in the brick of `rank`.
template <class Real>
template <class Function>
void DistributedMesh<Real>::pencil_runs(int rank, const Function& f) {
    const auto r = static_cast<std::size_t>(rank);
    for_common_runs(origins_[r], lengths_[r], mesh_, z_pencils_, [&](int x, int y, int z, int, int, int, int count) {
        const std::int64_t row =
            static_cast<std::int64_t>(x - z_pencils_.low[0]) * z_pencils_.extent(1) + y - z_pencils_.low[1];
        f(z_data_.data() + row * z_stride_ + z, count);
    });
}

template <class Real>
void DistributedMesh<Real>::bricks_to_pencils(int channel, Communicator& communicator) {
    exchange([&](int rank, const auto& f) { brick_runs(channel, rank, f); },
             [&](int rank, const auto& f) { pencil_runs(rank, f); }, communicator);
    std::fill(z_data_.begin(), z_data_.end(), Real(0));
    const Real* from = received_.data();
    for (int r = 0; r < n_ranks_; ++r) {
        pencil_runs(r, [&](Real* data, std::int64_t count) {
            for (std::int64_t i = 0; i < count; ++i) data[i] += from[i];
            from += count;
        });
    }
}

template <class Real>
void DistributedMesh<Real>::pencils_to_bricks(int channel, Communicator& communicator) {
    exchange([&](int rank, const auto& f) { pencil_runs(rank, f); },
             [&](int rank, const auto& f) { brick_runs(channel, rank, f); }, communicator);
    const Real* from = received_.data();
    for (int r = 0; r < n_ranks_; ++r) {
        brick_runs(channel, r, [&](Real* data, std::int64_t count) {
            std::copy(from, from + count, data);
            from += count;
        });
    }
}

/// z pencils <-> y pencils among the columns of a row (`first`), or y pencils <-> x pencils among the rows of a column.
template <class Real>
void DistributedMesh<Real>::turn(bool forward, bool first, Communicator& communicator) {
    const bool here = grid_.has(rank_);
    const int row = here ? grid_.row(rank_) : -1, column = here ? grid_.column(rank_) : -1;
    // what the z (or y) side and the y (or x) side of this domain share with `rank`
    const auto early_side = [&](int rank, const auto& f) {
        if (!here || !grid_.has(rank)) return;
        if (first) {
            if (grid_.row(rank) != row) return;
            const auto k = mesh_part(kept_, grid_.columns, grid_.column(rank));
            const std::int64_t rows = static_cast<std::int64_t>(z_pencils_.extent(0)) * z_pencils_.extent(1);
            for (std::int64_t i = 0; i < rows; ++i) f(z_data_.data() + i * z_stride_ + 2 * k[0], 2 * (k[1] - k[0]));
        } else {
            if (grid_.column(rank) != column) return;
            const auto y = mesh_part(mesh_[1], grid_.rows, grid_.row(rank));
            const std::int64_t width = 2 * static_cast<std::int64_t>(y_pencils_.extent(2));
            for (int x = 0; x < y_pencils_.extent(0); ++x)
                f(y_data_.data() + (static_cast<std::int64_t>(x) * mesh_[1] + y[0]) * width, (y[1] - y[0]) * width);
        }
    };
    const auto late_side = [&](int rank, const auto& f) {
        if (!here || !grid_.has(rank)) return;
        if (first) {
            if (grid_.row(rank) != row) return;
            const auto y = mesh_part(mesh_[1], grid_.columns, grid_.column(rank));
            const std::int64_t width = 2 * static_cast<std::int64_t>(y_pencils_.extent(2));
            for (int x = 0; x < y_pencils_.extent(0); ++x) {
                for (int i = y[0]; i < y[1]; ++i)
                    f(y_data_.data() + (static_cast<std::int64_t>(x) * mesh_[1] + i) * width, width);
            }
        } else {
            if (grid_.column(rank) != column) return;
            const auto x = mesh_part(mesh_[0], grid_.rows, grid_.row(rank));
            const std::int64_t width = 2 * static_cast<std::int64_t>(x_pencils_.extent(1)) * x_pencils_.extent(2);
            for (int i = x[0]; i < x[1]; ++i) f(x_data_.data() + i * width, width);
        }
    };
    const auto unpack_from = [&](const auto& side) {
        const Real* from = received_.data();
        for (int r = 0; r < n_ranks_; ++r) {
            side(r, [&](Real* data, std::int64_t count) {
                std::copy(from, from + count, data);
                from += count;
            });
        }
    };
    if (forward) {
        exchange(early_side, late_side, communicator);
        unpack_from(late_side);
    } else {
        exchange(late_side, early_side, communicator);
        unpack_from(early_side);
    }
}

template <class Real>
void DistributedMesh<Real>::filter_panels(KspaceFilter<Real>& filter) {
    if (x_pencils_.empty()) return;
    const std::int64_t width = 2 * static_cast<std::int64_t>(x_pencils_.extent(2));
    const std::int64_t plane_stride = width * x_pencils_.extent(1);
    parallel_dynamic(x_pencils_.extent(1), [&](std::int64_t i) {
        Real* data = x_data_.data() + i * width;
        x_lines_->forward(data);
        filter.filter_panel(x_pencils_.low[1] + static_cast<int>(i), data, plane_stride, x_pencils_.high[2]);
        x_lines_->backward(data);
    });
}

template <class Real>
void DistributedMesh<Real>::solve(KspaceFilter<Real>& filter, Communicator& communicator) {
    filter.clear_sums();
    const std::int64_t planes = z_pencils_.empty() ? 0 : z_pencils_.extent(0);
    const std::int64_t z_plane = z_pencils_.empty() ? 0 : z_stride_ * z_pencils_.extent(1);
    const std::int64_t y_planes = y_pencils_.empty() ? 0 : y_pencils_.extent(0);
    const std::int64_t y_plane =
        y_pencils_.empty() ? 0 : 2 * static_cast<std::int64_t>(mesh_[1]) * y_pencils_.extent(2);
    for (int channel = 0; channel < n_channels_; ++channel) {
        bricks_to_pencils(channel, communicator);
        parallel_dynamic(planes, [&](std::int64_t i) { z_lines_->forward(z_data_.data() + i * z_plane); });
        turn(true, true, communicator);
        parallel_dynamic(y_planes, [&](std::int64_t i) { y_lines_->forward(y_data_.data() + i * y_plane); });
        turn(true, false, communicator);
        filter_panels(filter);
        turn(false, false, communicator);
        parallel_dynamic(y_planes, [&](std::int64_t i) { y_lines_->backward(y_data_.data() + i * y_plane); });
        std::fill(z_data_.begin(), z_data_.end(), Real(0));
        turn(false, true, communicator);
        parallel_dynamic(planes, [&](std::int64_t i) { z_lines_->backward(z_data_.data() + i * z_plane); });
        pencils_to_bricks(channel, communicator);
    }
}

template class DistributedMesh<float>;
template class DistributedMesh<double>;

}  // namespace les
