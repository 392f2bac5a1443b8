// The mesh of several domains: each spreads its charges on a brick around its atoms, bricks are added up in pencils
// along the third axis, and pencils turn twice on the way to k-space and back. No domain holds the whole mesh; what a
// message carries follows from boxes that every domain knows, and modes that the filter does not keep are never sent.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "fft.h"
#include "kspace_filter.h"
#include "les/communicator.h"
#include "mesh_box.h"
#include "mesh_loops.h"

namespace les {

template <class Real>
class DistributedMesh {
public:
    /// Divides a mesh among the domains of the communicator; `kept` third modes are needed.
    void resize(const std::array<int, 3>& mesh, int nodes, int padded_nodes, int n_channels, int kept,
                const Communicator& communicator);

    /// The modes this domain filters: panels (second modes) and third modes.
    std::array<int, 2> panels() const { return {x_pencils_.low[1], x_pencils_.high[1]}; }
    std::array<int, 2> third_modes() const { return {x_pencils_.low[2], x_pencils_.high[2]}; }

    /// Takes the brick that holds the windows of all points: `occupied[axis][i]` is whether a window starts at i.
    /// Collective; returns the brick of first nodes (origin and number of possible first nodes).
    void set_brick(const std::array<std::vector<char>, 3>& occupied, Communicator& communicator);
    const std::array<int, 3>& origin() const { return origin_; }
    const std::array<int, 3>& extent() const { return extent_; }

    MeshView<Real> view() { return {brick_.data(), channel_stride_, plane_stride_, row_stride_, n_channels_}; }
    void clear();
    /// Charges on the bricks to potentials on the bricks; energy and virial shares stay with the filter. Collective.
    void solve(KspaceFilter<Real>& filter, Communicator& communicator);

    /// Bytes this domain needs apart from its brick.
    static double memory(const std::array<int, 3>& mesh, int n_ranks);

private:
    std::array<int, 3> mesh_{};
    int nodes_ = 0, padded_nodes_ = 0, n_channels_ = 0, kept_ = 0, rank_ = 0, n_ranks_ = 1;
    PencilGrid grid_{{1, 1, 1}, 1};
    MeshBox z_pencils_, y_pencils_, x_pencils_;  // of this domain; the third range of the latter two is of modes
    std::int64_t z_stride_ = 0;                  // of rows of the z pencils, reals

    std::array<int, 3> origin_{}, extent_{};
    std::vector<std::array<int, 3>> origins_, lengths_;  // bricks of all domains, windows included
    std::int64_t row_stride_ = 0, plane_stride_ = 0, channel_stride_ = 0;
    std::vector<Real> brick_, z_data_, y_data_, x_data_, sent_, received_;
    std::vector<std::int64_t> sent_counts_, received_counts_;
    std::unique_ptr<LineTransform<Real>> z_lines_, y_lines_, x_lines_;

    MeshBox z_box(int rank) const;
    template <class Function>
    void brick_runs(int channel, int rank, const Function& f);
    template <class Function>
    void pencil_runs(int rank, const Function& f);
    void bricks_to_pencils(int channel, Communicator& communicator);
    void pencils_to_bricks(int channel, Communicator& communicator);
    template <class Pack, class Unpack>
    void exchange(const Pack& pack, const Unpack& unpack, Communicator& communicator);
    void turn(bool forward, bool first, Communicator& communicator);
    void filter_panels(KspaceFilter<Real>& filter);
};

}  // namespace les
