// The mesh in memory and its transforms, all in place. One mesh per channel, with rows, planes and a margin that takes
// what windows reach beyond the periodic end. Forward: fold the margin, transform planes along the third and second
// axis, then panels (second mode fixed) along the first; backward is the mirror image. Modes that the filter does not
// keep are left out after each axis.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "fft.h"
#include "kspace_filter.h"
#include "mesh_loops.h"

namespace les {

template <class Real>
class MeshTransform {
public:
    void resize(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels);
    MeshView<Real> view() { return {data_.data(), channel_stride_, plane_stride_, row_stride_, n_channels_}; }
    void clear();
    /// Charges on the mesh to potentials on the mesh and its margin; energy and virial stay with the filter.
    void solve(KspaceFilter<Real>& filter);

    /// Bytes that a mesh takes, before it is made.
    static double memory(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels);

private:
    std::array<int, 3> mesh_{};
    int nodes_ = 0, n_channels_ = 0;
    std::int64_t row_stride_ = 0, plane_stride_ = 0, channel_stride_ = 0;
    std::vector<Real> data_;
    std::unique_ptr<LineTransform<Real>> rows_;                            // third axis, one plane
    std::map<int, std::unique_ptr<LineTransform<Real>>> columns_, lines_;  // second and first axis, by kept modes

    Real* plane(int channel, int i0) { return data_.data() + channel * channel_stride_ + i0 * plane_stride_; }
    void fold_and_transform_plane(int channel, int i0, const LineTransform<Real>& columns);
    void filter_panel(KspaceFilter<Real>& filter, int channel, int i1);
    void transform_and_unfold_plane(int channel, int i0, int kept, const LineTransform<Real>& columns);
    const LineTransform<Real>& columns_for(int kept);
    const LineTransform<Real>& lines_for(int kept);
};

}  // namespace les
