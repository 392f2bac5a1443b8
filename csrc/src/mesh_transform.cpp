// Margins and transforms of the mesh; see mesh_transform.h.
#include "mesh_transform.h"

#include <algorithm>

#include "parallel.h"

namespace les {

namespace {

/// Even, long enough for a padded window at the last point and for the complex modes in place, and not a multiple of a
/// large power of two, which would map neighbouring rows to the same cache lines.
std::int64_t row_stride_for(int points, int padded_nodes) {
    std::int64_t stride = std::max(points + padded_nodes, points + 2);
    stride += stride % 2;
    if (stride % 64 == 0) stride += 8;
    return stride;
}

}  // namespace

template <class Real>
double MeshTransform<Real>::memory(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels) {
    return static_cast<double>(sizeof(Real)) * n_channels * (mesh[0] + nodes - 1.0) * (mesh[1] + nodes - 1.0) *
           static_cast<double>(row_stride_for(mesh[2], padded_nodes));
}

template <class Real>
void MeshTransform<Real>::resize(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels) {
    if (mesh == mesh_ && nodes == nodes_ && n_channels == n_channels_) return;
    mesh_ = mesh;
    nodes_ = nodes;
    n_channels_ = n_channels;
    row_stride_ = row_stride_for(mesh[2], padded_nodes);
    plane_stride_ = row_stride_ * (mesh[1] + nodes - 1);
    channel_stride_ = plane_stride_ * (mesh[0] + nodes - 1);
    data_.resize(static_cast<std::size_t>(channel_stride_ * n_channels));
    rows_ = real_lines<Real>(mesh[2], mesh[1], row_stride_);
    columns_.clear();
    lines_.clear();
}

template <class Real>
const LineTransform<Real>& MeshTransform<Real>::columns_for(int kept) {
    auto& plan = columns_[kept];
    if (!plan) plan = complex_lines<Real>(mesh_[1], kept, row_stride_ / 2);
    return *plan;
}

template <class Real>
const LineTransform<Real>& MeshTransform<Real>::lines_for(int kept) {
    auto& plan = lines_[kept];
    if (!plan) plan = complex_lines<Real>(mesh_[0], kept, plane_stride_ / 2);
    return *plan;
}

template <class Real>
void MeshTransform<Real>::clear() {
    const std::int64_t planes = static_cast<std::int64_t>(n_channels_) * (mesh_[0] + nodes_ - 1);
    at::parallel_for(0, planes, 1, [&](std::int64_t begin, std::int64_t end) {
        std::fill(data_.data() + begin * plane_stride_, data_.data() + end * plane_stride_, Real(0));
    });
}

template <class Real>
void MeshTransform<Real>::solve(KspaceFilter<Real>& filter) {
    filter.clear_sums();
    const int kept = filter.kept();
    if (kept == 0) {
        clear();
        return;
    }
    const LineTransform<Real>& columns = columns_for(kept);
    for (int panel = 0; panel < mesh_[1]; ++panel) {
        if (filter.kept(panel) > 0) lines_for(filter.kept(panel));
    }
    for (int channel = 0; channel < n_channels_; ++channel) {
        parallel_dynamic(mesh_[0],
                         [&](std::int64_t i0) { fold_and_transform_plane(channel, static_cast<int>(i0), columns); });
        parallel_dynamic(mesh_[1], [&](std::int64_t i1) { filter_panel(filter, channel, static_cast<int>(i1)); });
        parallel_dynamic(mesh_[0], [&](std::int64_t i0) {
            transform_and_unfold_plane(channel, static_cast<int>(i0), kept, columns);
        });
    }
}

template <class Real>
void MeshTransform<Real>::fold_and_transform_plane(int channel, int i0, const LineTransform<Real>& columns) {
    const int margin = nodes_ - 1;
    Real* data = plane(channel, i0);
    if (i0 < margin) {
        const Real* beyond = plane(channel, i0 + mesh_[0]);
        for (std::int64_t i = 0; i < plane_stride_; ++i) data[i] += beyond[i];
    }
    for (int i1 = 0; i1 < margin; ++i1) {
        Real* row = data + i1 * row_stride_;
        const Real* beyond = row + mesh_[1] * row_stride_;
        for (std::int64_t i = 0; i < row_stride_; ++i) row[i] += beyond[i];
    }
    for (int i1 = 0; i1 < mesh_[1]; ++i1) {
        Real* row = data + i1 * row_stride_;
        for (int i2 = 0; i2 < margin; ++i2) row[i2] += row[mesh_[2] + i2];
    }
    rows_->forward(data);
    columns.forward(data);
}

template <class Real>
void MeshTransform<Real>::filter_panel(KspaceFilter<Real>& filter, int channel, int i1) {
    Real* data = plane(channel, 0) + i1 * row_stride_;
    const int kept = filter.kept(i1);
    if (kept > 0) {
        const LineTransform<Real>& lines = *lines_.at(kept);
        lines.forward(data);
        filter.filter_panel(i1, data, plane_stride_, kept);
        lines.backward(data);
    }
    for (int i0 = 0; i0 < mesh_[0]; ++i0) {
        Real* row = data + i0 * plane_stride_;
        std::fill(row + 2 * kept, row + 2 * filter.kept(), Real(0));
    }
}

template <class Real>
void MeshTransform<Real>::transform_and_unfold_plane(int channel, int i0, int kept,
                                                     const LineTransform<Real>& columns) {
    const int margin = nodes_ - 1;
    Real* data = plane(channel, i0);
    columns.backward(data);
    for (int i1 = 0; i1 < mesh_[1]; ++i1) {
        Real* row = data + i1 * row_stride_;
        std::fill(row + 2 * kept, row + 2 * (mesh_[2] / 2 + 1), Real(0));
    }
    rows_->backward(data);
    for (int i1 = 0; i1 < mesh_[1]; ++i1) {
        Real* row = data + i1 * row_stride_;
        // padded windows read the rest of the row with zero weight: it must be finite
        const std::int64_t rest = row_stride_ - mesh_[2], copied = std::min<std::int64_t>(rest, mesh_[2]);
        std::copy(row, row + copied, row + mesh_[2]);
        std::fill(row + mesh_[2] + copied, row + row_stride_, Real(0));
    }
    std::copy(data, data + margin * row_stride_, data + mesh_[1] * row_stride_);
    if (i0 < margin) std::copy(data, data + plane_stride_, plane(channel, i0 + mesh_[0]));
}

template class MeshTransform<float>;
template class MeshTransform<double>;

}  // namespace les
