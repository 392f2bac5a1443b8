// The interpolation window of the mesh: how one point is spread over `nodes` mesh points along each axis.
// Kaiser-Bessel: I0(beta sqrt(1 - (2x/p)^2)), Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019)
// discuss it and its relatives. B-splines: Essmann et al., J. Chem. Phys. 103, 8577 (1995).
#pragma once

#include <string>
#include <vector>

namespace les {

enum class WindowKind { kaiser_bessel, b_spline };

/// "kaiser_bessel" or "b_spline"; throws les::Error for anything else.
WindowKind window_kind(const std::string& name);

inline constexpr int smallest_window = 4, largest_window = 16;

/// Which window; enough for its Fourier transform.
struct WindowShape {
    WindowKind kind = WindowKind::kaiser_bessel;
    int nodes = 0;       // p, the points along each axis
    double shape = 0.0;  // beta of the Kaiser-Bessel window, ignored by B-splines

    /// Fourier transform at `frequency` (radians per mesh spacing), 1 at zero.
    double transform(double frequency) const;
    /// Value at the end of the window, where a Kaiser-Bessel window steps to zero.
    double end_value() const;
};

/// A point at u (in mesh spacings) has v = u - p/2 + 1, first node floor(v), t = v - floor(v) in [0, 1). Its weight on
/// node floor(v) + j is piece j at t; the weights are polynomials in x = 2t - 1, so that values and derivatives of
/// every order belong together exactly.
class Window {
public:
    /// Throws les::Error for a number of nodes out of range.
    explicit Window(const WindowShape& shape);
    Window(WindowKind kind, int nodes, double shape) : Window(WindowShape{kind, nodes, shape}) {}

    const WindowShape& window_shape() const { return shape_; }
    WindowKind kind() const { return shape_.kind; }
    int nodes() const { return shape_.nodes; }
    double shape() const { return shape_.shape; }
    int degree() const { return degree_; }
    double transform(double frequency) const { return shape_.transform(frequency); }
    /// Coefficient of x^power of piece `node`, lowest power first.
    double coefficient(int power, int node) const {
        return coefficients_[static_cast<std::size_t>(power) * static_cast<std::size_t>(shape_.nodes) +
                             static_cast<std::size_t>(node)];
    }

    /// Weights of all nodes at t, or their derivative of the given order with respect to the position in mesh spacings.
    void evaluate(double t, int derivative, double* weights) const;

private:
    WindowShape shape_;
    int degree_ = 0;
    std::vector<double> coefficients_;  // (degree + 1, nodes)

    double value(double x) const;  // x in mesh spacings from the centre
    void fit();
};

/// Sums over the aliases m + b M of mode m of a window on a mesh of M points, relative to the window's own transform
/// W(m). D is the transform of the window's slope in units of modes: (m + b M) W(m + b M), less what the steps at the
/// ends of a Kaiser-Bessel window would add, for interpolation differentiates between the steps only.
struct AliasSums {
    static constexpr int n_harmonics = 4;
    double excess = 0.0;                 ///< sum over b != 0 of W_b^2
    double first = 0.0;                  ///< sum over b != 0 of D_b W_b
    double second = 0.0;                 ///< sum over b != 0 of D_b^2
    double harmonics[n_harmonics] = {};  ///< mean of W_b and W_-b for b = 1 ... n_harmonics
};
AliasSums alias_sums(const WindowShape& window, double mode, double mesh);
inline AliasSums alias_sums(const Window& window, double mode, double mesh) {
    return alias_sums(window.window_shape(), mode, mesh);
}

}  // namespace les
