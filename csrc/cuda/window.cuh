// The window on the device: piecewise polynomials of the CPU solver (csrc/src/window.h) with the same coefficients,
// evaluated with all loops unrolled. The coefficients travel as a kernel argument, so that each is an operand from
// constant memory and costs no load.
#pragma once

#include "block.cuh"

namespace les::cuda {

/// One degree for both windows: that of the Kaiser-Bessel pieces; pieces of B-splines have zeros above their own.
LES_CONSTEXPR int window_degree(int nodes) { return nodes + 4 < 18 ? nodes + 4 : 18; }

template <class Real, int nodes>
struct WindowPieces {
    static constexpr int degree = window_degree(nodes);
    Real coefficients[degree + 1][nodes];  // highest power of x = 2t - 1 first
};

/// Calls `result(node, weight)` for each node.
template <class Real, int nodes, class Result>
LES_DEVICE void for_weights(const WindowPieces<Real, nodes>& window, Real t, const Result& result) {
    const Real x = 2 * t - 1;
    LES_UNROLL
    for (int node = 0; node < nodes; ++node) {
        Real value = window.coefficients[0][node];
        LES_UNROLL
        for (int power = 1; power <= WindowPieces<Real, nodes>::degree; ++power)
            value = value * x + window.coefficients[power][node];
        result(node, value);
    }
}

/// Calls `result(node, weight, slope)`; the slope is with respect to the mesh coordinate (dx/dt = 2).
template <class Real, int nodes, class Result>
LES_DEVICE void for_weights_and_slopes(const WindowPieces<Real, nodes>& window, Real t, const Result& result) {
    const Real x = 2 * t - 1;
    LES_UNROLL
    for (int node = 0; node < nodes; ++node) {
        Real value = window.coefficients[0][node], slope = 0;
        LES_UNROLL
        for (int power = 1; power <= WindowPieces<Real, nodes>::degree; ++power) {
            slope = slope * x + value;
            value = value * x + window.coefficients[power][node];
        }
        result(node, value, 2 * slope);
    }
}

/// cos(2 pi t) and its derivative for t in [0, 1), the polynomial of the CPU solver.
template <class Real>
LES_DEVICE void ripple(Real t, Real& value, Real& slope) {
    constexpr Real pi = static_cast<Real>(3.14159265358979323846);
    const Real x = 2 * pi * (t - Real(0.5)), y = x * x;
    constexpr Real coefficients[7] = {Real(-1.0 / 479001600.0),
                                      Real(1.0 / 3628800.0),
                                      Real(-1.0 / 40320.0),
                                      Real(1.0 / 720.0),
                                      Real(-1.0 / 24.0),
                                      Real(1.0 / 2.0),
                                      Real(-1.0)};
    Real sum = Real(1.0 / 87178291200.0), by_y = 0;
    LES_UNROLL
    for (int i = 0; i < 7; ++i) {
        by_y = by_y * y + sum;
        sum = sum * y + coefficients[i];
    }
    value = sum;
    slope = 4 * pi * x * by_y;
}

}  // namespace les::cuda
