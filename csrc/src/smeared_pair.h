// The pair function of the isolated sums: two Gaussian charges whose widths make up the smearing of the model.
#pragma once

#include <cmath>

namespace les {

/// f(r) = erf(a r) / r and f'(r) = (2 a / sqrt(pi) exp(-a^2 r^2) - f) / r, with a = 1 / (sqrt(2) smearing).
struct SmearedPair {
    double f, f_prime;
};

inline constexpr const char* coincident_in_sum =
    "atoms must not coincide, got two at the same place in the long-range sum; check the structure";

inline SmearedPair smeared_pair(double r, double a) {
    constexpr double pi = 3.14159265358979323846;
    const double f = std::erf(a * r) / r;
    return {f, (2.0 * a / std::sqrt(pi) * std::exp(-a * a * r * r) - f) / r};
}

}  // namespace les
