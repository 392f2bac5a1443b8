// Sorting of points along the mesh by counting; see mesh_points.h.
#include "mesh_points.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "les/error.h"
#include "parallel.h"

namespace les {

namespace {

/// First nodes in a brick and places between them, from float64 positions.
struct Locator {
    Matrix3 inverse{};  // columns: fractional = position @ inverse
    std::array<int, 3> mesh{}, origin{};
    double offset = 0.0;

    Locator(const Matrix3& cell, const std::array<int, 3>& points, int nodes, const std::array<int, 3>& brick_origin)
        : mesh(points), origin(brick_origin), offset(1.0 - 0.5 * nodes) {
        const Matrix3 reciprocal = reciprocal_of(cell);
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t x = 0; x < 3; ++x) inverse[x][a] = reciprocal[a][x] / (2.0 * pi);
        }
    }

    /// False for a position that is not finite.
    bool operator()(const double* r, std::int32_t* node, double* t) const {
        bool finite = true;
        for (std::size_t a = 0; a < 3; ++a) {
            double fraction = r[0] * inverse[0][a] + r[1] * inverse[1][a] + r[2] * inverse[2][a];
            fraction -= std::floor(fraction);
            double place = fraction * mesh[a] + offset;
            if (place < 0.0) place += mesh[a];
            if (place >= mesh[a]) place -= mesh[a];
            finite = finite && place >= 0.0;
            // in the mesh first: bricks must not differ by rounding
            const int first = finite ? static_cast<int>(place) : 0;
            t[a] = place - first;
            node[a] = first < origin[a] ? first - origin[a] + mesh[a] : first - origin[a];
        }
        return finite;
    }
};

}  // namespace

template <class Real>
void MeshPoints<Real>::set_tiles(const std::array<int, 3>& extent, int nodes) {
    // a tile of at least nodes - 1 columns reaches into its next neighbour only, so every other tile is independent;
    // wide tiles share few mesh points, many tiles keep many threads busy
    std::array<std::int64_t, 2> tiles{};
    std::int64_t widest = 0;
    for (std::size_t a = 0; a < 2; ++a) {
        const int width = std::max({block, nodes - 1, std::min(32, (extent[a] + 7) / 8)});
        tiles[a] = (extent[a] + width - 1) / width;
        widest = std::max<std::int64_t>(widest, (width + block - 1) / block);
        tile_of_column_[a].resize(static_cast<std::size_t>(extent[a]));
        block_of_column_[a].resize(static_cast<std::size_t>(extent[a]));
        for (std::size_t i = 0; i < tile_of_column_[a].size(); ++i) {
            tile_of_column_[a][i] = static_cast<std::int64_t>(i) / width;
            block_of_column_[a][i] = static_cast<std::int64_t>(i) % width / block;
        }
    }
    blocks_per_row_ = widest;
    bins_per_block_ = (extent[2] + bin_depth - 1) / bin_depth;
    bins_per_tile_ = blocks_per_row_ * blocks_per_row_ * bins_per_block_;
    for (int colour = 0; colour < n_colours; ++colour) {
        const std::int64_t along0 = (tiles[0] + 1 - colour / 2) / 2, along1 = (tiles[1] + 1 - colour % 2) / 2;
        colour_begin_[static_cast<std::size_t>(colour) + 1] =
            colour_begin_[static_cast<std::size_t>(colour)] + along0 * along1;
    }
}

template <class Real>
void MeshPoints<Real>::sort(const System& system, const std::vector<double>& charges, int n_channels,
                            const std::array<int, 3>& mesh, int nodes, const std::array<int, 3>& origin,
                            const std::array<int, 3>& extent) {
    n_ = system.n_local;
    if (n_ == 0) {
        colour_begin_ = {};
        bins_per_tile_ = 0;
        return;
    }
    set_tiles(extent, nodes);
    const Locator locate(system.cell, mesh, nodes, origin);
    const std::int64_t tiles1 = tile_of_column_[1].back() + 1;
    const auto bin_of = [&](const std::int32_t* node) {
        const auto c0 = static_cast<std::size_t>(node[0]), c1 = static_cast<std::size_t>(node[1]);
        const std::int64_t tile0 = tile_of_column_[0][c0], tile1 = tile_of_column_[1][c1];
        const auto colour = static_cast<std::size_t>(2 * (tile0 % 2) + tile1 % 2);
        const std::int64_t row = (tiles1 + 1 - tile1 % 2) / 2;
        const std::int64_t tile = colour_begin_[colour] + tile0 / 2 * row + tile1 / 2;
        const std::int64_t block_in_tile = block_of_column_[0][c0] * blocks_per_row_ + block_of_column_[1][c1];
        return tile * bins_per_tile_ + block_in_tile * bins_per_block_ + node[2] / bin_depth;
    };

    const auto n = static_cast<std::size_t>(n_), channels = static_cast<std::size_t>(n_channels);
    const auto n_bins = static_cast<std::size_t>(colour_begin_[n_colours] * bins_per_tile_);
    // each part of the atoms counts for itself; parts in order keep the order of atoms within a bin
    const std::int64_t parts = std::max<std::int64_t>(1, std::min<std::int64_t>(at::get_num_threads(), n_ / 4096));
    const auto part_begin = [&](std::int64_t part) { return n_ * part / parts; };
    bin_.resize(n);
    order_.resize(n);
    first_.resize(3 * n);
    t_.resize(3 * n);
    charges_.resize(n * channels);
    bin_begin_.resize(n_bins + 1);
    counts_.assign(n_bins * static_cast<std::size_t>(parts), 0);
    unusable_.assign(static_cast<std::size_t>(parts), -1);
    at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t part = begin; part < end; ++part) {
            std::int64_t* count = counts_.data() + static_cast<std::size_t>(part) * n_bins;
            std::int32_t node[3];
            double t[3];
            for (std::int64_t i = part_begin(part); i < part_begin(part + 1); ++i) {
                if (!locate(system.positions + 3 * i, node, t)) {
                    unusable_[static_cast<std::size_t>(part)] = i;
                    break;
                }
                const std::int64_t bin = bin_of(node);
                bin_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(bin);
                ++count[bin];
            }
        }
    });
    for (const std::int64_t atom : unusable_) {
        if (atom >= 0)
            throw Error("`positions` must be finite, atom " + std::to_string(atom) + " (counted from 0) is not");
    }
    std::int64_t sum = 0;
    for (std::size_t bin = 0; bin < n_bins; ++bin) {
        bin_begin_[bin] = sum;
        for (std::size_t part = 0; part < static_cast<std::size_t>(parts); ++part) {
            std::int64_t& place = counts_[part * n_bins + bin];
            const std::int64_t count = place;
            place = sum;
            sum += count;
        }
    }
    bin_begin_[n_bins] = sum;
    at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t part = begin; part < end; ++part) {
            std::int64_t* next = counts_.data() + static_cast<std::size_t>(part) * n_bins;
            std::int32_t node[3];
            double t[3], total = 0.0;
            for (std::int64_t i = part_begin(part); i < part_begin(part + 1); ++i) {
                const auto atom = static_cast<std::size_t>(i);
                const auto place = static_cast<std::size_t>(next[bin_[atom]]++);
                locate(system.positions + 3 * i, node, t);
                order_[place] = i;
                for (std::size_t a = 0; a < 3; ++a) {
                    first_[3 * place + a] = node[a];
                    t_[3 * place + a] = static_cast<Real>(t[a]);
                }
                for (std::size_t channel = 0; channel < channels; ++channel) {
                    const double q = charges[atom * channels + channel];
                    charges_[place * channels + channel] = static_cast<Real>(q);
                    total += q;
                }
            }
            if (!std::isfinite(total)) unusable_[static_cast<std::size_t>(part)] = part;
        }
    });
    for (const std::int64_t part : unusable_) {
        if (part >= 0) throw Error("`charges` must be finite, got NaN or infinity; check the model or the structure");
    }
}

template <class Real>
void MeshPoints<Real>::occupied(const System& system, const std::array<int, 3>& mesh, int nodes,
                                std::array<std::vector<char>, 3>& points) {
    const Locator locate(system.cell, mesh, nodes, {0, 0, 0});
    for (std::size_t a = 0; a < 3; ++a) points[a].assign(static_cast<std::size_t>(mesh[a]), 0);
    std::int32_t node[3];
    double t[3];
    for (std::int64_t i = 0; i < system.n_local; ++i) {
        if (!locate(system.positions + 3 * i, node, t))
            throw Error("`positions` must be finite, atom " + std::to_string(i) + " (counted from 0) is not");
        for (std::size_t a = 0; a < 3; ++a) points[a][static_cast<std::size_t>(node[a])] = 1;
    }
}

template class MeshPoints<float>;
template class MeshPoints<double>;

}  // namespace les
