// Bricks, pencils and what domains share of them; see mesh_division.h.
#include "mesh_division.h"

#include <numeric>

namespace les {

namespace {

/// The shortest stretch of a periodic axis that holds all occupied points: {first, number}; {0, 0} if there are none.
std::array<int, 2> cover(const char* occupied, int points) {
    int longest_gap = 0, gap = 0, gap_end = 0, seen = 0;
    // twice around, so that a gap across the periodic end counts as one
    for (int i = 0; i < 2 * points; ++i) {
        if (occupied[i % points] != 0) {
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

void MeshShares::clear(int n_ranks) {
    blocks_.clear();
    begin_.clear();
    counts_.assign(static_cast<std::size_t>(n_ranks), 0);
}

void MeshShares::add(int rank, const MeshBlock& block) {
    if (block.size() == 0) return;
    begin_.resize(static_cast<std::size_t>(rank) + 1, blocks_.size());
    blocks_.push_back(block);
    counts_[static_cast<std::size_t>(rank)] += block.size();
}

std::int64_t MeshShares::total() const { return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0}); }

std::int64_t MeshDivision::points(const MeshBox& box) {
    return box.empty() ? 0 : static_cast<std::int64_t>(box.extent(0)) * box.extent(1) * box.extent(2);
}

MeshBox MeshDivision::z_box(int rank) const {
    MeshBox box;
    if (!grid_.has(rank)) return box;
    const auto x = mesh_part(mesh_[0], grid_.rows, grid_.row(rank));
    const auto y = mesh_part(mesh_[1], grid_.columns, grid_.column(rank));
    return {{x[0], y[0], 0}, {x[1], y[1], mesh_[2]}};
}

void MeshDivision::resize(const std::array<int, 3>& mesh, int nodes, int kept, int rank, int n_ranks, YPencils order) {
    mesh_ = mesh;
    nodes_ = nodes;
    kept_ = kept;
    rank_ = rank;
    n_ranks_ = n_ranks;
    grid_ = PencilGrid(mesh, n_ranks);
    z_pencils_ = z_box(rank);
    y_pencils_ = x_pencils_ = MeshBox{};
    if (grid_.has(rank)) {
        const auto x = mesh_part(mesh[0], grid_.rows, grid_.row(rank));
        const auto y = mesh_part(mesh[1], grid_.rows, grid_.row(rank));
        const auto k = mesh_part(kept, grid_.columns, grid_.column(rank));
        y_pencils_ = {{x[0], 0, k[0]}, {x[1], mesh[1], k[1]}};
        x_pencils_ = {{0, y[0], k[0]}, {mesh[0], y[1], k[1]}};
    }
    z_stride_ = mesh[2] + 2 + mesh[2] % 2;
    z_rows_ = z_pencils_.empty() ? 0 : static_cast<std::int64_t>(z_pencils_.extent(0)) * z_pencils_.extent(1);
    share_turns(order);
}

/// z pencils and y pencils meet among the columns of a row, y pencils and x pencils among the rows of a column.
void MeshDivision::share_turns(YPencils order) {
    for (auto* shares : {&of_z_, &of_y_with_z_, &of_y_with_x_, &of_x_}) shares->clear(n_ranks_);
    if (!grid_.has(rank_)) return;
    const std::int64_t z_row = z_stride_, z_plane = z_row * z_pencils_.extent(1);
    const std::int64_t width = 2 * static_cast<std::int64_t>(y_pencils_.extent(2));  // of rows of y and x pencils
    const bool planes = order == YPencils::planes;
    const std::int64_t y_plane = planes ? width * mesh_[1] : width;
    const std::int64_t y_row = planes ? width : width * y_pencils_.extent(0);
    const std::int64_t x_row = width, x_plane = x_row * x_pencils_.extent(1);
    const auto row_of = [](std::int64_t reals) { return static_cast<std::int32_t>(reals); };
    for (int rank = 0; rank < n_ranks_; ++rank) {
        if (!grid_.has(rank)) continue;
        if (grid_.row(rank) == grid_.row(rank_)) {
            const auto k = mesh_part(kept_, grid_.columns, grid_.column(rank));
            const auto y = mesh_part(mesh_[1], grid_.columns, grid_.column(rank));
            of_z_.add(rank, {2 * std::int64_t{k[0]},
                             {z_plane, z_row},
                             {z_pencils_.extent(0), z_pencils_.extent(1)},
                             2 * (k[1] - k[0])});
            of_y_with_z_.add(rank,
                             {y[0] * y_row, {y_plane, y_row}, {y_pencils_.extent(0), y[1] - y[0]}, row_of(width)});
        }
        if (grid_.column(rank) == grid_.column(rank_)) {
            const auto x = mesh_part(mesh_[0], grid_.rows, grid_.row(rank));
            const auto y = mesh_part(mesh_[1], grid_.rows, grid_.row(rank));
            of_y_with_x_.add(rank,
                             {y[0] * y_row, {y_plane, y_row}, {y_pencils_.extent(0), y[1] - y[0]}, row_of(width)});
            of_x_.add(rank, {x[0] * x_plane, {x_plane, x_row}, {x[1] - x[0], x_pencils_.extent(1)}, row_of(width)});
        }
    }
}

std::array<double, MeshDivision::brick_numbers> MeshDivision::take_brick(const std::array<const char*, 3>& occupied) {
    for (std::size_t a = 0; a < 3; ++a) {
        const auto stretch = cover(occupied[a], mesh_[a]);
        origin_[a] = stretch[0];
        extent_[a] = stretch[1];
    }
    const auto length = brick_length();
    std::array<double, brick_numbers> told{};
    for (std::size_t a = 0; a < 3; ++a) {
        told[a] = origin_[a];
        told[a + 3] = length[a];
    }
    return told;
}

std::array<int, 3> MeshDivision::brick_length() const {
    std::array<int, 3> length{};
    for (std::size_t a = 0; a < 3; ++a) length[a] = extent_[a] > 0 ? extent_[a] + nodes_ - 1 : 0;
    return length;
}

void MeshDivision::set_bricks(const std::vector<double>& bricks, std::size_t stride, std::int64_t row_stride,
                              std::int64_t plane_stride) {
    of_brick_.clear(n_ranks_);
    of_z_with_bricks_.clear(n_ranks_);
    const std::array<int, 3> own_length = brick_length();
    const std::int64_t z_row = z_stride_, z_plane = z_row * z_pencils_.extent(1);
    for (int rank = 0; rank < n_ranks_; ++rank) {
        const double* brick = bricks.data() + static_cast<std::size_t>(rank) * stride;
        std::array<int, 3> origin{}, length{};
        for (std::size_t a = 0; a < 3; ++a) {
            origin[a] = static_cast<int>(brick[a]);
            length[a] = static_cast<int>(brick[a + 3]);
        }
        for_common_boxes(origin_, own_length, mesh_, z_box(rank),
                         [&](const auto&, const auto& local, const auto& count) {
                             of_brick_.add(rank, {local[0] * plane_stride + local[1] * row_stride + local[2],
                                                  {plane_stride, row_stride},
                                                  {count[0], count[1]},
                                                  count[2]});
                         });
        for_common_boxes(origin, length, mesh_, z_pencils_, [&](const auto& at, const auto&, const auto& count) {
            of_z_with_bricks_.add(rank,
                                  {(at[0] - z_pencils_.low[0]) * z_plane + (at[1] - z_pencils_.low[1]) * z_row + at[2],
                                   {z_plane, z_row},
                                   {count[0], count[1]},
                                   count[2]});
        });
    }
}

}  // namespace les
