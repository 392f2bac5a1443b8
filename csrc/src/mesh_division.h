// How domains divide a mesh: a brick around the atoms of each, pencils along the three axes for the transforms, and
// what every two domains share of these arrays, which is what their messages carry. No domain holds the whole mesh. The
// plan is the same for the CPU (distributed_mesh.h) and for GPUs (csrc/cuda/distributed_mesh.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mesh_box.h"

namespace les {

/// counts[0] x counts[1] rows of `width` reals in an array of reals; a message holds them row after row.
struct MeshBlock {
    std::int64_t first = 0, strides[2] = {0, 0};
    std::int32_t counts[2] = {0, 0}, width = 0;

    std::int64_t size() const { return static_cast<std::int64_t>(counts[0]) * counts[1] * width; }
};

/// What one array of a domain shares with each domain, in the same order as the array at the other end.
class MeshShares {
public:
    void clear(int n_ranks);
    /// Blocks are added in the order of their ranks; empty ones are left out.
    void add(int rank, const MeshBlock& block);

    const std::vector<MeshBlock>& blocks() const { return blocks_; }
    /// Blocks begin(rank) ... begin(rank + 1) - 1 are those of a rank.
    std::size_t begin(int rank) const {
        const auto r = static_cast<std::size_t>(rank);
        return r < begin_.size() ? begin_[r] : blocks_.size();
    }
    /// Reals shared with a rank, and with all.
    std::int64_t count(int rank) const { return counts_[static_cast<std::size_t>(rank)]; }
    std::int64_t total() const;

private:
    std::vector<MeshBlock> blocks_;
    std::vector<std::size_t> begin_;  // up to the last rank that shares anything
    std::vector<std::int64_t> counts_;
};

/// How y pencils lie in memory, always with the third modes as rows: plane after plane (x, y), for the caches of a CPU,
/// or (y, x), where all lines of a domain are one batch of transforms.
enum class YPencils { planes, one_batch };

class MeshDivision {
public:
    /// Divides a mesh among `n_ranks` domains, of which this is `rank`; third modes 0 ... kept - 1 are needed.
    void resize(const std::array<int, 3>& mesh, int nodes, int kept, int rank, int n_ranks, YPencils order);

    /// Pencils of this domain along the third, second and first axis, empty for a domain without a part of the mesh.
    /// The first are rows of mesh points (x, y), `z_stride` reals apart; the others complex numbers, whose third range
    /// is of modes: y pencils as YPencils says, x pencils as (x, y, mode).
    const MeshBox& z_pencils() const { return z_pencils_; }
    const MeshBox& y_pencils() const { return y_pencils_; }
    const MeshBox& x_pencils() const { return x_pencils_; }
    std::int64_t z_stride() const { return z_stride_; }
    std::int64_t z_reals() const { return z_rows_ * z_stride_; }
    std::int64_t y_reals() const { return 2 * points(y_pencils_); }
    std::int64_t x_reals() const { return 2 * points(x_pencils_); }
    std::int64_t z_rows() const { return z_rows_; }

    /// The modes this domain filters: panels (second modes) and third modes.
    std::array<int, 2> panels() const { return {x_pencils_.low[1], x_pencils_.high[1]}; }
    std::array<int, 2> third_modes() const { return {x_pencils_.low[2], x_pencils_.high[2]}; }
    int kept() const { return kept_; }

    /// Numbers that tell the other domains of a brick.
    static constexpr std::size_t brick_numbers = 6;
    /// Takes the smallest brick that holds the windows of all points: `occupied[axis][i]` is whether a window starts at
    /// i.
    std::array<double, brick_numbers> take_brick(const std::array<const char*, 3>& occupied);
    /// First nodes lie in `extent` mesh points from `origin`; windows reach nodes - 1 further.
    const std::array<int, 3>& origin() const { return origin_; }
    const std::array<int, 3>& extent() const { return extent_; }
    /// Mesh points of the brick, windows included; zeros without points.
    std::array<int, 3> brick_length() const;
    /// The bricks of all domains, those of rank r from bricks[r * stride]; rows and planes of this domain's brick are
    /// `row_stride` and `plane_stride` reals apart.
    void set_bricks(const std::vector<double>& bricks, std::size_t stride, std::int64_t row_stride,
                    std::int64_t plane_stride);

    /// Brick and z pencils; z and y pencils, y and x pencils: what turns of the pencils exchange.
    const MeshShares& of_brick() const { return of_brick_; }
    const MeshShares& of_z_with_bricks() const { return of_z_with_bricks_; }
    const MeshShares& of_z() const { return of_z_; }
    const MeshShares& of_y_with_z() const { return of_y_with_z_; }
    const MeshShares& of_y_with_x() const { return of_y_with_x_; }
    const MeshShares& of_x() const { return of_x_; }

private:
    std::array<int, 3> mesh_{}, origin_{}, extent_{};
    int nodes_ = 0, kept_ = 0, rank_ = 0, n_ranks_ = 1;
    PencilGrid grid_{{1, 1, 1}, 1};
    MeshBox z_pencils_, y_pencils_, x_pencils_;
    std::int64_t z_stride_ = 0, z_rows_ = 0;
    MeshShares of_brick_, of_z_with_bricks_, of_z_, of_y_with_z_, of_y_with_x_, of_x_;

    static std::int64_t points(const MeshBox& box);
    MeshBox z_box(int rank) const;
    void share_turns(YPencils order);
};

}  // namespace les
