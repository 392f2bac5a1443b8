// Boxes of mesh points and how ranks divide a mesh: bricks around the atoms of a rank, pencils for the transforms.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace les {

/// Points low ... high - 1 along each axis.
struct MeshBox {
    std::array<int, 3> low{}, high{};

    int extent(std::size_t axis) const { return high[axis] - low[axis]; }
    bool empty() const { return extent(0) <= 0 || extent(1) <= 0 || extent(2) <= 0; }
};

/// Part `index` of `points` divided among `parts`.
inline std::array<int, 2> mesh_part(int points, int parts, int index) {
    const auto at = [&](int i) { return static_cast<int>(static_cast<std::int64_t>(points) * i / parts); };
    return {at(index), at(index + 1)};
}

/// Ranks in rows and columns: pencils along one axis divide the other two. Slabs (one column) as long as there are
/// enough planes; ranks beyond rows * columns have no part of the mesh.
struct PencilGrid {
    int rows = 1, columns = 1;

    PencilGrid(const std::array<int, 3>& mesh, int n_ranks) {
        // a second exchange among columns costs less than ranks without work
        const int planes = std::max(1, std::min(mesh[0], mesh[1]) / 2);
        columns = (n_ranks + planes - 1) / planes;
        rows = std::max(1, n_ranks / columns);
    }
    bool has(int rank) const { return rank < rows * columns; }
    int row(int rank) const { return rank / columns; }
    int column(int rank) const { return rank % columns; }
    int rank(int row, int column) const { return row * columns + column; }
};

/// One stretch of a box along an axis: `count` mesh points from `mesh_first`, at `local_first` of the brick.
struct MeshStretch {
    int mesh_first, local_first, count;
};

/// Calls f(first in the mesh, first in the brick, counts), arrays of three, for every box of mesh points that a
/// periodic brick (origin in the mesh, `length` points along each axis, which may exceed the mesh) shares with `box`.
template <class Function>
void for_common_boxes(const std::array<int, 3>& origin, const std::array<int, 3>& length,
                      const std::array<int, 3>& mesh, const MeshBox& box, const Function& f) {
    if (box.empty()) return;
    const auto stretches = [&](std::size_t axis, std::array<MeshStretch, 4>& found) {
        std::size_t n = 0;
        for (int local = 0, start = origin[axis]; local < length[axis]; start = 0) {
            const int count = std::min(mesh[axis] - start, length[axis] - local);
            const int low = std::max(start, box.low[axis]), high = std::min(start + count, box.high[axis]);
            if (low < high && n < found.size()) found[n++] = {low, local + low - start, high - low};
            local += count;
        }
        return n;
    };
    std::array<MeshStretch, 4> s0{}, s1{}, s2{};
    const std::size_t n0 = stretches(0, s0), n1 = stretches(1, s1), n2 = stretches(2, s2);
    for (std::size_t a = 0; a < n0; ++a) {
        for (std::size_t b = 0; b < n1; ++b) {
            for (std::size_t c = 0; c < n2; ++c) {
                const MeshStretch &x = s0[a], &y = s1[b], &z = s2[c];
                f(std::array<int, 3>{x.mesh_first, y.mesh_first, z.mesh_first},
                  std::array<int, 3>{x.local_first, y.local_first, z.local_first},
                  std::array<int, 3>{x.count, y.count, z.count});
            }
        }
    }
}

}  // namespace les
