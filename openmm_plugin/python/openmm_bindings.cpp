// les_md._openmm: the methods of LESForce for Python. OpenMM's own Python classes come from SWIG, so objects arrive
// here as addresses, int(object.this), and each function casts them back and checks what it got.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "LESForce.h"
#include "openmm/OpenMMException.h"

namespace py = pybind11;
using LESPlugin::LESForce;

namespace {

using Address = std::uintptr_t;

LESForce* lesForceOrNull(Address force) { return dynamic_cast<LESForce*>(reinterpret_cast<OpenMM::Force*>(force)); }

LESForce& lesForce(Address force) {
    LESForce* found = lesForceOrNull(force);
    if (!found) throw OpenMM::OpenMMException("the force must be a LESForce, got another class of OpenMM");
    return *found;
}

OpenMM::Context& contextAt(Address context) { return *reinterpret_cast<OpenMM::Context*>(context); }

/// Calls `evaluate` without Python's lock: it may run the network.
template <class Evaluate>
auto evaluated(Evaluate&& evaluate) {
    const py::gil_scoped_release release;
    return evaluate();
}

py::array_t<double> latentCharges(Address force, Address context) {
    const LESForce& source = lesForce(force);
    const std::vector<double> charges = evaluated([&] { return source.getLatentCharges(contextAt(context)); });
    py::array_t<double> result({source.getNumParticles(), source.getNumChannels()});
    std::copy(charges.begin(), charges.end(), result.mutable_data());
    return result;
}

py::array_t<double> charges(Address force, Address context) {
    const LESForce& source = lesForce(force);
    const std::vector<double> values = evaluated([&] { return source.getCharges(contextAt(context)); });
    return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::array_t<double> bornCharges(Address force, Address context) {
    const LESForce& source = lesForce(force);
    const std::vector<double> values = evaluated([&] { return source.getBornCharges(contextAt(context)); });
    return py::array_t<double>({source.getNumParticles(), 3, 3}, values.data());
}

/// (3,) of a method that returns a vector.
template <OpenMM::Vec3 (LESForce::*get)(OpenMM::Context&) const>
py::array_t<double> vectorOf(Address force, Address context) {
    const LESForce& source = lesForce(force);
    const OpenMM::Vec3 vector = evaluated([&] { return (source.*get)(contextAt(context)); });
    const std::array<double, 3> components = {vector[0], vector[1], vector[2]};
    return py::array_t<double>(3, components.data());
}

py::array_t<double> virial(Address force, Address context) {
    const LESForce& source = lesForce(force);
    const std::vector<OpenMM::Vec3> rows = evaluated([&] { return source.getVirial(contextAt(context)); });
    py::array_t<double> result({3, 3});
    for (int row = 0; row < 3; ++row) {
        for (int axis = 0; axis < 3; ++axis) result.mutable_at(row, axis) = rows[row][axis];
    }
    return result;
}

/// `name(force)` and `set_name(force, value)` of one setting.
template <class Got, class Value>
void bindSetting(py::module_& module, const std::string& name, Got (LESForce::*get)() const,
                 void (LESForce::*set)(Value)) {
    module.def(name.c_str(), [get](Address force) -> std::decay_t<Got> { return (lesForce(force).*get)(); });
    module.def(("set_" + name).c_str(),
               [set](Address force, const std::decay_t<Value>& value) { (lesForce(force).*set)(value); });
}

void throwAsLESError(std::exception_ptr exception) {
    try {
        if (exception) std::rethrow_exception(exception);
    } catch (const OpenMM::OpenMMException& error) {
        py::set_error(py::module_::import("les_md.errors").attr("LESError"), error.what());
    }
}

}  // namespace

PYBIND11_MODULE(_openmm, module) {
    module.doc() = "Methods of the C++ class LESForce; `force` and `context` are int(object.this).";
    py::register_exception_translator(throwAsLESError);

    module.def("check_versions", &LESPlugin::checkVersions);
    module.def("is_les_force", [](Address force) { return lesForceOrNull(force) != nullptr; });

    module.def("particle_symbols", [](Address force) { return lesForce(force).getParticleSymbols(); });
    module.def("set_particle_symbols", [](Address force, const std::vector<std::string>& symbols) {
        lesForce(force).setParticleSymbols(symbols);
    });
    bindSetting(module, "particles", &LESForce::getParticles, &LESForce::setParticles);
    bindSetting(module, "external_charges", &LESForce::getExternalCharges, &LESForce::setExternalCharges);
    module.def("add_bond", [](Address force, int particle1, int particle2) {
        return lesForce(force).addBond(particle1, particle2);
    });
    module.def("bonds", [](Address force) { return lesForce(force).getBonds(); });
    module.def("set_periodic",
               [](Address force, bool periodic) { lesForce(force).setUsesPeriodicBoundaryConditions(periodic); });
    bindSetting(module, "device", &LESForce::getDevice, &LESForce::setDevice);
    bindSetting(module, "threads", &LESForce::getThreads, &LESForce::setThreads);
    bindSetting(module, "total_charge", &LESForce::getTotalCharge, &LESForce::setTotalCharge);
    bindSetting(module, "spin", &LESForce::getSpin, &LESForce::setSpin);
    bindSetting(module, "deterministic", &LESForce::getDeterministic, &LESForce::setDeterministic);
    bindSetting(module, "graphs", &LESForce::getGraphs, &LESForce::setGraphs);
    bindSetting(module, "solver", &LESForce::getSolver, &LESForce::setSolver);
    bindSetting(module, "accuracy", &LESForce::getAccuracy, &LESForce::setAccuracy);
    bindSetting(module, "window", &LESForce::getWindow, &LESForce::setWindow);
    bindSetting(module, "interpolation_nodes", &LESForce::getInterpolationNodes, &LESForce::setInterpolationNodes);
    bindSetting(module, "mesh_spacing", &LESForce::getMeshSpacing, &LESForce::setMeshSpacing);  // nm
    bindSetting(module, "mesh", &LESForce::getMesh, &LESForce::setMesh);
    bindSetting(module, "mesh_dtype", &LESForce::getMeshDtype, &LESForce::setMeshDtype);
    bindSetting(module, "freeze_k_set", &LESForce::getFreezeKSet, &LESForce::setFreezeKSet);
    bindSetting(module, "embed_model", &LESForce::getEmbedModel, &LESForce::setEmbedModel);
    bindSetting(module, "lambda_name", &LESForce::getLambdaName, &LESForce::setLambdaName);
    bindSetting(module, "default_lambda", &LESForce::getDefaultLambda, &LESForce::setDefaultLambda);
    module.def("electric_field_names", &LESForce::getElectricFieldNames);
    module.def("default_electric_field", [](Address force) {
        const OpenMM::Vec3 field = lesForce(force).getDefaultElectricField();
        return std::array<double, 3>{field[0], field[1], field[2]};
    });
    module.def("set_default_electric_field", [](Address force, const std::array<double, 3>& field) {  // kJ/mol/nm/e
        lesForce(force).setDefaultElectricField({field[0], field[1], field[2]});
    });
    module.def("add_energy_parameter_derivative",
               [](Address force, const std::string& name) { lesForce(force).addEnergyParameterDerivative(name); });
    module.def("num_energy_parameter_derivatives",
               [](Address force) { return lesForce(force).getNumEnergyParameterDerivatives(); });
    module.def("energy_parameter_derivative_name",
               [](Address force, int index) { return lesForce(force).getEnergyParameterDerivativeName(index); });
    module.def("model_name", [](Address force) { return lesForce(force).getModel().name(); });
    module.def("metadata_json", [](Address force) { return lesForce(force).getModel().metadata().json; });
    module.def("n_channels", [](Address force) { return lesForce(force).getNumChannels(); });

    module.def("latent_charges", &latentCharges, "(n_atoms, n_channels), e");
    module.def("charges", &charges, "(n_atoms,), e");
    module.def("born_charges", &bornCharges, "(n_atoms, 3, 3), e");
    module.def("polarization", &vectorOf<&LESForce::getPolarization>, "(3,), e nm");
    module.def("polarization_current", &vectorOf<&LESForce::getPolarizationCurrent>, "(3,), e nm/ps");
    module.def("virial", &virial, "(3, 3), -dE/d(strain), kJ/mol");
    module.def(
        "stage_times", [](Address force, Address context) { return lesForce(force).getStageTimes(contextAt(context)); },
        "seconds");
    module.def(
        "short_range_energy",
        [](Address force, Address context) {
            return evaluated([&] { return lesForce(force).getShortRangeEnergy(contextAt(context)); });
        },
        "kJ/mol");
    module.def(
        "long_range_energy",
        [](Address force, Address context) {
            return evaluated([&] { return lesForce(force).getLongRangeEnergy(contextAt(context)); });
        },
        "kJ/mol");
    module.def(
        "field_energy",
        [](Address force, Address context) {
            return evaluated([&] { return lesForce(force).getFieldEnergy(contextAt(context)); });
        },
        "kJ/mol");
    module.def(
        "embedding_energy",
        [](Address force, Address context) {
            return evaluated([&] { return lesForce(force).getEmbeddingEnergy(contextAt(context)); });
        },
        "kJ/mol");
    module.def("long_range_description", [](Address force, Address context) {
        return evaluated([&] { return lesForce(force).getLongRangeDescription(contextAt(context)); });
    });
}
