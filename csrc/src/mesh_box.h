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

/// Calls f(mesh0, mesh1, mesh2, local0, local1, local2, count) for every run along the third axis that a periodic brick
/// (origin in the mesh, `length` points along each axis, which may exceed the mesh) shares with `box`.
template <class Function>
void for_common_runs(const std::array<int, 3>& origin, const std::array<int, 3>& length, const std::array<int, 3>& mesh,
                     const MeshBox& box, const Function& f) {
    if (box.empty()) return;
    const auto stretches = [&](std::size_t axis, std::array<MeshStretch, 4>& found) {
        int n = 0;
        for (int local = 0, start = origin[axis]; local < length[axis]; start = 0) {
            const int count = std::min(mesh[axis] - start, length[axis] - local);
            const int low = std::max(start, box.low[axis]), high = std::min(start + count, box.high[axis]);
            if (low < high && n < 4) found[static_cast<std::size_t>(n++)] = {low, local + low - start, high - low};
            local += count;
        }
        return n;
    };
    std::array<MeshStretch, 4> s0{}, s1{}, s2{};
    const int n0 = stretches(0, s0), n1 = stretches(1, s1), n2 = stretches(2, s2);
    for (int a = 0; a < n0; ++a) {
        const MeshStretch& x = s0[static_cast<std::size_t>(a)];
        for (int i = 0; i < x.count; ++i) {
            for (int b = 0; b < n1; ++b) {
                const MeshStretch& y = s1[static_cast<std::size_t>(b)];
                for (int j = 0; j < y.count; ++j) {
                    for (int c = 0; c < n2; ++c) {
                        const MeshStretch& z = s2[static_cast<std::size_t>(c)];
                        f(x.mesh_first + i, y.mesh_first + j, z.mesh_first, x.local_first + i, y.local_first + j,
                          z.local_first, z.count);
                    }
                }
            }
        }
    }
}

}  // namespace les
