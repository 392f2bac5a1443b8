// Messages between bricks and pencils, and the transforms; see distributed_mesh.h.
#include "distributed_mesh.h"

#include <algorithm>

#include "parallel.h"

namespace les {

namespace {

/// Calls f(row, width) for the rows of blocks in the order of messages.
template <class Real, class Function>
void for_rows(const MeshShares& shares, Real* data, const Function& f) {
    for (const MeshBlock& block : shares.blocks()) {
        for (std::int64_t i = 0; i < block.counts[0]; ++i) {
            Real* plane = data + block.first + i * block.strides[0];
            for (std::int64_t j = 0; j < block.counts[1]; ++j) f(plane + j * block.strides[1], block.width);
        }
    }
}

}  // namespace

template <class Real>
double DistributedMesh<Real>::memory(const std::array<int, 3>& mesh, int n_ranks) {
    // pencils in three orientations and two message buffers
    return 5.0 * sizeof(Real) * static_cast<double>(mesh[0]) * mesh[1] * mesh[2] / n_ranks;
}

template <class Real>
void DistributedMesh<Real>::resize(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels,
                                   int kept, const Communicator& communicator) {
    mesh_ = mesh;
    padded_nodes_ = padded_nodes;
    n_channels_ = n_channels;
    division_.resize(mesh, nodes, kept, communicator.rank(), communicator.size(), YPencils::planes);
    z_data_.assign(static_cast<std::size_t>(division_.z_reals()), Real(0));
    y_data_.assign(static_cast<std::size_t>(division_.y_reals()), Real(0));
    x_data_.assign(static_cast<std::size_t>(division_.x_reals()), Real(0));
    z_lines_.reset();
    y_lines_.reset();
    x_lines_.reset();
    const MeshBox &z = division_.z_pencils(), &y = division_.y_pencils(), &x = division_.x_pencils();
    if (!z.empty()) z_lines_ = real_lines<Real>(mesh[2], z.extent(1), division_.z_stride());
    if (!y.empty()) y_lines_ = complex_lines<Real>(mesh[1], y.extent(2), y.extent(2));
    if (!x.empty())
        x_lines_ = complex_lines<Real>(mesh[0], x.extent(2), static_cast<std::int64_t>(x.extent(1)) * x.extent(2));
    sent_bytes_.assign(static_cast<std::size_t>(communicator.size()), 0);
    received_bytes_.assign(static_cast<std::size_t>(communicator.size()), 0);
}

template <class Real>
void DistributedMesh<Real>::set_brick(const std::array<std::vector<char>, 3>& occupied, Communicator& communicator) {
    const auto told = division_.take_brick({occupied[0].data(), occupied[1].data(), occupied[2].data()});
    const std::vector<double> all = communicator.allgather({told.begin(), told.end()});
    const std::array<int, 3> length = division_.brick_length();
    row_stride_ = length[2] + padded_nodes_;
    plane_stride_ = row_stride_ * length[1];
    channel_stride_ = plane_stride_ * length[0];
    division_.set_bricks(all, told.size(), row_stride_, plane_stride_);
    const auto size = static_cast<std::size_t>(channel_stride_ * n_channels_);
    if (brick_.size() < size) brick_.resize(size);
}

template <class Real>
void DistributedMesh<Real>::clear() {
    std::fill(brick_.begin(), brick_.begin() + channel_stride_ * n_channels_, Real(0));
}

template <class Real>
void DistributedMesh<Real>::exchange(const MeshShares& shares, const Real* data, const MeshShares& wanted,
                                     Communicator& communicator) {
    const auto reserve = [](std::vector<Real>& buffer, std::int64_t size) {
        if (static_cast<std::int64_t>(buffer.size()) < size) buffer.resize(static_cast<std::size_t>(size));
    };
    reserve(sent_, shares.total());
    reserve(received_, wanted.total());
    for (std::size_t r = 0; r < sent_bytes_.size(); ++r) {
        sent_bytes_[r] = shares.count(static_cast<int>(r)) * static_cast<std::int64_t>(sizeof(Real));
        received_bytes_[r] = wanted.count(static_cast<int>(r)) * static_cast<std::int64_t>(sizeof(Real));
    }
    Real* to = sent_.data();
    for_rows(shares, data, [&](const Real* row, std::int64_t width) { to = std::copy(row, row + width, to); });
    communicator.exchange(sent_.data(), sent_bytes_, received_.data(), received_bytes_);
}

template <class Real>
void DistributedMesh<Real>::copy_received(const MeshShares& shares, Real* data) const {
    const Real* from = received_.data();
    for_rows(shares, data, [&](Real* row, std::int64_t width) {
        std::copy(from, from + width, row);
        from += width;
    });
}

template <class Real>
void DistributedMesh<Real>::add_received(const MeshShares& shares, Real* data) const {
    const Real* from = received_.data();
    for_rows(shares, data, [&](Real* row, std::int64_t width) {
        for (std::int64_t i = 0; i < width; ++i) row[i] += from[i];
        from += width;
    });
}

template <class Real>
void DistributedMesh<Real>::filter_panels(KspaceFilter<Real>& filter) {
    const MeshBox& x = division_.x_pencils();
    if (x.empty()) return;
    const std::int64_t width = 2 * static_cast<std::int64_t>(x.extent(2));
    const std::int64_t plane_stride = width * x.extent(1);
    parallel_dynamic(x.extent(1), [&](std::int64_t i) {
        Real* data = x_data_.data() + i * width;
        x_lines_->forward(data);
        filter.filter_panel(x.low[1] + static_cast<int>(i), data, plane_stride, x.high[2]);
        x_lines_->backward(data);
    });
}

template <class Real>
void DistributedMesh<Real>::solve(KspaceFilter<Real>& filter, Communicator& communicator) {
    filter.clear_sums();
    const MeshDivision& share = division_;
    const MeshBox &z = share.z_pencils(), &y = share.y_pencils();
    const std::int64_t planes = z.empty() ? 0 : z.extent(0), z_plane = z.empty() ? 0 : share.z_stride() * z.extent(1);
    const std::int64_t y_planes = y.empty() ? 0 : y.extent(0),
                       y_plane = y.empty() ? 0 : 2 * static_cast<std::int64_t>(mesh_[1]) * y.extent(2);
    Real *z_data = z_data_.data(), *y_data = y_data_.data(), *x_data = x_data_.data();
    for (int channel = 0; channel < n_channels_; ++channel) {
        Real* brick = brick_.data() + channel * channel_stride_;
        exchange(share.of_brick(), brick, share.of_z_with_bricks(), communicator);
        std::fill(z_data_.begin(), z_data_.end(), Real(0));
        add_received(share.of_z_with_bricks(), z_data);
        parallel_dynamic(planes, [&](std::int64_t i) { z_lines_->forward(z_data + i * z_plane); });
        exchange(share.of_z(), z_data, share.of_y_with_z(), communicator);
        copy_received(share.of_y_with_z(), y_data);
        parallel_dynamic(y_planes, [&](std::int64_t i) { y_lines_->forward(y_data + i * y_plane); });
        exchange(share.of_y_with_x(), y_data, share.of_x(), communicator);
        copy_received(share.of_x(), x_data);
        filter_panels(filter);
        exchange(share.of_x(), x_data, share.of_y_with_x(), communicator);
        copy_received(share.of_y_with_x(), y_data);
        parallel_dynamic(y_planes, [&](std::int64_t i) { y_lines_->backward(y_data + i * y_plane); });
        exchange(share.of_y_with_z(), y_data, share.of_z(), communicator);
        std::fill(z_data_.begin(), z_data_.end(), Real(0));
        copy_received(share.of_z(), z_data);
        parallel_dynamic(planes, [&](std::int64_t i) { z_lines_->backward(z_data + i * z_plane); });
        exchange(share.of_z_with_bricks(), z_data, share.of_brick(), communicator);
        copy_received(share.of_brick(), brick);
    }
}

template class DistributedMesh<float>;
template class DistributedMesh<double>;

}  // namespace les
