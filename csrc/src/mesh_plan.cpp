// Windows, spacings and meshes; see mesh_plan.h.
#include "mesh_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "les/error.h"

namespace les {

namespace {

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.4g", value);
    return text;
}

/// The Kaiser-Bessel shape with the smallest error, by golden section; error(WindowShape) has one minimum.
template <class Error>
WindowShape best_window(WindowKind kind, int nodes, const Error& error) {
    if (kind == WindowKind::b_spline) return {kind, nodes, 0.0};
    constexpr double ratio = 0.6180339887498949;
    double low = 1.2 * nodes, high = 3.2 * nodes;
    double left = high - ratio * (high - low), right = low + ratio * (high - low);
    double at_left = error(WindowShape{kind, nodes, left}), at_right = error(WindowShape{kind, nodes, right});
    while (high - low > 0.02 * nodes) {
        if (at_left < at_right) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - ratio * (high - low);
            at_left = error(WindowShape{kind, nodes, left});
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + ratio * (high - low);
            at_right = error(WindowShape{kind, nodes, right});
        }
    }
    return {kind, nodes, 0.5 * (low + high)};
}

/// ... in a large cubic cell
WindowShape best_window(WindowKind kind, int nodes, const AliasError& error, double spacing) {
    return best_window(kind, nodes, [&](const WindowShape& window) { return error(window, spacing); });
}

/// Largest product of spacing and k_cutoff / pi. The sphere of a converged kernel may touch the faces of the mesh in
/// k-space; more would leave out modes that are strong in crystals along the axes. A model's own sphere stays inside.
double largest_reach(const MeshKernel& kernel) { return kernel.converged ? 1.0 : 0.97; }

/// Largest spacing at which `nodes` stay below `target`; 0 if that needs more than six points per smearing length.
double largest_spacing(WindowKind kind, int nodes, const AliasError& error, const MeshKernel& kernel, double target) {
    const auto reached = [&](double spacing) {
        return error(best_window(kind, nodes, error, spacing), spacing) <= target;
    };
    double high = largest_reach(kernel) * pi / kernel.k_cutoff, low = high;
    // downwards in steps: much below the smearing length the ends of a Kaiser-Bessel window count again
    while (!reached(low)) {
        high = low;
        low *= 0.85;
        if (low < kernel.smearing / 6.0) return 0.0;
    }
    while (high - low > 0.005 * high) {
        const double middle = 0.5 * (low + high);
        (reached(middle) ? low : high) = middle;
    }
    return low;
}

double spacing_of(const Matrix3& cell, const std::array<int, 3>& mesh) {
    double spacing = 0.0;
    for (std::size_t a = 0; a < 3; ++a) spacing = std::max(spacing, length(cell[a]) / mesh[a]);
    return spacing;
}

/// Waves along a cell vector inside the sphere: |n_a| = |k . a_a| / 2 pi <= k_c |a_a| / 2 pi
int waves_along(const MeshKernel& kernel, const Vector3& vector) {
    return static_cast<int>(std::floor(kernel.k_cutoff * length(vector) / (2.0 * pi) + 1e-6));
}

}  // namespace

void check_options(const LongRangeParameters& parameters, const LongRangeOptions& options) {
    if (options.solver != "auto" && options.solver != "mesh" && options.solver != "direct")
        throw Error("`solver` must be auto, mesh or direct, got " + options.solver);
    if (options.solver == "direct") {
        const char* useless = options.mesh                        ? "mesh"
                              : options.mesh_spacing              ? "mesh_spacing"
                              : options.interpolation_nodes       ? "interpolation_nodes"
                              : options.window != "kaiser_bessel" ? "window"
                                                                  : nullptr;
        if (useless != nullptr)
            throw Error("`" + std::string(useless) +
                        "` has no effect on the direct sum; remove it or take `solver` mesh");
    }
    if (!(options.accuracy >= 1e-8 && options.accuracy <= 1e-2))
        throw Error("`accuracy` must be between 1e-8 and 1e-2, got " + number(options.accuracy));
    if (!options.dtype.empty() && options.dtype != "float32" && options.dtype != "float64")
        throw Error("the dtype of the mesh must be float32 or float64, got " + options.dtype);
    if (options.dtype == "float32" && options.accuracy < 1e-6) {
        throw Error("a float32 mesh reaches an `accuracy` of 1e-6 at best, got " + number(options.accuracy) +
                    "; take float64 for the mesh");
    }
    window_kind(options.window);
    if (options.interpolation_nodes &&
        (*options.interpolation_nodes < smallest_window || *options.interpolation_nodes > largest_window)) {
        throw Error("`interpolation_nodes` must be " + std::to_string(smallest_window) + " to " +
                    std::to_string(largest_window) + ", got " + std::to_string(*options.interpolation_nodes));
    }
    if (options.mesh_spacing && !(std::isfinite(*options.mesh_spacing) && *options.mesh_spacing > 0.0))
        throw Error("`mesh_spacing` must be positive, got " + number(*options.mesh_spacing) + " angstrom");
    if (options.mesh && options.mesh_spacing)
        throw Error("`mesh` and `mesh_spacing` exclude each other; give one of them");
    if (options.mesh) {
        for (const int points : *options.mesh) {
            if (points < smallest_window) {
                throw Error("`mesh` must have at least " + std::to_string(smallest_window) +
                            " points along each cell vector, got " + std::to_string(points));
            }
        }
    }
    if (options.freeze_k_set && !parameters.k_cutoff) {
        throw Error(
            "`freeze_k_set` is for models with their own k_cutoff; this one has the converged kernel, whose energy "
            "does "
            "not depend on a set of wave vectors; remove the option");
    }
}

int kept_modes(const MeshKernel& kernel, const Matrix3& members, const std::array<int, 3>& mesh) {
    const int waves = static_cast<int>(std::floor(kernel.k_cutoff * length(members[2]) / (2.0 * pi) + 1e-6));
    return std::min((std::min(waves, (mesh[2] - 1) / 2) + 4) / 4 * 4, mesh[2] / 2 + 1);
}

std::string warning_of_error(const MeshReport& report) {
    if (report.estimated_error <= 0.7 * report.asked_accuracy) return {};
    char text[200];
    std::snprintf(text, sizeof(text),
                  "the estimated error with the mesh and window given, %.2g, is too near the accuracy asked for, %.2g; "
                  "choose a smaller mesh_spacing or more interpolation_nodes",
                  report.estimated_error, report.asked_accuracy);
    return text;
}

int fast_length(int least, bool real_axis) {
    int best = 0;
    double lowest_cost = std::numeric_limits<double>::max();
    const int start = std::max(smallest_window, least);
    for (int n = start; n <= start + start / 6 + 8; ++n) {
        if (real_axis && n % 2 != 0) continue;
        int rest = n, sevens = 0;
        for (const int factor : {2, 3, 5}) {
            while (rest % factor == 0) rest /= factor;
        }
        for (; rest % 7 == 0; rest /= 7) ++sevens;
        if (rest != 1) continue;
        // measured per point against the powers of 2, 3 and 5 that are multiples of 4
        const double cost = n * (1.0 + 0.08 * sevens) * (n % 4 == 0 ? 1.0 : 1.04);
        if (cost < lowest_cost) {
            lowest_cost = cost;
            best = n;
        }
    }
    return best;
}

MeshScheme choose_scheme(const LongRangeParameters& parameters, const LongRangeOptions& options, const Matrix3& cell,
                         std::int64_t n_atoms) {
    MeshScheme scheme;
    const WindowKind kind = window_kind(options.window);
    scheme.window.kind = kind;
    const double target = 0.5 * options.accuracy;
    scheme.kernel.smearing = parameters.smearing;
    scheme.kernel.converged = !parameters.k_cutoff;
    // few charges may be as good as one: a pair of ions among neutral atoms feels its own errors most
    const double n = static_cast<double>(std::max<std::int64_t>(1, n_atoms));
    scheme.kernel.density = n / (1.0 + 12.0 / n) / volume_of(cell);
    scheme.kernel.box_length = std::cbrt(volume_of(cell));
    scheme.kernel.k_cutoff =
        parameters.k_cutoff.value_or(converged_k_cutoff(parameters.smearing, 0.7 * target, 2.5 * options.accuracy));
    std::optional<double> spacing = options.mesh_spacing;
    if (options.mesh) spacing = spacing_of(cell, *options.mesh);
    if (spacing && scheme.kernel.converged)
        scheme.kernel.k_cutoff = std::min(scheme.kernel.k_cutoff, largest_reach(scheme.kernel) * pi / *spacing);
    const double lost = scheme.kernel.converged ? truncation_error(parameters.smearing, scheme.kernel.k_cutoff) : 0.0;
    const double alias_target = std::sqrt(std::max(0.01 * target * target, target * target - lost * lost));
    const AliasError error(scheme.kernel);

    double lowest_cost = std::numeric_limits<double>::max(), lowest_error = lowest_cost;
    for (int nodes = options.interpolation_nodes.value_or(smallest_window);
         nodes <= options.interpolation_nodes.value_or(largest_window); ++nodes) {
        MeshScheme candidate = scheme;
        candidate.spacing = spacing.value_or(largest_spacing(kind, nodes, error, scheme.kernel, alias_target));
        if (candidate.spacing == 0.0) continue;
        const double at = std::min(candidate.spacing, largest_reach(scheme.kernel) * pi / scheme.kernel.k_cutoff);
        candidate.window = best_window(kind, nodes, error, at);
        const double estimate = error(candidate.window, at);
        if (estimate <= alias_target * 1.001) {
            const double cost =
                mesh_cost(candidate, choose_mesh(candidate, options, cell), n_atoms, options.dtype == "float32");
            if (cost < lowest_cost) {
                lowest_cost = cost;
                scheme = candidate;
            }
        } else if (lowest_cost == std::numeric_limits<double>::max() && estimate < lowest_error) {
            // a given mesh cannot reach the accuracy: the best it can do, with its error printed
            lowest_error = estimate;
            scheme = candidate;
        }
    }
    if (scheme.window.nodes == 0) {
        throw Error("an `accuracy` of " + number(options.accuracy) + " is out of reach of " +
                    std::to_string(options.interpolation_nodes.value_or(largest_window)) +
                    " `interpolation_nodes` with the " + options.window + " window; give more nodes or leave them out");
    }
    // the cell itself: small and skewed ones can ask for more than a large cubic one
    for (int attempt = 0; attempt < 24; ++attempt) {
        const std::array<int, 3> mesh = choose_mesh(scheme, options, cell);
        const auto error_here = [&](const WindowShape& window) {
            return mesh_error(scheme.kernel, window, cell, mesh);
        };
        scheme.window = best_window(kind, scheme.window.nodes, error_here);
        if (spacing || error_here(scheme.window) <= 1.05 * target) break;
        if (attempt % 4 == 3 && !options.interpolation_nodes && scheme.window.nodes < largest_window) {
            ++scheme.window.nodes;
        } else {
            scheme.spacing *= 0.96;
            if (scheme.kernel.converged) scheme.kernel.k_cutoff /= 0.96;
        }
    }
    return scheme;
}

bool is_other_system(const Matrix3& cell, double n_atoms, const Matrix3& other_cell, double other_n_atoms) {
    const auto differ = [](double a, double b) { return a > 1.5 * b || b > 1.5 * a; };
    bool other = differ(n_atoms, other_n_atoms);
    for (std::size_t a = 0; a < 3; ++a) other = other || differ(length(cell[a]), length(other_cell[a]));
    return other;
}

std::array<int, 3> choose_mesh(const MeshScheme& scheme, const LongRangeOptions& options, const Matrix3& cell) {
    std::array<int, 3> mesh{};
    for (std::size_t a = 0; a < 3; ++a) {
        const int waves = waves_along(scheme.kernel, cell[a]),
                  least = std::max(scheme.window.nodes, scheme.kernel.converged ? 0 : 2 * waves + 1);
        if (options.mesh) {
            mesh[a] = (*options.mesh)[a];
            if (mesh[a] < scheme.window.nodes) {
                throw Error(
                    "`mesh` must have at least as many points along each cell vector as `interpolation_nodes` (" +
                    std::to_string(scheme.window.nodes) + "), got " + std::to_string(mesh[a]));
            }
            if (mesh[a] < 2 * waves + 1 && !scheme.kernel.converged) {
                throw Error("`mesh` must have at least " + std::to_string(2 * waves + 1) +
                            " points along cell vector " + std::to_string(a) + " for wave vectors up to " +
                            number(scheme.kernel.k_cutoff) + " 1/angstrom, got " + std::to_string(mesh[a]));
            }
            continue;
        }
        const double points = std::ceil(length(cell[a]) / scheme.spacing - 1e-9);
        if (points > 1e6) {
            throw Error("the mesh would need " + number(points) + " points along cell vector " + std::to_string(a) +
                        ", which is " + number(length(cell[a])) +
                        " angstrom long; choose a larger `mesh_spacing` or cell");
        }
        if (options.mesh_spacing && points < 2 * waves + 1 && !scheme.kernel.converged) {
            throw Error("`mesh_spacing` must be below " + number(pi / scheme.kernel.k_cutoff) +
                        " angstrom for wave vectors up to " + number(scheme.kernel.k_cutoff) + " 1/angstrom, got " +
                        number(*options.mesh_spacing));
        }
        mesh[a] = fast_length(std::max(least, static_cast<int>(points)), a == 2);
    }
    return mesh;
}

double mesh_cost(const MeshScheme& scheme, const std::array<int, 3>& mesh, std::int64_t n_atoms, bool single) {
    // one core at 3 GHz; only ratios matter
    const double p = scheme.window.nodes;
    const double vectors = single ? std::ceil(p / 8.0) : std::ceil(p / 4.0) * 0.5;
    const double atom = 60e-9 + 1.6e-9 * p * p * vectors, point = single ? 6e-9 : 9e-9;
    return 2e-5 + static_cast<double>(n_atoms) * atom + point * mesh[0] * static_cast<double>(mesh[1]) * mesh[2];
}

double direct_cost(const LongRangeParameters& parameters, const Matrix3& cell, std::int64_t n_atoms) {
    const double kc = parameters.k_cutoff.value_or(6.44 / parameters.smearing);
    const double half_sphere = 0.5 * volume_of(cell) * kc * kc * kc / (6.0 * pi * pi);
    double axes = 0.0;
    for (const auto& vector : cell) axes += kc * length(vector) / pi;
    return static_cast<double>(n_atoms) * (2.5e-9 * half_sphere + 25e-9 * axes);
}

}  // namespace les
