// A-priori errors; see mesh_error.h.
#include "mesh_error.h"

#include <algorithm>
#include <cmath>

namespace les {

namespace {

/// Nodes and weights of Gauss-Legendre quadrature on [0, 1], by Newton's method on the Legendre polynomial.
std::vector<std::array<double, 2>> gauss_legendre(int n) {
    std::vector<std::array<double, 2>> rule;
    for (int i = 0; i < n; ++i) {
        double x = std::cos(pi * (i + 0.75) / (n + 0.5)), slope = 1.0;
        for (int iteration = 0; iteration < 60; ++iteration) {
            double value = 1.0, previous = 0.0;
            for (int m = 1; m <= n; ++m) {
                const double next = ((2.0 * m - 1.0) * x * value - (m - 1.0) * previous) / m;
                previous = value;
                value = next;
            }
            slope = n * (x * value - previous) / (x * x - 1.0);
            const double step = value / slope;
            x -= step;
            if (std::abs(step) < 1e-15) break;
        }
        rule.push_back({0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope)});
    }
    return rule;
}

/// Square of the rms force of a unit charge on itself over the rms force at random, from the mean over k-space of A
/// times the window's harmonics; the first one is taken out by the solver.
double self_error_squared(const double* harmonics, double spacing, double density, double norm) {
    double sum = 0.0;
    for (int h = 1; h < AliasSums::n_harmonics; ++h) {
        const double amplitude = 2.0 * pi * (h + 1) / spacing * harmonics[h];
        sum += 2.0 * amplitude * amplitude;
    }
    // F = 4 N_F (2 pi)^-3 amplitude, against (2 N_F)^2 density (2 pi)^-3 norm
    return sum / (8.0 * pi * pi * pi * density * norm);
}

/// The sum over integer vectors of 1/n^4 is 16.532 and the integral from n on 4 pi / n: n = 0.760.
constexpr double sum_of_fourth_powers = 16.532316, longest_wave = 2.0 * pi * 4.0 * pi / sum_of_fourth_powers;

}  // namespace

double truncation_error(double smearing, double k_cutoff) {
    // integral of A^2 k^2 d^3k beyond the cutoff over the whole: erfc(sigma k_c)
    return std::sqrt(std::erfc(smearing * k_cutoff));
}

double converged_k_cutoff(double smearing, double force_error, double virial_error) {
    double low = 0.0, high = 26.0 / smearing;
    for (int step = 0; step < 80; ++step) {
        const double middle = 0.5 * (low + high), x = smearing * middle;
        const bool enough =
            truncation_error(smearing, middle) <= force_error && x * x * std::exp(-0.5 * x * x) <= virial_error;
        (enough ? high : low) = middle;
    }
    return high;
}

AliasError::AliasError(const MeshKernel& kernel) {
    const double kc = kernel.k_cutoff, sigma_sq = kernel.smearing * kernel.smearing;
    const auto rule = gauss_legendre(24);
    for (const auto& [node, weight] : rule) {
        Slice slice{node * kc, 0.0, 0.0, 0.0};
        // integrals over the disc k_z = const: 2 pi rho d(rho) = pi d(k^2), in ln(k^2) for the pole at small k; the
        // sphere left out at the centre makes the integral of 1/k^4 that of the sum over modes
        const double smallest = std::max(slice.kz, longest_wave / kernel.box_length);
        const double lowest = std::log(smallest * smallest), span = std::log(kc * kc) - lowest;
        for (const auto& [x, w] : rule) {
            const double k_sq = std::exp(lowest + x * span);
            const double squared = pi * k_sq * span * w * std::exp(-sigma_sq * k_sq) / (k_sq * k_sq);
            slice.force_weight += squared * k_sq;
            slice.potential_weight += squared;
            slice.kernel_weight += pi * span * w * std::exp(-0.5 * sigma_sq * k_sq);
        }
        // both signs of k_z; errors along three axes
        slice.force_weight *= 6.0 * kc * weight;
        slice.potential_weight *= 6.0 * kc * weight;
        slice.kernel_weight *= 2.0 * kc * weight;
        slices_.push_back(slice);
    }
    const double whole = std::sqrt(pi) / (2.0 * kernel.smearing);
    density_ = kernel.density;
    norm_ = 4.0 * pi * whole * (kernel.converged ? 1.0 : std::erf(kernel.smearing * kc));
}

double AliasError::operator()(const WindowShape& window, double spacing) const {
    double sum = 0.0, harmonics[AliasSums::n_harmonics] = {};
    const double unit = 2.0 * pi / spacing;
    for (const Slice& slice : slices_) {
        if (slice.kz >= 0.5 * unit) {
            sum += slice.force_weight;
            continue;
        }
        const AliasSums alias = alias_sums(window, slice.kz / unit, 1.0);
        // leading order: charge and field see aliases along one axis
        sum += alias.excess * (2.0 * slice.force_weight - slice.potential_weight * slice.kz * slice.kz) +
               slice.potential_weight * alias.second * unit * unit;
        for (int h = 0; h < AliasSums::n_harmonics; ++h) harmonics[h] += slice.kernel_weight * alias.harmonics[h];
    }
    return std::sqrt(sum / norm_ + 3.0 * self_error_squared(harmonics, spacing, density_, norm_));
}

namespace {

/// Sum of 1/k^4 over modes up to `k_high`, per volume.
double long_waves(const Matrix3& cell, double k_high) {
    const Matrix3 reciprocal = reciprocal_of(cell);
    std::array<int, 3> reach{};
    for (std::size_t a = 0; a < 3; ++a) reach[a] = static_cast<int>(std::floor(k_high * length(cell[a]) / (2.0 * pi)));
    // the sum over integer vectors of 1/n^4 is 16.532, less the integral of 1/k^4 beyond k_high
    if (4.0 * reach[0] * reach[1] * reach[2] > 3e5)
        return (sum_of_fourth_powers * std::cbrt(volume_of(cell)) / (2.0 * pi) - 4.0 * pi / k_high) /
               std::pow(2.0 * pi, 3);
    double sum = 0.0;
    for (int n0 = 0; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                const Vector3 k = wave_vector(reciprocal, n0, n1, n2);
                const double k_sq = dot(k, k);
                if (k_sq > 0.0 && k_sq <= k_high * k_high) sum += (n0 == 0 ? 1.0 : 2.0) / (k_sq * k_sq);
            }
        }
    }
    return sum / volume_of(cell);
}

/// Sum of A^2 k^2 over the modes of a small cell beyond the cutoff, where they are too few for the integral.
double force_beyond(const MeshKernel& kernel, const Matrix3& reciprocal, const Matrix3& cell) {
    const double sigma_sq = kernel.smearing * kernel.smearing;
    const double inner = kernel.k_cutoff * kernel.k_cutoff * (1.0 + 1e-9), outer = inner + 10.0 / sigma_sq;
    std::array<int, 3> reach{};
    for (std::size_t a = 0; a < 3; ++a)
        reach[a] = static_cast<int>(std::floor(std::sqrt(outer) * length(cell[a]) / (2.0 * pi)));
    double sum = 0.0;
    for (int n0 = 0; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                const Vector3 k = wave_vector(reciprocal, n0, n1, n2);
                const double k_sq = dot(k, k);
                if (k_sq > inner && k_sq <= outer) sum += (n0 == 0 ? 1.0 : 2.0) * std::exp(-sigma_sq * k_sq) / k_sq;
            }
        }
    }
    return sum;
}

}  // namespace

double mesh_error(const MeshKernel& kernel, const WindowShape& window, const Matrix3& cell,
                  const std::array<int, 3>& mesh) {
    constexpr double enough = 12.0;
    Matrix3 small = cell;
    std::array<double, 3> points{};
    std::array<int, 3> reach{};
    bool whole = true;
    for (std::size_t a = 0; a < 3; ++a) {
        const double waves = kernel.k_cutoff * length(cell[a]) / (2.0 * pi);
        const double scale = std::min(1.0, enough / waves);
        whole = whole && scale == 1.0;
        for (double& component : small[a]) component *= scale;
        points[a] = scale * mesh[a];
        reach[a] = static_cast<int>(std::floor(waves * scale + 1e-6));
    }
    const Matrix3 reciprocal = reciprocal_of(small);
    std::array<std::vector<AliasSums>, 3> alias;
    for (std::size_t a = 0; a < 3; ++a) {
        for (int n = -reach[a]; n <= reach[a]; ++n) alias[a].push_back(alias_sums(window, n, points[a]));
    }
    const double limit = kernel.k_cutoff * kernel.k_cutoff * (1.0 + 1e-9);
    const double sigma_sq = kernel.smearing * kernel.smearing;
    double error = 0.0, norm = 0.0;
    std::array<std::array<double, AliasSums::n_harmonics>, 3> harmonics{};
    for (int n0 = 0; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                const Vector3 k = wave_vector(reciprocal, n0, n1, n2);
                const double k_sq = dot(k, k);
                if (k_sq > limit || (n0 == 0 && n1 == 0 && n2 == 0)) continue;
                const double both = n0 == 0 ? 1.0 : 2.0, kernel_of_k = std::exp(-0.5 * sigma_sq * k_sq) / k_sq;
                const double weight = both * kernel_of_k * kernel_of_k;
                norm += weight * k_sq;
                const std::array<int, 3> n{n0, n1, n2};
                if (2 * std::abs(n0) >= points[0] || 2 * std::abs(n1) >= points[1] || 2 * std::abs(n2) >= points[2]) {
                    error += weight * k_sq;  // no place on the mesh
                    continue;
                }
                const std::array<const AliasSums*, 3> s{&alias[0][static_cast<std::size_t>(n0 + reach[0])],
                                                        &alias[1][static_cast<std::size_t>(n1 + reach[1])],
                                                        &alias[2][static_cast<std::size_t>(n2 + reach[2])]};
                const double e0 = s[0]->excess, e1 = s[1]->excess, e2 = s[2]->excess;
                const double excess = e0 + e1 + e2 + e0 * e1 + e0 * e2 + e1 * e2 + e0 * e1 * e2;
                // sum over aliases of the squared field, less k^2
                double field = 0.0;
                for (std::size_t a = 0; a < 3; ++a) {
                    const std::size_t b = (a + 1) % 3, c = (a + 2) % 3;
                    const double gaa = dot(reciprocal[a], reciprocal[a]), gab = dot(reciprocal[a], reciprocal[b]);
                    const double others = s[b]->excess + s[c]->excess + s[b]->excess * s[c]->excess;
                    field += gaa * (n[a] * n[a] * others + s[a]->second * (1.0 + others));
                    const double shifted = n[a] * s[b]->first + n[b] * s[a]->first + s[a]->first * s[b]->first;
                    field += 2.0 * gab * (n[a] * n[b] * s[c]->excess + shifted * (1.0 + s[c]->excess));
                }
                error += weight * (excess * (k_sq + field) + field);
                for (std::size_t a = 0; a < 3; ++a) {
                    for (std::size_t h = 0; h < AliasSums::n_harmonics; ++h)
                        harmonics[a][h] += both * kernel_of_k * s[a]->harmonics[h];
                }
            }
        }
    }
    if (!whole) {
        // the long waves of the large cell, whose potentials are largest, in place of those of the small one
        double shortest = length(small[0]), slopes = 0.0;
        for (const auto& vector : small) shortest = std::min(shortest, length(vector));
        for (std::size_t a = 0; a < 3; ++a)
            slopes += dot(reciprocal[a], reciprocal[a]) * alias[a][static_cast<std::size_t>(reach[a])].second;
        const double k_low = 3.0 * 2.0 * pi / shortest;
        error += slopes * volume_of(small) * (long_waves(cell, k_low) - long_waves(small, k_low));
    }
    double lost = kernel.converged ? truncation_error(kernel.smearing, kernel.k_cutoff) : 0.0;
    if (kernel.converged && whole) lost = std::sqrt(force_beyond(kernel, reciprocal, small) / norm);
    if (norm == 0.0) return lost;
    // sums over modes to integrals over k-space
    const double cell_of_modes = 8.0 * pi * pi * pi / volume_of(small);
    double self = 0.0;
    for (std::size_t a = 0; a < 3; ++a) {
        for (double& value : harmonics[a]) value *= cell_of_modes;
        self +=
            self_error_squared(harmonics[a].data(), length(small[a]) / points[a], kernel.density, norm * cell_of_modes);
    }
    return std::sqrt(std::max(0.0, error) / norm + self + lost * lost);
}

}  // namespace les
