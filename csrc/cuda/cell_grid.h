// Cells of the neighbour search for a system, and the sizes of its tables. Plain C++, on the host.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "les/system.h"
#include "neighbor_cells.cuh"

namespace les::cuda {

/// Cells at least as wide as `range` (cutoff and skin, angstrom) where the system is as large, and not many more cells
/// than atoms.
inline CellGrid make_grid(const Matrix3& cell, bool periodic, double range, std::int64_t n_atoms) {
    CellGrid grid{};
    grid.periodic = periodic ? 1 : 0;
    grid.edge = range;
    grid.range_sq = range * range;
    const double most = std::max(3.0, std::cbrt(4.0 * static_cast<double>(n_atoms)));
    if (!periodic) {
        // at least 3, so that the neighbours of a cell are different ones
        for (std::size_t a = 0; a < 3; ++a) {
            grid.cells[a] = static_cast<std::int32_t>(std::clamp(0.5 * most, 3.0, 256.0));
            grid.reach[a] = 1;
        }
        return grid;
    }
    double volume = 0.0, cross[3][3];
    for (std::size_t a = 0; a < 3; ++a) {
        const auto &b = cell[(a + 1) % 3], &c = cell[(a + 2) % 3];
        for (std::size_t x = 0; x < 3; ++x)
            cross[a][x] = b[(x + 1) % 3] * c[(x + 2) % 3] - b[(x + 2) % 3] * c[(x + 1) % 3];
    }
    for (std::size_t x = 0; x < 3; ++x) volume += cell[0][x] * cross[0][x];
    double heights[3];
    for (std::size_t a = 0; a < 3; ++a) {
        double length_sq = 0.0;
        for (std::size_t x = 0; x < 3; ++x) {
            grid.vectors[a][x] = cell[a][x];
            grid.inverse[x][a] = cross[a][x] / volume;
            length_sq += grid.inverse[x][a] * grid.inverse[x][a];
        }
        heights[a] = 1.0 / std::sqrt(length_sq);
    }
    // in long cells more along the long side
    const double mean = std::cbrt(heights[0] * heights[1] * heights[2]);
    for (std::size_t a = 0; a < 3; ++a) {
        const double wanted = std::min(heights[a] / range, most * heights[a] / mean);
        grid.cells[a] = static_cast<std::int32_t>(std::clamp(std::floor(wanted), 1.0, 1024.0));
        grid.reach[a] = static_cast<std::int32_t>(std::ceil(range * grid.cells[a] / heights[a]));
    }
    return grid;
}

/// Expected neighbours within `range` in a system of this density, with head room; for a start.
inline std::int32_t expected_neighbours(const Matrix3& c, bool periodic, double range, std::int64_t n_atoms) {
    double expected = 32.0;
    if (periodic) {
        const double volume = std::abs(c[0][0] * (c[1][1] * c[2][2] - c[1][2] * c[2][1]) -
                                       c[0][1] * (c[1][0] * c[2][2] - c[1][2] * c[2][0]) +
                                       c[0][2] * (c[1][0] * c[2][1] - c[1][1] * c[2][0]));
        expected = 4.18879 * range * range * range * static_cast<double>(n_atoms) / volume;
    }
    return static_cast<std::int32_t>(std::clamp(1.3 * expected + 12.0, 16.0, 4096.0));
}

}  // namespace les::cuda
