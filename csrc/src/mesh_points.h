// The charges of a domain in mesh order: node and place within it from float64 positions, sorted by tiles of columns so
// that the mesh points they touch stay in cache, and so that tiles of one colour can be spread at the same time.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lattice.h"
#include "mesh_loops.h"

namespace les {

template <class Real>
class MeshPoints {
public:
    /// Sorts the owned atoms of a domain whose first nodes lie in a brick: `extent` mesh points from `origin`, or the
    /// whole mesh. Throws les::Error for a position or charge that is not finite.
    void sort(const System& system, const std::vector<double>& charges, int n_channels, const std::array<int, 3>& mesh,
              int nodes, const std::array<int, 3>& origin, const std::array<int, 3>& extent);

    /// Which mesh points are first nodes of the owned atoms, along each axis.
    static void occupied(const System& system, const std::array<int, 3>& mesh, int nodes,
                         std::array<std::vector<char>, 3>& points);

    SortedPoints<Real> view() const { return {first_.data(), t_.data(), charges_.data()}; }
    std::int64_t size() const { return n_; }
    /// Atom at place i of the sorted points.
    std::int64_t atom(std::int64_t i) const { return order_[static_cast<std::size_t>(i)]; }

    /// Tiles of one colour touch no common mesh point; four colours hold all tiles.
    static constexpr int n_colours = 4;
    std::int64_t tiles_of(int colour) const { return colour_begin_[colour + 1] - colour_begin_[colour]; }
    /// Range of sorted points of a tile.
    std::array<std::int64_t, 2> tile(int colour, std::int64_t index) const {
        const auto bin = static_cast<std::size_t>((colour_begin_[colour] + index) * bins_per_tile_);
        return {bin_begin_[bin], bin_begin_[bin + static_cast<std::size_t>(bins_per_tile_)]};
    }

private:
    static constexpr int bin_depth = 4;  // mesh points along the third axis within one bin
    static constexpr int block = 8;      // columns of a tile that are visited together, along axes 0 and 1

    std::int64_t n_ = 0, bins_per_block_ = 0, bins_per_tile_ = 0, blocks_per_row_ = 0;
    std::array<std::int64_t, n_colours + 1> colour_begin_{};
    std::vector<std::int64_t> tile_of_column_[2], block_of_column_[2];  // along axes 0 and 1; blocks within their tile
    std::vector<std::int32_t> first_, bin_;
    std::vector<std::int64_t> order_, bin_begin_, counts_, unusable_;
    std::vector<Real> t_, charges_;

    void set_tiles(const std::array<int, 3>& extent, int nodes);
};

}  // namespace les
