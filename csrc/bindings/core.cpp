// Python module `les_md._core`: the engine over numpy arrays. Torch tensors do not cross here, so the extension does
// not depend on torch's own Python bindings.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "les/les.h"

namespace py = pybind11;

void bind_mesh_operator(py::module_& module);    // mesh_operator.cpp
void bind_network_kernels(py::module_& module);  // network_kernels.cpp
void bind_solvers(py::module_& module);          // solvers.cpp

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Types = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

py::array_t<double> to_numpy(const std::vector<double>& values, const std::vector<py::ssize_t>& shape) {
    py::array_t<double> array(shape);
    std::copy(values.begin(), values.end(), array.mutable_data());
    return array;
}

py::ssize_t to_size(const std::vector<double>& values, std::size_t width) {
    return static_cast<py::ssize_t>(values.size() / width);
}

py::dict to_dict(const les::Results& results, py::ssize_t n_local, py::ssize_t n_all) {
    py::array_t<double> virial({3, 3});
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) virial.mutable_at(a, b) = results.virial[a][b];
    }
    py::array_t<double> atom_energies(n_local);
    for (py::ssize_t i = 0; i < n_local; ++i) atom_energies.mutable_at(i) = results.atom_energy(i);
    py::dict out;
    out["energy"] = results.energy();
    out["short_range_energy"] = results.short_range_energy;
    out["long_range_energy"] = results.long_range_energy;
    out["forces"] = to_numpy(results.forces, {n_all, 3});
    out["virial"] = virial;
    out["node_energies"] = to_numpy(results.node_energies, {n_local});
    out["atom_energies"] = atom_energies;
    out["latent_charges"] = to_numpy(results.latent_charges, {n_local, results.n_channels});
    out["potentials"] = to_numpy(results.potentials, {n_local, results.n_channels});
    out["field_energy"] = results.field_energy;
    out["polarization"] = results.polarization;
    out["polarization_current"] = results.polarization_current;
    out["embedding_energy"] = results.embedding_energy;
    out["external_potentials"] = to_numpy(results.external_potentials, {to_size(results.external_potentials, 1)});
    out["external_forces"] = to_numpy(results.external_forces, {to_size(results.external_forces, 3), 3});
    if (!results.born_charges.empty() || n_local == 0)
        out["born_charges"] = to_numpy(results.born_charges, {n_local, 3, 3});
    return out;
}

/// What a field and the answer to it need of a system, kept alive during the evaluation.
struct Response {
    std::array<double, 3> field{};
    std::optional<Doubles> velocities, unwrapped_positions;
    bool born_charges = false;

    void add_to(les::System& system) const {
        system.field = field;
        system.born_charges = born_charges;
        system.velocities = rows(velocities, system.n_local, "velocities");
        system.polarization_current = system.velocities != nullptr;
        system.unwrapped_positions = rows(unwrapped_positions, system.n_local, "unwrapped_positions");
    }

private:
    static const double* rows(const std::optional<Doubles>& array, std::int64_t n_local, const std::string& name) {
        if (!array) return nullptr;
        if (array->ndim() != 2 || array->shape(0) != n_local || array->shape(1) != 3)
            throw les::Error("`" + name + "` must have shape (n_atoms, 3)");
        return array->data();
    }
};

les::System to_system(const Doubles& positions, const Types& types, const Doubles& cell, bool periodic) {
    if (positions.ndim() != 2 || positions.shape(1) != 3) throw les::Error("`positions` must have shape (n_atoms, 3)");
    if (types.ndim() != 1 || types.shape(0) != positions.shape(0))
        throw les::Error("`types` must have one entry per atom");
    if (cell.ndim() != 2 || cell.shape(0) != 3 || cell.shape(1) != 3) throw les::Error("`cell` must have shape (3, 3)");
    les::System system;
    system.n_local = system.n_all = positions.shape(0);
    system.positions = positions.data();
    system.types = types.data();
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) system.cell[a][b] = cell.at(a, b);
    }
    system.periodic = periodic;
    return system;
}

py::dict compute(les::Engine& engine, const Doubles& positions, const Types& types, const Doubles& cell, bool periodic,
                 const Response& response, const Doubles& external_positions, const Doubles& external_charges) {
    les::System system = to_system(positions, types, cell, periodic);
    response.add_to(system);
    if (external_positions.ndim() != 2 || external_positions.shape(1) != 3)
        throw les::Error("`external_positions` must have shape (n_external, 3)");
    if (external_charges.ndim() != 1 || external_charges.shape(0) != external_positions.shape(0))
        throw les::Error("`external_charges` must have one entry per row of `external_positions`, got " +
                         std::to_string(external_charges.size()) + " for " +
                         std::to_string(external_positions.shape(0)));
    system.n_external = external_charges.shape(0);
    system.external_positions = external_positions.data();
    system.external_charges = external_charges.data();
    const les::Results* results = nullptr;
    {
        py::gil_scoped_release release;
        results = &engine.compute(system);
    }
    return to_dict(*results, system.n_local, system.n_all);
}

py::dict compute_with_edges(les::Engine& engine, const Doubles& positions, const Types& types, const Doubles& cell,
                            bool periodic, const Indices& centres, const Indices& neighbours, const Types& cell_shifts,
                            std::int64_t n_local, const Response& response) {
    les::System system = to_system(positions, types, cell, periodic);
    if (n_local < 0 || n_local > system.n_all) throw les::Error("`n_local` must be 0 to the number of atoms");
    system.n_local = n_local;
    response.add_to(system);
    les::EdgeList edges;
    edges.n_edges = centres.shape(0);
    if (neighbours.shape(0) != edges.n_edges || cell_shifts.shape(0) != edges.n_edges) {
        throw les::Error("`centres`, `neighbours` and `cell_shifts` must have one entry per edge");
    }
    edges.centres = centres.data();
    edges.neighbours = neighbours.data();
    edges.cell_shifts = cell_shifts.data();
    const les::Results* results = nullptr;
    {
        py::gil_scoped_release release;
        results = &engine.compute(system, edges);
    }
    return to_dict(*results, system.n_local, system.n_all);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "Engine of les-md.";
    module.attr("built_with_torch") = les::built_with_torch;
    module.attr("version") = les::version;
    py::register_exception<les::Error>(module, "EngineError");
    module.def("check_torch_version", &les::check_torch_version);

    py::class_<les::ModelFile>(module, "ModelFile")
        .def_static("from_path", &les::ModelFile::from_path)
        .def_static("from_bytes", [](const py::bytes& bytes,
                                     const std::string& name) { return les::ModelFile::from_bytes(bytes, name); })
        .def_property_readonly("name", &les::ModelFile::name)
        .def_property_readonly("metadata_json", [](const les::ModelFile& file) { return file.metadata().json; })
        .def("types_of", &les::ModelFile::types_of);

    py::class_<Response>(module, "Response")
        .def(py::init([](const std::array<double, 3>& field, std::optional<Doubles> velocities,
                         std::optional<Doubles> unwrapped_positions, bool born_charges) {
                 return Response{field, std::move(velocities), std::move(unwrapped_positions), born_charges};
             }),
             py::arg("field"), py::arg("velocities"), py::arg("unwrapped_positions"), py::arg("born_charges"));

    py::class_<les::Engine>(module, "Engine")
        .def(py::init([](const les::ModelFile& file, const std::string& device, std::optional<int> threads,
                         std::optional<double> total_charge, double skin, double graph_memory,
                         const std::string& solver, double accuracy, const std::string& window,
                         std::optional<int> interpolation_nodes, std::optional<double> mesh_spacing,
                         std::optional<std::array<int, 3>> mesh, const std::optional<std::string>& mesh_dtype,
                         bool freeze_k_set, std::optional<double> spin, bool deterministic, const std::string& graphs) {
                 const les::LongRangeOptions long_range{
                     solver,      accuracy, window, interpolation_nodes, mesh_spacing, mesh, mesh_dtype.value_or(""),
                     freeze_k_set};
                 return les::Engine(file, les::EngineOptions{device, threads, total_charge, graph_memory, skin,
                                                             long_range, spin, deterministic, graphs});
             }),
             py::arg("file"), py::arg("device") = "cpu", py::arg("threads") = py::none(),
             py::arg("total_charge") = py::none(), py::arg("skin") = 0.5, py::kw_only(), py::arg("graph_memory") = 2.0,
             py::arg("solver") = "auto", py::arg("accuracy") = 1e-4, py::arg("window") = "kaiser_bessel",
             py::arg("interpolation_nodes") = py::none(), py::arg("mesh_spacing") = py::none(),
             py::arg("mesh") = py::none(), py::arg("mesh_dtype") = py::none(), py::arg("freeze_k_set") = false,
             py::arg("spin") = py::none(), py::arg("deterministic") = false, py::arg("graphs") = "auto")
        .def("compute", &compute)
        .def("compute_with_edges", &compute_with_edges)
        .def_property_readonly("long_range_description", &les::Engine::long_range_description)
        .def("take_warnings", &les::Engine::take_warnings);

    bind_mesh_operator(module);
    bind_network_kernels(module);
    bind_solvers(module);
}
