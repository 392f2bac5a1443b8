// The bodies of the CUDA kernels, run by ordinary loops, against the mesh solver of the CPU: any cell, several
// channels, both windows of every width, both precisions and both ways of spreading; then what each of them promises by
// itself.
#include <cmath>
#include <random>

#include "../cpp/check.h"
#include "emulated_mesh.h"

namespace {

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
Box random_box(const Matrix3& cell, int n_atoms, int n_channels, unsigned seed) {
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

const Matrix3 cubic{{{12.0, 0.0, 0.0}, {0.0, 12.0, 0.0}, {0.0, 0.0, 12.0}}};
const Matrix3 skewed{{{13.0, 0.0, 0.0}, {4.0, 11.0, 0.0}, {-5.0, 3.0, 17.0}}};
const Matrix3 small{{{5.0, 0.3, 0.0}, {0.2, 6.1, -0.4}, {0.0, 0.1, 5.5}}};
const Matrix3 left_handed{{{0.0, 14.0, 1.0}, {11.0, 0.0, 0.0}, {0.0, 2.0, 25.0}}};

double rms(const std::vector<double>& values) {
    double sum = 0.0;
    for (const double value : values) sum += value * value;
    return std::sqrt(sum / static_cast<double>(values.size()));
}

/// Relative to the rms, or to `least` where symmetry leaves nothing.
void check_arrays(const std::vector<double>& got, const std::vector<double>& expected, double tolerance, double least,
                  const std::string& what) {
    CHECK(got.size() == expected.size());
    const double scale = std::max(least, rms(expected));
    for (std::size_t i = 0; i < got.size(); ++i) check_close(got[i], expected[i], tolerance, scale, what);
}

struct Case {
    std::string name;
    Box box;
    int n_channels;
    les::LongRangeParameters parameters;
    les::LongRangeOptions options;
};

/// Energy, potentials, forces, virial and net force as the CPU solver has them.
template <class Real>
void check_solver(const Case& example, bool deterministic) {
    les::LongRangeOptions options = example.options;
    options.solver = "mesh";
    options.dtype = sizeof(Real) == 4 ? "float32" : "float64";
    const double tolerance = sizeof(Real) == 4 ? 1e-5 : 1e-10;
    const std::string what = example.name + " " + options.dtype + (deterministic ? " collected" : " scattered");
    const auto reference = les::make_mesh_solver(example.parameters, example.n_channels, options);
    les::SingleProcess alone;
    const auto& expected = reference->compute(example.box.system(), example.box.charges, alone);
    les::cuda::EmulatedMesh<Real> mesh(example.parameters, example.n_channels, options, deterministic);
    mesh.compute(example.box.cell, example.box.positions, example.box.charges);
    const les::MeshReport &got = mesh.setup().report(), &report = *reference->mesh_report();
    CHECK(got.mesh == report.mesh && got.interpolation_nodes == report.interpolation_nodes);
    CHECK(got.estimated_error == report.estimated_error && got.shape == report.shape);
    const double charge = rms(example.box.charges), least = charge * charge;
    check_arrays(mesh.potentials, expected.potentials, tolerance, charge, what + " potentials");
    check_arrays(mesh.forces, expected.forces, tolerance, least, what + " forces");
    double size = 0.0;
    for (std::size_t i = 0; i < expected.potentials.size(); ++i)
        size += std::abs(0.5 * example.box.charges[i] * expected.potentials[i]);
    check_close(mesh.summary.energy, expected.energy, tolerance, size, what + " energy");
    double virial = 0.0;
    for (const auto& row : expected.virial) {
        for (const double component : row) virial += component * component;
    }
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            check_close(mesh.summary.virial[a][b], expected.virial[a][b], tolerance, std::sqrt(virial),
                        what + " virial");
        check_close(mesh.summary.net_force[a], expected.net_force[a], tolerance,
                    std::max(least, rms(expected.forces)) * static_cast<double>(example.box.positions.size()),
                    what + " net force");
    }
    CHECK(mesh.summary.status == 0.0);
    if (!deterministic) return;
    // the same numbers to the last bit, in whatever order threads come
    les::cuda::EmulatedMesh<Real> shuffled(example.parameters, example.n_channels, options, true);
    const auto n = example.box.positions.size() / 3;
    for (std::size_t i = 0; i < n; ++i) shuffled.order.push_back(static_cast<std::int32_t>((7919 * i + 13) % n));
    shuffled.compute(example.box.cell, example.box.positions, example.box.charges);
    CHECK(shuffled.forces == mesh.forces && shuffled.potentials == mesh.potentials);
    CHECK(shuffled.summary.energy == mesh.summary.energy);
}

void check_both(const Case& example) {
    for (const bool deterministic : {true, false}) {
        check_solver<double>(example, deterministic);
        if (example.options.accuracy >= 1e-6) check_solver<float>(example, deterministic);
    }
}

}  // namespace

int main() {
    const les::LongRangeParameters converged;
    les::LongRangeParameters truncated, narrow;
    truncated.k_cutoff = les::pi;
    truncated.remove_self_interaction = false;
    narrow.smearing = 0.7;
    const auto option = [](double accuracy) {
        les::LongRangeOptions options;
        options.accuracy = accuracy;
        return options;
    };
    check_both({"cubic", random_box(cubic, 101, 1, 1), 1, converged, option(1e-4)});
    check_both({"cubic truncated", random_box(cubic, 101, 1, 2), 1, truncated, option(1e-4)});
    check_both({"skewed, two channels", random_box(skewed, 211, 2, 3), 2, converged, option(1e-3)});
    check_both({"skewed, narrow charges", random_box(skewed, 67, 1, 4), 1, narrow, option(1e-5)});
    check_both({"small", random_box(small, 23, 3, 5), 3, converged, option(1e-4)});
    check_both({"small truncated", random_box(small, 23, 1, 6), 1, truncated, option(1e-2)});
    check_both({"left-handed", random_box(left_handed, 300, 1, 7), 1, truncated, option(1e-4)});
    check_both({"one atom", random_box(cubic, 1, 1, 8), 1, converged, option(1e-4)});
    for (int nodes = les::smallest_window; nodes <= les::largest_window; ++nodes) {
        for (const std::string window : {"kaiser_bessel", "b_spline"}) {
            Case example{window + " of " + std::to_string(nodes), random_box(skewed, 90, 1, 9), 1, truncated,
                         option(1e-2)};
            example.options.window = window;
            example.options.interpolation_nodes = nodes;
            // meshes as small as the window, with last tiles of one point and without a rest
            example.options.mesh = std::array<int, 3>{nodes % 2 == 0 ? 17 : 24, 16 + nodes % 5, 19};
            check_both(example);
        }
    }
    std::puts("the bodies of the CUDA kernels agree with the CPU solver");
    return 0;
}
