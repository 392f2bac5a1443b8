// The bodies of the CUDA kernels, run by ordinary loops, against the mesh solver of the CPU; then what each promises by
// itself: charge is conserved, no order of threads changes a bit, and what is not finite leaves no number.
#include <numeric>

#include "emulated_mesh.h"
#include "mesh_cases.h"

namespace {

using les::cuda::EmulatedMesh;

template <class Real>
les::LongRangeResult result_of(const EmulatedMesh<Real>& mesh) {
    les::LongRangeResult result;
    result.energy = mesh.summary.energy;
    result.potentials = mesh.potentials;
    result.forces = mesh.forces;
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) result.virial[a][b] = mesh.summary.virial[a][b];
        result.net_force[a] = mesh.summary.net_force[a];
    }
    return result;
}

template <class Real>
void check_solver(const cases::Case& example, const les::LongRangeOptions& options, bool deterministic,
                  const std::string& what) {
    const cases::Box& box = example.box;
    EmulatedMesh<Real> mesh(example.parameters, example.n_channels, options, deterministic);
    mesh.compute(box.cell, box.positions, box.charges);
    CHECK(mesh.summary.status == 0.0);
    cases::check_result(example, options, result_of(mesh), mesh.setup().report(), what);
    // once more, with atoms and threads in another order: not a bit may change in the deterministic mode
    const auto n = box.positions.size() / 3;
    for (std::size_t i = 0; i < n; ++i) mesh.order.push_back(static_cast<std::int32_t>((7919 * i + 13) % n));
    mesh.backwards = true;
    const les::LongRangeResult first = result_of(mesh);
    mesh.compute(box.cell, box.positions, box.charges);
    if (deterministic) {
        CHECK(mesh.forces == first.forces && mesh.potentials == first.potentials);
        CHECK(mesh.summary.energy == first.energy && result_of(mesh).virial == first.virial);
    } else {
        cases::check_result(example, options, result_of(mesh), mesh.setup().report(), what + " again,");
    }
}

/// The window's weights add up to 1 but for its own error, so the mesh holds the charge.
void check_charge_on_mesh() {
    const cases::Case example = cases::all_cases().front();
    for (const bool deterministic : {true, false}) {
        les::LongRangeOptions options = cases::asked(1e-6);
        options.window = "b_spline";
        EmulatedMesh<double> mesh(example.parameters, 1, options, deterministic);
        const auto spread = mesh.spread(example.box.cell, example.box.positions, example.box.charges);
        const auto& shape = mesh.setup().shape();
        double on_mesh = 0.0;
        for (std::int64_t row = 0; row < shape.points[0] * shape.points[1]; ++row) {
            const double* begin = spread.data() + row * shape.row();
            on_mesh = std::accumulate(begin, begin + shape.points[2], on_mesh);
        }
        const double sum = std::accumulate(example.box.charges.begin(), example.box.charges.end(), 0.0);
        check_close(on_mesh, sum, 1e-12, cases::rms(example.box.charges) * 100.0, "charge on the mesh");
    }
}

/// A cell that changes, as under a barostat: the same as a solver that starts with it.
void check_changing_cell() {
    cases::Case example = cases::all_cases().front();
    les::LongRangeOptions options = cases::asked(1e-4);
    options.solver = "mesh";
    options.dtype = "float64";
    const auto reference = les::make_mesh_solver(example.parameters, 1, options);
    les::SingleProcess alone;
    EmulatedMesh<double> mesh(example.parameters, 1, options, true);
    for (const double factor : {1.0, 0.99, 1.06, 1.7}) {
        cases::Box box = example.box;
        for (auto& row : box.cell) row[0] *= factor;
        for (std::size_t i = 0; i < box.positions.size(); i += 3) box.positions[i] *= factor;
        const auto& expected = reference->compute(box.system(), box.charges, alone);
        mesh.compute(box.cell, box.positions, box.charges);
        CHECK(mesh.setup().report().mesh == reference->mesh_report()->mesh);
        cases::check_arrays(mesh.forces, expected.forces, 1e-10, 0.0, "forces in a cell that changes");
    }
}

void check_not_finite() {
    const cases::Case example = cases::all_cases().front();
    EmulatedMesh<double> mesh(example.parameters, 1, cases::asked(1e-4), true);
    for (const bool position : {true, false}) {
        cases::Box box = example.box;
        (position ? box.positions[20] : box.charges[7]) = position ? INFINITY : NAN;
        mesh.compute(box.cell, box.positions, box.charges);
        CHECK(mesh.summary.status == 1.0 && std::isnan(mesh.summary.energy) && std::isnan(mesh.summary.virial[1][2]));
    }
    // and the next evaluation is right again
    mesh.compute(example.box.cell, example.box.positions, example.box.charges);
    CHECK(mesh.summary.status == 0.0 && std::isfinite(mesh.summary.energy));
}

void check_refusals() {
    const les::LongRangeParameters parameters;
    les::LongRangeOptions options;
    options.solver = "direct";
    check_error([&] { les::cuda::MeshSetup(parameters, 1, options); },
                "the direct sum has no CUDA kernels; take `solver` mesh or auto");
    check_error([&] { les::cuda::MeshSetup(parameters, 0, {}); }, "`n_channels` must be at least 1, got 0");
    check_error([&] { les::cuda::MeshSetup(parameters, 1, {}).set_cell({}, 5); },
                "`cell` must have three independent vectors, got a volume of 0");
    check_error([&] { les::cuda::MeshSetup(parameters, 1, cases::asked(0.5)); }, "`accuracy` must be between");
    // refused as often as it comes, and nothing of it is taken over
    const auto cubic = [](double a) { return les::Matrix3{{{a, 0.0, 0.0}, {0.0, a, 0.0}, {0.0, 0.0, a}}}; };
    les::cuda::MeshSetup setup(parameters, 1, cases::asked(1e-4));
    setup.set_cell(cubic(20.0), 1000);
    const std::int32_t points = setup.shape().points[0];
    for (int attempt = 0; attempt < 2; ++attempt)
        check_error([&] { setup.set_cell(cubic(8000.0), 1000); }, "points is more than one GPU's kernels count");
    CHECK(setup.shape().points[0] == points);
}

}  // namespace

int main() {
    cases::for_all([](const auto& example, const auto& options, bool deterministic, const std::string& what) {
        if (options.dtype == "float32") {
            check_solver<float>(example, options, deterministic, what);
        } else {
            check_solver<double>(example, options, deterministic, what);
        }
    });
    check_charge_on_mesh();
    check_changing_cell();
    check_not_finite();
    check_refusals();
    std::puts("the bodies of the CUDA kernels agree with the CPU solver");
    return 0;
}
