// Windows as piecewise polynomials; see window.h.
#include "window.h"

#include <algorithm>
#include <cmath>

#include "lattice.h"
#include "les/error.h"

namespace les {

namespace {

/// I0(sqrt(y)) = sum (y/4)^k / (k!)^2, entire in y; scaled by exp(-scale)
double bessel_i0_of_root(double y, double scale) {
    double term = 1.0, sum = 1.0;
    for (int k = 1; k < 200 && term > 1e-18 * sum; ++k) {
        term *= 0.25 * y / (static_cast<double>(k) * k);
        sum += term;
    }
    return sum * std::exp(-scale);
}

/// sinh(sqrt(y)) / sqrt(y), which is sin(sqrt(-y)) / sqrt(-y) for negative y; scaled by exp(-scale)
double sinhc_of_root(double y, double scale) {
    const double root = std::sqrt(std::abs(y));
    if (root < 1e-4) return (1.0 + y / 6.0) * std::exp(-scale);
    return y > 0.0 ? (std::exp(root - scale) - std::exp(-root - scale)) / (2.0 * root)
                   : std::sin(root) / root * std::exp(-scale);
}

/// Cardinal B-spline of order p on [0, p], by the recursion in the order
double b_spline(int order, double x) {
    if (x <= 0.0 || x >= order) return 0.0;
    if (order == 1) return 1.0;
    return (x * b_spline(order - 1, x) + (order - x) * b_spline(order - 1, x - 1.0)) / (order - 1);
}

}  // namespace

WindowKind window_kind(const std::string& name) {
    if (name == "kaiser_bessel") return WindowKind::kaiser_bessel;
    if (name == "b_spline") return WindowKind::b_spline;
    throw Error("`window` must be kaiser_bessel or b_spline, got " + name);
}

Window::Window(const WindowShape& shape) : shape_(shape) {
    if (shape.nodes < smallest_window || shape.nodes > largest_window) {
        throw Error("`interpolation_nodes` must be " + std::to_string(smallest_window) + " to " +
                    std::to_string(largest_window) + ", got " + std::to_string(shape.nodes));
    }
    fit();
}

double Window::value(double x) const {
    const double p = shape_.nodes, beta = shape_.shape;
    if (shape_.kind == WindowKind::b_spline) return b_spline(shape_.nodes, x + 0.5 * p);
    // normalised to an integral of 1: the integral of I0(beta sqrt(1 - (2x/p)^2)) is p sinh(beta) / beta
    const double z = 2.0 * x / p;
    return bessel_i0_of_root(beta * beta * std::max(0.0, 1.0 - z * z), beta) / (p * sinhc_of_root(beta * beta, beta));
}

void Window::fit() {
    // Chebyshev interpolation of each piece; B-splines are polynomials of degree p - 1 already. The Kaiser-Bessel
    // degree leaves less than the step of that window at its end.
    const int p = shape_.nodes;
    degree_ = shape_.kind == WindowKind::b_spline ? p - 1 : std::min(p + 4, 18);
    const auto n = static_cast<std::size_t>(degree_ + 1);
    coefficients_.assign(n * static_cast<std::size_t>(p), 0.0);
    std::vector<double> chebyshev(n), monomial(n), current(n), previous(n);
    for (int node = 0; node < p; ++node) {
        for (std::size_t m = 0; m < n; ++m) {
            double sum = 0.0;
            for (std::size_t s = 0; s < n; ++s) {
                const double angle = pi * (static_cast<double>(s) + 0.5) / static_cast<double>(n);
                const double t = 0.5 * (1.0 + std::cos(angle));
                sum += value(1.0 + node - t - 0.5 * p) * std::cos(static_cast<double>(m) * angle);
            }
            chebyshev[m] = sum * (m == 0 ? 1.0 : 2.0) / static_cast<double>(n);
        }
        // T_0 = 1, T_1 = x, T_m = 2 x T_{m-1} - T_{m-2}
        std::fill(monomial.begin(), monomial.end(), 0.0);
        std::fill(previous.begin(), previous.end(), 0.0);
        std::fill(current.begin(), current.end(), 0.0);
        current[0] = 1.0;
        for (std::size_t m = 0; m < n; ++m) {
            for (std::size_t power = 0; power < n; ++power) monomial[power] += chebyshev[m] * current[power];
            std::vector<double> next(n, 0.0);
            for (std::size_t power = 0; power + 1 < n; ++power) next[power + 1] = (m == 0 ? 1.0 : 2.0) * current[power];
            if (m > 0) {
                for (std::size_t power = 0; power < n; ++power) next[power] -= previous[power];
            }
            previous = current;
            current = next;
        }
        for (std::size_t power = 0; power < n; ++power)
            coefficients_[power * static_cast<std::size_t>(p) + static_cast<std::size_t>(node)] = monomial[power];
    }
}

void Window::evaluate(double t, int derivative, double* weights) const {
    const double x = 2.0 * t - 1.0;
    for (int node = 0; node < shape_.nodes; ++node) {
        double sum = 0.0;
        for (int power = degree_; power >= derivative; --power) {
            double factor = coefficient(power, node);
            for (int d = 0; d < derivative; ++d) factor *= 2.0 * (power - d);  // dx/dt = 2
            sum = sum * x + factor;
        }
        weights[node] = sum;
    }
}

double WindowShape::transform(double frequency) const {
    if (kind == WindowKind::b_spline) {
        const double half = 0.5 * frequency;
        return std::abs(half) < 1e-8 ? 1.0 : std::pow(std::sin(half) / half, nodes);
    }
    const double half_width = 0.5 * nodes * frequency;
    return sinhc_of_root(shape * shape - half_width * half_width, shape) / sinhc_of_root(shape * shape, shape);
}

double WindowShape::end_value() const {
    if (kind == WindowKind::b_spline) return 0.0;
    return std::exp(-shape) / (nodes * sinhc_of_root(shape * shape, shape));
}

AliasSums alias_sums(const WindowShape& window, double mode, double mesh) {
    constexpr int explicit_aliases = 6;
    AliasSums sums;
    const double to_frequency = 2.0 * pi / mesh, end = window.end_value();
    const double norm = 1.0 / window.transform(to_frequency * mode);
    const double end_phase = 0.5 * window.nodes * to_frequency * mode;
    for (int b = -explicit_aliases; b <= explicit_aliases; ++b) {
        if (b == 0) continue;
        const double alias = mode + b * mesh, frequency = to_frequency * alias;
        const double value = norm * window.transform(frequency);
        // the integral of w'(x) exp(-i f x) is i (f W(f) - 2 w(p/2) sin(f p/2))
        const double slope =
            alias * value - norm * 2.0 * end * std::sin(end_phase + pi * window.nodes * b) / to_frequency;
        sums.excess += value * value;
        sums.first += slope * value;
        sums.second += slope * slope;
        if (std::abs(b) <= AliasSums::n_harmonics) sums.harmonics[std::abs(b) - 1] += 0.5 * value;
    }
    // beyond: f W(f) - 2 w sin(f p/2) -> -w beta^2 cos(f p/2) / (f p/2), and the sum over b > 6 of 1/b^2 is 1/6.5
    const double far =
        norm * end * window.shape * window.shape * std::cos(end_phase) / (pi * window.nodes * to_frequency);
    sums.second += 2.0 * far * far / (explicit_aliases + 0.5);
    return sums;
}

}  // namespace les
