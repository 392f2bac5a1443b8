// The mesh of several domains: each spreads its charges on a brick around its atoms, bricks are added up in pencils
// along the third axis, and pencils turn twice on the way to k-space and back. Who has what and sends what is the
// division's (mesh_division.h); modes that the filter does not keep are never sent.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "fft.h"
#include "kspace_filter.h"
#include "les/communicator.h"
#include "mesh_division.h"
#include "mesh_loops.h"

namespace les {

template <class Real>
class DistributedMesh {
public:
    /// Divides a mesh among the domains of the communicator; `kept` third modes are needed.
    void resize(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels, int kept,
                const Communicator& communicator);

    /// Boxes, pencils, and the modes this domain filters.
    const MeshDivision& division() const { return division_; }

    /// Takes the brick that holds the windows of all points: `occupied[axis][i]` is whether a window starts at i.
    /// Collective.
    void set_brick(const std::array<std::vector<char>, 3>& occupied, Communicator& communicator);

    MeshView<Real> view() { return {brick_.data(), channel_stride_, plane_stride_, row_stride_, n_channels_}; }
    void clear();
    /// Charges on the bricks to potentials on the bricks; energy and virial shares stay with the filter. Collective.
    void solve(KspaceFilter<Real>& filter, Communicator& communicator);

    /// Bytes this domain needs apart from its brick.
    static double memory(const std::array<int, 3>& mesh, int n_ranks);

private:
    std::array<int, 3> mesh_{};
    int padded_nodes_ = 0, n_channels_ = 0;
    MeshDivision division_;
    std::int64_t row_stride_ = 0, plane_stride_ = 0, channel_stride_ = 0;
    std::vector<Real> brick_, z_data_, y_data_, x_data_, sent_, received_;
    std::vector<std::int64_t> sent_bytes_, received_bytes_;
    std::unique_ptr<LineTransform<Real>> z_lines_, y_lines_, x_lines_;

    /// Shares of one array to shares of another: afterwards they lie in `received_`.
    void exchange(const MeshShares& shares, const Real* data, const MeshShares& wanted, Communicator& communicator);
    void copy_received(const MeshShares& shares, Real* data) const;
    void add_received(const MeshShares& shares, Real* data) const;
    void filter_panels(KspaceFilter<Real>& filter);
};

}  // namespace les
