// Spreading onto and interpolating from a periodic mesh with derivatives up to third order: the two primitives from
// which les_md.mesh_operator builds an energy that torch differentiates twice. It stands apart from the mesh solver of
// the hosts, whose loops need values and gradients only and are written for speed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "window.h"

namespace les {

inline constexpr int highest_mesh_derivative = 3;

/// Number of derivatives d^(a+b+c) / du0^a du1^b du2^c with a + b + c <= order: 1, 4, 10, 20. They are stored by
/// growing a + b + c, then falling a, then falling b: 1; x, y, z; xx, xy, xz, yy, yz, zz; ...
constexpr int n_mesh_derivatives(int order) { return (order + 1) * (order + 2) * (order + 3) / 6; }

class MeshOperator {
public:
    /// Throws les::Error for a mesh without points or a window that window.h refuses.
    MeshOperator(const std::array<int, 3>& mesh, WindowKind kind, int interpolation_nodes, double shape);

    const std::array<int, 3>& mesh() const { return mesh_; }
    const Window& window() const { return window_; }

    /// mesh[c, m] = sum_i sum_alpha coefficients[i, c, alpha] d^alpha w(m - u_i), derivatives with respect to u_i.
    ///
    /// `u` (n_points, 3) positions in mesh spacings, in any image; `coefficients` (n_points, n_channels,
    /// n_mesh_derivatives(order)); `mesh` (n_channels, M0, M1, M2) is overwritten. The sums do not depend on the number
    /// of threads.
    void points_to_mesh(std::int64_t n_points, std::int64_t n_channels, int order, const double* u,
                        const double* coefficients, double* mesh) const;

    /// derivatives[i, c, alpha] = sum_m d^alpha w(m - u_i) mesh[c, m]: the transpose of `points_to_mesh`.
    void mesh_to_points(std::int64_t n_points, std::int64_t n_channels, int order, const double* u, const double* mesh,
                        double* derivatives) const;

    struct Place {
        std::array<int, 3> first;    ///< first mesh point of the window along each axis, in the mesh
        std::array<double, 3> part;  ///< t of window.h
    };

    /// Points ordered by the tile of the mesh (along the first two axes) in which their windows start. Tiles are as
    /// wide as the window, so that a point reaches into the next one at most, and their number along an axis is 1 or
    /// even: tiles of one colour never write to the same place.
    struct Tiles {
        std::array<int, 2> count;
        std::vector<Place> places;         ///< in the order of `points`
        std::vector<std::int64_t> points;  ///< index of the caller
        std::vector<std::int64_t> starts;  ///< first entry of each tile, and the end
    };

private:
    std::array<int, 3> mesh_;
    Window window_;
    int width_;                                                // interpolation nodes rounded up to a multiple of 4
    std::vector<double> tables_[highest_mesh_derivative + 1];  // polynomials of each derivative, (power, width)

    template <int order, int width>
    friend struct DerivativeLoops;

    Tiles sort_points(std::int64_t n_points, const double* u) const;
};

}  // namespace les
