// Spreading and interpolation with derivatives; see mesh_operator.h. The innermost loops run along the third axis over
// windows padded with zero weights to a multiple of four, so that the compiler can use vector instructions.
#include "mesh_operator.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "les/error.h"
#include "parallel.h"

namespace les {

namespace {

/// Position of d^(a+b+c) among all derivatives; see n_mesh_derivatives.
constexpr int derivative_index(int a, int b, int c) {
    const int total = a + b + c, rest = b + c;
    return total * (total + 1) * (total + 2) / 6 + rest * (rest + 1) / 2 + c;
}

}  // namespace

template <int order, int width>
struct DerivativeLoops {
    static constexpr int n_derivatives = n_mesh_derivatives(order);
    static constexpr int n_orders = order + 1;

    /// Derivatives of the window's weights along one axis, (order + 1, width).
    using Weights = double[n_orders][width];

    const MeshOperator& op;
    const std::int64_t n_channels;
    const std::int64_t plane = static_cast<std::int64_t>(op.mesh_[1]) * op.mesh_[2];
    const std::int64_t volume = plane * op.mesh_[0];

    void weights_at(double t, Weights& weights) const {
        const double x = 2.0 * t - 1.0;
        for (int d = 0; d < n_orders; ++d) {
            for (double& weight : weights[d]) weight = 0.0;
            const double* table = op.tables_[d].data();
            for (auto power = static_cast<int>(op.tables_[d].size()) / width - 1; power >= 0; --power) {
                for (int j = 0; j < width; ++j) weights[d][j] = weights[d][j] * x + table[power * width + j];
            }
        }
    }

    /// Calls before_plane(i0), row(i1, offset of the row in one mesh), after_plane(i0) for all planes of the window.
    template <typename Before, typename Row, typename After>
    void for_rows(const MeshOperator::Place& place, const Before& before_plane, const Row& row,
                  const After& after_plane) const {
        const int nodes = op.window_.nodes();
        int m0 = place.first[0];
        for (int i0 = 0; i0 < nodes; ++i0) {
            before_plane(i0);
            int m1 = place.first[1];
            for (int i1 = 0; i1 < nodes; ++i1) {
                row(i1, m0 * plane + static_cast<std::int64_t>(m1) * op.mesh_[2]);
                if (++m1 == op.mesh_[1]) m1 = 0;
            }
            after_plane(i0);
            if (++m0 == op.mesh_[0]) m0 = 0;
        }
    }

    void spread(const MeshOperator::Place& place, const double* coefficients, double* mesh) const {
        Weights w0, w1, w2;
        weights_at(place.part[0], w0);
        weights_at(place.part[1], w1);
        weights_at(place.part[2], w2);
        const bool wraps = place.first[2] + width > op.mesh_[2];
        for (std::int64_t channel = 0; channel < n_channels; ++channel) {
            const double* c = coefficients + channel * n_derivatives;
            double* values = mesh + channel * volume;
            // along_z[a][b] = sum_c c_abc d^c w2, then along_yz[b] = sum_a d^a w0 along_z[a][b] for each plane
            double along_z[n_orders][n_orders][width] = {}, along_yz[n_orders][width];
            for (int a = 0; a < n_orders; ++a) {
                for (int b = 0; a + b < n_orders; ++b) {
                    for (int g = 0; a + b + g < n_orders; ++g) {
                        const double factor = c[derivative_index(a, b, g)];
                        for (int j = 0; j < width; ++j) along_z[a][b][j] += factor * w2[g][j];
                    }
                }
            }
            for_rows(
                place,
                [&](int i0) {
                    for (int b = 0; b < n_orders; ++b) {
                        for (double& value : along_yz[b]) value = 0.0;
                        for (int a = 0; a + b < n_orders; ++a) {
                            for (int j = 0; j < width; ++j) along_yz[b][j] += w0[a][i0] * along_z[a][b][j];
                        }
                    }
                },
                [&](int i1, std::int64_t offset) {
                    double sums[width] = {};
                    for (int b = 0; b < n_orders; ++b) {
                        for (int j = 0; j < width; ++j) sums[j] += w1[b][i1] * along_yz[b][j];
                    }
                    double* row = values + offset;
                    if (!wraps) {
                        for (int j = 0; j < width; ++j) row[place.first[2] + j] += sums[j];
                    } else {
                        for (int j = 0; j < op.window_.nodes(); ++j) row[(place.first[2] + j) % op.mesh_[2]] += sums[j];
                    }
                },
                [](int) {});
        }
    }

    void gather(const MeshOperator::Place& place, const double* mesh, double* derivatives) const {
        Weights w0, w1, w2;
        weights_at(place.part[0], w0);
        weights_at(place.part[1], w1);
        weights_at(place.part[2], w2);
        const bool wraps = place.first[2] + width > op.mesh_[2];
        for (std::int64_t channel = 0; channel < n_channels; ++channel) {
            const double* values = mesh + channel * volume;
            // in_plane[b] = sum over rows of d^b w1, then all[a][b] = sum over planes of d^a w0
            double in_plane[n_orders][width] = {}, all[n_orders][n_orders][width] = {};
            for_rows(
                place, [](int) {},
                [&](int i1, std::int64_t offset) {
                    const double* row = values + offset + place.first[2];
                    double wrapped[width] = {};
                    if (wraps) {
                        for (int j = 0; j < op.window_.nodes(); ++j)
                            wrapped[j] = values[offset + (place.first[2] + j) % op.mesh_[2]];
                        row = wrapped;
                    }
                    for (int b = 0; b < n_orders; ++b) {
                        for (int j = 0; j < width; ++j) in_plane[b][j] += w1[b][i1] * row[j];
                    }
                },
                [&](int i0) {
                    for (int b = 0; b < n_orders; ++b) {
                        for (int a = 0; a + b < n_orders; ++a) {
                            for (int j = 0; j < width; ++j) all[a][b][j] += w0[a][i0] * in_plane[b][j];
                        }
                        for (double& value : in_plane[b]) value = 0.0;
                    }
                });
            double* out = derivatives + channel * n_derivatives;
            for (int a = 0; a < n_orders; ++a) {
                for (int b = 0; a + b < n_orders; ++b) {
                    for (int g = 0; a + b + g < n_orders; ++g) {
                        double sum = 0.0;
                        for (int j = 0; j < width; ++j) sum += all[a][b][j] * w2[g][j];
                        out[derivative_index(a, b, g)] = sum;
                    }
                }
            }
        }
    }

    void spread_all(const MeshOperator::Tiles& tiles, const double* coefficients, double* mesh) const {
        std::fill(mesh, mesh + n_channels * volume, 0.0);
        for (int colour = 0; colour < 4; ++colour) {
            const int from0 = colour / 2, from1 = colour % 2;
            const int count0 = (tiles.count[0] - from0 + 1) / 2, count1 = (tiles.count[1] - from1 + 1) / 2;
            parallel_dynamic(static_cast<std::int64_t>(count0) * count1, [&](std::int64_t index) {
                const std::int64_t t0 = 2 * (index / count1) + from0, t1 = 2 * (index % count1) + from1;
                const auto tile = static_cast<std::size_t>(t0 * tiles.count[1] + t1);
                for (std::int64_t at = tiles.starts[tile]; at < tiles.starts[tile + 1]; ++at) {
                    const auto entry = static_cast<std::size_t>(at);
                    spread(tiles.places[entry], coefficients + tiles.points[entry] * n_channels * n_derivatives, mesh);
                }
            });
        }
    }

    void gather_all(const MeshOperator::Tiles& tiles, const double* mesh, double* derivatives) const {
        const auto n_points = static_cast<std::int64_t>(tiles.points.size());
        at::parallel_for(0, n_points, 64, [&](std::int64_t begin, std::int64_t end) {
            for (auto entry = static_cast<std::size_t>(begin); entry < static_cast<std::size_t>(end); ++entry)
                gather(tiles.places[entry], mesh, derivatives + tiles.points[entry] * n_channels * n_derivatives);
        });
    }
};

namespace {

/// Calls loops(DerivativeLoops<order, width>) for the order and width at hand.
template <int order, typename Loops>
void with_width(int width, const MeshOperator& op, std::int64_t n_channels, const Loops& loops) {
    if (width == 4) return loops(DerivativeLoops<order, 4>{op, n_channels});
    if (width == 8) return loops(DerivativeLoops<order, 8>{op, n_channels});
    if (width == 12) return loops(DerivativeLoops<order, 12>{op, n_channels});
    return loops(DerivativeLoops<order, 16>{op, n_channels});
}

template <typename Loops>
void with_loops(int order, int width, const MeshOperator& op, std::int64_t n_channels, const Loops& loops) {
    if (order == 0) return with_width<0>(width, op, n_channels, loops);
    if (order == 1) return with_width<1>(width, op, n_channels, loops);
    if (order == 2) return with_width<2>(width, op, n_channels, loops);
    if (order == 3) return with_width<3>(width, op, n_channels, loops);
    throw Error("the mesh operator has derivatives of order 0 to " + std::to_string(highest_mesh_derivative) +
                ", got order " + std::to_string(order));
}

}  // namespace

MeshOperator::MeshOperator(const std::array<int, 3>& mesh, WindowKind kind, int interpolation_nodes, double shape)
    : mesh_(mesh), window_(kind, interpolation_nodes, shape), width_((interpolation_nodes + 3) / 4 * 4) {
    for (const int points : mesh_) {
        if (points < 1) throw Error("`mesh` must have at least 1 point along each axis, got " + std::to_string(points));
    }
    for (int d = 0; d <= highest_mesh_derivative; ++d) {
        for (int power = d; power <= window_.degree(); ++power) {
            double factor = 1.0;
            for (int step = 0; step < d; ++step) factor *= 2.0 * (power - step);  // x = 2t - 1
            for (int node = 0; node < width_; ++node)
                tables_[d].push_back(node < interpolation_nodes ? factor * window_.coefficient(power, node) : 0.0);
        }
    }
}

MeshOperator::Tiles MeshOperator::sort_points(std::int64_t n_points, const double* u) const {
    const int nodes = window_.nodes();
    Tiles tiles;
    for (std::size_t axis = 0; axis < 2; ++axis) tiles.count[axis] = std::max(1, mesh_[axis] / nodes / 2 * 2);
    const auto n = static_cast<std::size_t>(n_points);
    std::vector<Place> places(n);
    std::vector<std::size_t> tile_of(n);
    tiles.starts.assign(static_cast<std::size_t>(tiles.count[0]) * static_cast<std::size_t>(tiles.count[1]) + 1, 0);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const double v = u[3 * i + axis] - 0.5 * nodes + 1.0;
            if (!(std::abs(v) < 1e12)) {
                throw Error("`positions` must be finite and near the cell, got " + std::to_string(u[3 * i + axis]) +
                            " mesh spacings for atom " + std::to_string(i));
            }
            const double below = std::floor(v), points = mesh_[axis];
            places[i].part[axis] = v - below;
            places[i].first[axis] = static_cast<int>(below - points * std::floor(below / points));
        }
        // floor(first count / mesh) makes tiles of at least floor(mesh / count) >= nodes points
        const auto tile = [&](std::size_t axis) {
            return static_cast<std::size_t>(static_cast<std::int64_t>(places[i].first[axis]) * tiles.count[axis] /
                                            mesh_[axis]);
        };
        tile_of[i] = tile(0) * static_cast<std::size_t>(tiles.count[1]) + tile(1);
        ++tiles.starts[tile_of[i] + 1];
    }
    for (std::size_t tile = 1; tile < tiles.starts.size(); ++tile) tiles.starts[tile] += tiles.starts[tile - 1];
    std::vector<std::int64_t> next(tiles.starts.begin(), tiles.starts.end() - 1);
    tiles.places.resize(n);
    tiles.points.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
        const auto entry = static_cast<std::size_t>(next[tile_of[i]]++);
        tiles.places[entry] = places[i];
        tiles.points[entry] = static_cast<std::int64_t>(i);
    }
    return tiles;
}

void MeshOperator::points_to_mesh(std::int64_t n_points, std::int64_t n_channels, int order, const double* u,
                                  const double* coefficients, double* mesh) const {
    const Tiles tiles = sort_points(n_points, u);
    with_loops(order, width_, *this, n_channels,
               [&](const auto& loops) { loops.spread_all(tiles, coefficients, mesh); });
}

void MeshOperator::mesh_to_points(std::int64_t n_points, std::int64_t n_channels, int order, const double* u,
                                  const double* mesh, double* derivatives) const {
    const Tiles tiles = sort_points(n_points, u);
    with_loops(order, width_, *this, n_channels,
               [&](const auto& loops) { loops.gather_all(tiles, mesh, derivatives); });
}

}  // namespace les
