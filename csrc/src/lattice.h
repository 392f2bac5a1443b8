// Cell geometry shared by the long-range solvers: volume, inverse, reciprocal vectors.
#pragma once

#include <array>
#include <cmath>

#include "les/system.h"

namespace les {

inline constexpr double pi = 3.14159265358979323846;

using Vector3 = std::array<double, 3>;

inline double dot(const Vector3& a, const Vector3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

inline Vector3 cross(const Vector3& a, const Vector3& b) {
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

inline double length(const Vector3& a) { return std::sqrt(dot(a, a)); }

/// cubic angstrom, positive for either handedness
inline double volume_of(const Matrix3& cell) { return std::abs(dot(cell[0], cross(cell[1], cell[2]))); }

/// Rows b_a with b_a . a_b = 2 pi delta_ab, 1/angstrom.
inline Matrix3 reciprocal_of(const Matrix3& cell) {
    const double determinant = dot(cell[0], cross(cell[1], cell[2]));
    Matrix3 reciprocal{};
    for (std::size_t a = 0; a < 3; ++a) {
        reciprocal[a] = cross(cell[(a + 1) % 3], cell[(a + 2) % 3]);
        for (double& component : reciprocal[a]) component *= 2.0 * pi / determinant;
    }
    return reciprocal;
}

/// n0 b0 + n1 b1 + n2 b2
inline Vector3 wave_vector(const Matrix3& reciprocal, int n0, int n1, int n2) {
    Vector3 k{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        k[axis] = n0 * reciprocal[0][axis] + n1 * reciprocal[1][axis] + n2 * reciprocal[2][axis];
    return k;
}

/// Solvers say this once, when the cell of a model with its own k_cutoff changes.
inline constexpr const char* warning_of_moving_k_set =
    "this model sums wave vectors up to its own k_cutoff, so its energy jumps when the changing cell moves one across "
    "it; "
    "freeze_k_set keeps the set of the first cell";

}  // namespace les
