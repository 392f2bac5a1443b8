// Bindings of the primitives of les_md.mesh_operator. Checks of shapes are here, so that no wrong array reaches the
// loops.
#include "../src/mesh_operator.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "../src/lattice.h"
#include "les/error.h"

namespace py = pybind11;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

void check_order(int order) {
    if (order < 0 || order > les::highest_mesh_derivative) {
        throw les::Error("the mesh operator has derivatives of order 0 to " +
                         std::to_string(les::highest_mesh_derivative) + ", got order " + std::to_string(order));
    }
}

void check_points(const Doubles& u) {
    if (u.ndim() != 2 || u.shape(1) != 3) throw les::Error("`u` must have shape (n_points, 3)");
}

Doubles points_to_mesh(const les::MeshOperator& op, const Doubles& u, const Doubles& coefficients, int order) {
    check_order(order);
    check_points(u);
    if (coefficients.ndim() != 3 || coefficients.shape(0) != u.shape(0) ||
        coefficients.shape(2) != les::n_mesh_derivatives(order)) {
        throw les::Error("`coefficients` must have shape (n_points, n_channels, " +
                         std::to_string(les::n_mesh_derivatives(order)) + ") for order " + std::to_string(order));
    }
    const py::ssize_t n_channels = coefficients.shape(1);
    py::array_t<double> mesh({n_channels, static_cast<py::ssize_t>(op.mesh()[0]),
                              static_cast<py::ssize_t>(op.mesh()[1]), static_cast<py::ssize_t>(op.mesh()[2])});
    const double *points = u.data(), *from = coefficients.data();
    double* to = mesh.mutable_data();
    py::gil_scoped_release release;
    op.points_to_mesh(u.shape(0), n_channels, order, points, from, to);
    return mesh;
}

Doubles mesh_to_points(const les::MeshOperator& op, const Doubles& u, const Doubles& mesh, int order) {
    check_order(order);
    check_points(u);
    const auto& size = op.mesh();
    if (mesh.ndim() != 4 || mesh.shape(1) != size[0] || mesh.shape(2) != size[1] || mesh.shape(3) != size[2]) {
        throw les::Error("`mesh` must have shape (n_channels, " + std::to_string(size[0]) + ", " +
                         std::to_string(size[1]) + ", " + std::to_string(size[2]) + ")");
    }
    py::array_t<double> derivatives(
        {u.shape(0), mesh.shape(0), static_cast<py::ssize_t>(les::n_mesh_derivatives(order))});
    const double *points = u.data(), *from = mesh.data();
    double* to = derivatives.mutable_data();
    py::gil_scoped_release release;
    op.mesh_to_points(u.shape(0), mesh.shape(0), order, points, from, to);
    return derivatives;
}

/// value(mode, points of the mesh) for the modes 0 ... M/2 along each axis
template <typename Value>
std::vector<std::vector<double>> for_modes(const les::MeshOperator& op, const Value& value) {
    std::vector<std::vector<double>> values(3);
    for (std::size_t axis = 0; axis < 3; ++axis) {
        for (int mode = 0; mode <= op.mesh()[axis] / 2; ++mode) values[axis].push_back(value(mode, op.mesh()[axis]));
    }
    return values;
}

}  // namespace

void bind_mesh_operator(py::module_& module) {
    module.attr("highest_mesh_derivative") = les::highest_mesh_derivative;
    py::class_<les::MeshOperator>(module, "MeshOperator")
        .def(py::init(
                 [](const std::array<int, 3>& mesh, const std::string& window, int interpolation_nodes, double shape) {
                     return les::MeshOperator(mesh, les::window_kind(window), interpolation_nodes, shape);
                 }),
             py::arg("mesh"), py::arg("window"), py::arg("interpolation_nodes"), py::arg("shape"))
        .def("points_to_mesh", &points_to_mesh, py::arg("u"), py::arg("coefficients"), py::arg("order"))
        .def("mesh_to_points", &mesh_to_points, py::arg("u"), py::arg("mesh"), py::arg("order"))
        .def("window_transform",
             [](const les::MeshOperator& op) {
                 return for_modes(op, [&](double mode, double points) {
                     return op.window().transform(2.0 * les::pi * mode / points);
                 });
             })
        .def("alias_excess",
             [](const les::MeshOperator& op) {
                 return for_modes(
                     op, [&](double mode, double points) { return les::alias_sums(op.window(), mode, points).excess; });
             })
        .def("nearest_alias", [](const les::MeshOperator& op) {
            return for_modes(op, [&](double mode, double points) {
                return les::alias_sums(op.window(), mode, points).harmonics[0];
            });
        });
}
