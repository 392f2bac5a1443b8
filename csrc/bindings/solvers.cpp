// Bindings of the long-range solvers alone, without a model: charges, positions and cell in, energy, potentials, forces
// and virial out.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "les/les.h"

namespace py = pybind11;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

les::LongRangeParameters parameters_of(double smearing, std::optional<double> k_cutoff, double coulomb_constant,
                                       bool remove_self_interaction) {
    les::LongRangeParameters parameters;
    parameters.smearing = smearing;
    parameters.k_cutoff = k_cutoff;
    parameters.coulomb_constant = coulomb_constant;
    parameters.remove_self_interaction = remove_self_interaction;
    return parameters;
}

les::LongRangeOptions options_of(const std::string& solver, double accuracy, const std::string& window,
                                 std::optional<int> interpolation_nodes, std::optional<double> mesh_spacing,
                                 std::optional<std::array<int, 3>> mesh, const std::string& dtype, bool freeze_k_set) {
    return {solver, accuracy, window, interpolation_nodes, mesh_spacing, mesh, dtype, freeze_k_set};
}

les::Matrix3 matrix_of(const Doubles& cell) {
    les::Matrix3 matrix{};
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            matrix[a][b] = cell.at(static_cast<py::ssize_t>(a), static_cast<py::ssize_t>(b));
    }
    return matrix;
}

py::dict to_dict(const les::MeshReport& report) {
    py::dict plan;
    plan["mesh"] = py::make_tuple(report.mesh[0], report.mesh[1], report.mesh[2]);
    plan["interpolation_nodes"] = report.interpolation_nodes;
    plan["window"] = report.window;
    plan["shape"] = report.shape;
    plan["spacing"] = py::make_tuple(report.spacing[0], report.spacing[1], report.spacing[2]);
    plan["k_cutoff"] = report.k_cutoff;
    plan["dtype"] = report.dtype;
    plan["asked_accuracy"] = report.asked_accuracy;
    plan["estimated_error"] = report.estimated_error;
    return plan;
}

py::dict timings_of(const les::MeshReport& report) {
    py::dict timings;
    timings["sort"] = report.seconds_sorting;
    timings["points_to_mesh"] = report.seconds_points_to_mesh;
    timings["transform_and_filter"] = report.seconds_transform_and_filter;
    timings["mesh_to_points"] = report.seconds_mesh_to_points;
    return timings;
}

template <class Values>
py::array_t<double> to_numpy(const Values& values, const std::vector<py::ssize_t>& shape) {
    py::array_t<double> array(shape);
    std::copy(values.begin(), values.end(), array.mutable_data());
    return array;
}

/// A solver with the buffers its arguments need.
class Solver {
public:
    Solver(const les::LongRangeParameters& parameters, const les::LongRangeOptions& options, int n_channels)
        : n_channels_(n_channels), solver_(les::make_periodic_solver(parameters, n_channels, options)) {}

    py::dict compute(const Doubles& charges, const Doubles& positions, const Doubles& cell) {
        const py::ssize_t n = positions.shape(0);
        les::System system;
        system.n_local = system.n_all = n;
        system.positions = positions.data();
        system.cell = matrix_of(cell);
        system.periodic = true;
        charges_.assign(charges.data(), charges.data() + charges.size());
        const les::LongRangeResult* result = nullptr;
        {
            py::gil_scoped_release release;
            result = &solver_->compute(system, charges_, communicator_);
        }
        py::dict out;
        out["energy"] = result->energy;
        out["potentials"] = to_numpy(result->potentials, {n, n_channels_});
        out["forces"] = to_numpy(result->forces, {n, 3});
        out["net_force"] = to_numpy(result->net_force, {3});
        py::array_t<double> virial({3, 3});
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b)
                virial.mutable_at(static_cast<py::ssize_t>(a), static_cast<py::ssize_t>(b)) = result->virial[a][b];
        }
        out["virial"] = virial;
        return out;
    }

    std::string description() const { return solver_->description(); }
    std::vector<std::string> take_warnings() { return solver_->take_warnings(); }
    py::object plan() const {
        const auto* report = solver_->mesh_report();
        return report == nullptr ? py::object(py::none()) : py::object(to_dict(*report));
    }
    py::object timings() const {
        const auto* report = solver_->mesh_report();
        return report == nullptr ? py::object(py::none()) : py::object(timings_of(*report));
    }

private:
    int n_channels_;
    les::SingleProcess communicator_;
    std::unique_ptr<les::LongRangeSolver> solver_;
    std::vector<double> charges_;
};

}  // namespace

void bind_solvers(py::module_& module) {
    py::class_<Solver>(module, "LongRangeSolver")
        .def(py::init([](const std::string& solver, int n_channels, double smearing, std::optional<double> k_cutoff,
                         double coulomb_constant, bool remove_self_interaction, double accuracy,
                         const std::string& window, std::optional<int> interpolation_nodes,
                         std::optional<double> mesh_spacing, std::optional<std::array<int, 3>> mesh,
                         const std::string& dtype, bool freeze_k_set) {
                 return std::make_unique<Solver>(
                     parameters_of(smearing, k_cutoff, coulomb_constant, remove_self_interaction),
                     options_of(solver, accuracy, window, interpolation_nodes, mesh_spacing, mesh, dtype, freeze_k_set),
                     n_channels);
             }),
             py::arg("solver"), py::arg("n_channels"), py::kw_only(), py::arg("smearing"), py::arg("k_cutoff"),
             py::arg("coulomb_constant"), py::arg("remove_self_interaction"), py::arg("accuracy") = 1e-4,
             py::arg("window") = "kaiser_bessel", py::arg("interpolation_nodes") = py::none(),
             py::arg("mesh_spacing") = py::none(), py::arg("mesh") = py::none(), py::arg("dtype") = "float64",
             py::arg("freeze_k_set") = false)
        .def("compute", &Solver::compute)
        .def_property_readonly("description", &Solver::description)
        .def("take_warnings", &Solver::take_warnings)
        .def_property_readonly("plan", &Solver::plan)
        .def_property_readonly("timings", &Solver::timings);

    module.def(
        "mesh_plan",
        [](const Doubles& cell, std::int64_t n_atoms, double smearing, std::optional<double> k_cutoff, double accuracy,
           const std::string& window, std::optional<int> interpolation_nodes, std::optional<double> mesh_spacing,
           std::optional<std::array<int, 3>> mesh, const std::string& dtype) {
            return to_dict(les::plan_mesh(
                parameters_of(smearing, k_cutoff, 1.0, true),
                options_of("mesh", accuracy, window, interpolation_nodes, mesh_spacing, mesh, dtype, false),
                matrix_of(cell), n_atoms));
        },
        py::arg("cell"), py::arg("n_atoms"), py::kw_only(), py::arg("smearing") = 1.0, py::arg("k_cutoff") = py::none(),
        py::arg("accuracy") = 1e-4, py::arg("window") = "kaiser_bessel", py::arg("interpolation_nodes") = py::none(),
        py::arg("mesh_spacing") = py::none(), py::arg("mesh") = py::none(), py::arg("dtype") = "float64");
}
