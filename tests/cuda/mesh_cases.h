// What a mesh on the GPU, or its bodies on the CPU, must agree with: the mesh solver of the CPU for any cell, several
// channels, both windows of every width, both precisions and both ways of spreading.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "../cpp/check.h"
#include "les/les.h"
#include "les/long_range.h"

namespace cases {

using les::Matrix3;

struct Box {
    Matrix3 cell{};
    std::vector<double> positions, charges;

    les::System system() const {
        les::System system;
        system.n_local = system.n_all = static_cast<std::int64_t>(positions.size() / 3);
        system.positions = positions.data();
        system.cell = cell;
        system.periodic = true;
        return system;
    }
};

/// Random charges, also outside the cell, with a crowded corner and exact mesh points among them.
inline Box random_box(const Matrix3& cell, int n_atoms, int n_channels, unsigned seed) {
    Box box;
    box.cell = cell;
    std::mt19937 engine(seed);
    std::uniform_real_distribution<double> uniform(-0.6, 1.7);
    std::normal_distribution<double> normal;
    for (int i = 0; i < n_atoms; ++i) {
        double fraction[3];
        for (double& f : fraction) f = i < 3 ? 0.25 * i : i % 4 == 1 ? 0.03 * uniform(engine) : uniform(engine);
        for (std::size_t x = 0; x < 3; ++x)
            box.positions.push_back(fraction[0] * cell[0][x] + fraction[1] * cell[1][x] + fraction[2] * cell[2][x]);
        for (int channel = 0; channel < n_channels; ++channel) box.charges.push_back(normal(engine) + 0.05);
    }
    return box;
}

struct Case {
    std::string name;
    Box box;
    int n_channels;
    les::LongRangeParameters parameters;
    les::LongRangeOptions options;
};

inline les::LongRangeOptions asked(double accuracy) {
    les::LongRangeOptions options;
    options.accuracy = accuracy;
    return options;
}

inline std::vector<Case> all_cases() {
    const Matrix3 cubic{{{12.0, 0.0, 0.0}, {0.0, 12.0, 0.0}, {0.0, 0.0, 12.0}}};
    const Matrix3 skewed{{{13.0, 0.0, 0.0}, {4.0, 11.0, 0.0}, {-5.0, 3.0, 17.0}}};
    const Matrix3 small{{{5.0, 0.3, 0.0}, {0.2, 6.1, -0.4}, {0.0, 0.1, 5.5}}};
    const Matrix3 left_handed{{{0.0, 14.0, 1.0}, {11.0, 0.0, 0.0}, {0.0, 2.0, 25.0}}};
    const Matrix3 large{{{30.0, 0.0, 0.0}, {0.0, 31.0, 0.0}, {0.0, 7.0, 32.0}}};
    const les::LongRangeParameters converged;
    les::LongRangeParameters truncated, narrow;
    truncated.k_cutoff = 3.14159265358979323846;
    truncated.remove_self_interaction = false;
    narrow.smearing = 0.7;
    std::vector<Case> cases{
        {"cubic", random_box(cubic, 101, 1, 1), 1, converged, asked(1e-4)},
        {"cubic, k_cutoff", random_box(cubic, 101, 1, 2), 1, truncated, asked(1e-4)},
        {"skewed, two channels", random_box(skewed, 211, 2, 3), 2, converged, asked(1e-3)},
        {"skewed, narrow charges", random_box(skewed, 67, 1, 4), 1, narrow, asked(1e-5)},
        {"small, three channels", random_box(small, 23, 3, 5), 3, converged, asked(1e-4)},
        {"small, k_cutoff", random_box(small, 23, 1, 6), 1, truncated, asked(1e-2)},
        {"left-handed", random_box(left_handed, 300, 1, 7), 1, truncated, asked(1e-4)},
        // modes beyond the cutoff by the integral, and the outer shell
        {"large", random_box(large, 500, 1, 8), 1, converged, asked(1e-3)},
        {"one atom", random_box(cubic, 1, 1, 9), 1, converged, asked(1e-4)},
    };
    for (int nodes = 4; nodes <= 16; ++nodes) {
        for (const std::string window : {"kaiser_bessel", "b_spline"}) {
            cases.push_back(
                {window + " of " + std::to_string(nodes), random_box(skewed, 90, 1, 10), 1, truncated, asked(1e-2)});
            les::LongRangeOptions& options = cases.back().options;
            options.window = window;
            options.interpolation_nodes = nodes;
            // meshes hardly larger than the window; last tiles of one point, and whole ones
            options.mesh = std::array<int, 3>{nodes % 2 == 0 ? 17 : 24, 16 + nodes % 5, 19};
        }
    }
    return cases;
}

inline double rms(const std::vector<double>& values) {
    double sum = 0.0;
    for (const double value : values) sum += value * value;
    return std::sqrt(sum / static_cast<double>(values.size()));
}

/// The rms difference relative to the rms, or to `least` where symmetry leaves nothing; no entry ten times as far off.
inline void check_arrays(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                         double least, const std::string& what) {
    CHECK(got.size() == expected.size());
    const double scale = std::max(least, rms(expected));
    std::vector<double> difference;
    for (std::size_t i = 0; i < got.size(); ++i) {
        check_close(got[i], expected[i], 10.0 * tolerance, scale, what);
        difference.push_back(got[i] - expected[i]);
    }
    check_close(rms(difference), 0.0, tolerance, scale, what + " rms difference");
}

/// Energy, potentials, forces, virial and net force as the CPU solver has them, from the same mesh and window.
inline void check_results(const Case& example, const std::string& dtype, const les::LongRangeResult& got,
                          const les::MeshReport& chosen, const les::LongRangeResult& expected,
                          const les::MeshReport& report, const std::string& what) {
    const double tolerance = dtype == "float32" ? 1e-5 : 1e-10;
    CHECK(chosen.mesh == report.mesh && chosen.interpolation_nodes == report.interpolation_nodes);
    CHECK(chosen.estimated_error == report.estimated_error && chosen.shape == report.shape);
    CHECK(chosen.dtype == report.dtype && chosen.window == report.window);
    const double charge = rms(example.box.charges), least = charge * charge;
    check_arrays(got.potentials, expected.potentials, tolerance, charge, what + " potentials");
    check_arrays(got.forces, expected.forces, tolerance, least, what + " forces");
    double size = 0.0, virial = 0.0;
    for (std::size_t i = 0; i < expected.potentials.size(); ++i)
        size += std::abs(0.5 * example.box.charges[i] * expected.potentials[i]);
    check_close(got.energy, expected.energy, tolerance, size, what + " energy");
    for (const auto& row : expected.virial) {
        for (const double component : row) virial += component * component;
    }
    const double force = std::max(least, rms(expected.forces)) * static_cast<double>(example.box.positions.size());
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            check_close(got.virial[a][b], expected.virial[a][b], tolerance, std::sqrt(virial), what + " virial");
        check_close(got.net_force[a], expected.net_force[a], tolerance, force, what + " net force");
    }
}

inline void check_result(const Case& example, const les::LongRangeOptions& options, const les::LongRangeResult& got,
                         const les::MeshReport& chosen, const std::string& what) {
    const auto reference = les::make_mesh_solver(example.parameters, example.n_channels, options);
    les::SingleProcess alone;
    const auto& expected = reference->compute(example.box.system(), example.box.charges, alone);
    check_results(example, options.dtype, got, chosen, expected, *reference->mesh_report(), what);
}

/// Calls check(example, options, deterministic, name) for all cases in both precisions and both ways of spreading.
template <class Check>
void for_all(const Check& check) {
    for (const Case& example : all_cases()) {
        for (const std::string dtype : {"float64", "float32"}) {
            les::LongRangeOptions options = example.options;
            options.solver = "mesh";
            options.dtype = dtype;
            for (const bool deterministic : {true, false}) {
                check(example, options, deterministic,
                      example.name + ", " + dtype + (deterministic ? ", collected:" : ", scattered:"));
            }
        }
    }
}

}  // namespace cases
