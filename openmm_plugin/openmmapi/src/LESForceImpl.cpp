// One evaluation through the engine for every platform: OpenMM's CustomCPPForceImpl hands positions in double precision
// and takes forces back, so there is no platform code here. A platform with a CalcLESForceKernel gets that instead.
#include "internal/LESForceImpl.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>

#include "internal/LESErrors.h"
#include "internal/LESUnits.h"
#include "internal/PythonLock.h"

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace LESPlugin {

namespace {

les::Matrix3 cellInAngstrom(ContextImpl& context) {
    Vec3 boxVectors[3];
    context.getPeriodicBoxVectors(boxVectors[0], boxVectors[1], boxVectors[2]);
    les::Matrix3 cell;
    for (int row = 0; row < 3; ++row) {
        for (int axis = 0; axis < 3; ++axis) cell[row][axis] = boxVectors[row][axis] * units::angstromPerNm;
    }
    return cell;
}

double finiteParameter(ContextImpl& context, const std::string& name) {
    const double value = context.getParameter(name);
    if (!std::isfinite(value)) {
        throw OpenMMException("LESForce: " + name + " must be a finite number, got " + std::to_string(value));
    }
    return value;
}

}  // namespace

double LESForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    const bool included = (groups & (1 << owner.getForceGroup())) != 0;
    if (onDevice) return included ? executeOnDevice(context, includeForces, includeEnergy) : 0.0;
    const double energy = CustomCPPForceImpl::calcForcesAndEnergy(context, includeForces, includeEnergy, groups);
    if (parameterDerivatives && included)
        parameterDerivatives->add(context, derivatives(context), includeForces, includeEnergy, groups);
    return energy;
}

/// The kernel adds forces and energy when OpenMM ends its own computation.
double LESForceImpl::executeOnDevice(ContextImpl& context, bool includeForces, bool includeEnergy) {
    const double lambda = finiteParameter(context, lambdaName);
    const std::array<double, 3> presentField = fieldOf(context);
    const PythonLockRelease release;
    kernel.getAs<CalcLESForceKernel>().execute(includeForces, includeEnergy, lambda, presentField);
    printLongRange();
    return 0.0;
}

std::string LESForceImpl::longRangeDescription() const {
    return onDevice ? kernel.getAs<const CalcLESForceKernel>().longRangeDescription()
                    : engine->long_range_description();
}

les::StageTimes LESForceImpl::stageTimes() const {
    if (onDevice) {
        throw OpenMMException("LESForce: the time of stages is not available with `device` \"" + owner.getDevice() +
                              "\" on the CUDA platform; use `device` \"cpu\"");
    }
    return engine->stage_times();
}

/// dE/d(lambda) = E, dE/d(field) = -lambda * polarization, where the energy has a share of the field.
std::vector<double> LESForceImpl::derivatives(ContextImpl& context) {
    const les::Results& present = evaluateAtPresentState(context);
    const auto& fieldNames = LESForce::getElectricFieldNames();
    std::vector<double> values;
    for (int i = 0; i < owner.getNumEnergyParameterDerivatives(); ++i) {
        const std::string& name = owner.getEnergyParameterDerivativeName(i);
        const auto axis =
            static_cast<std::size_t>(std::find(fieldNames.begin(), fieldNames.end(), name) - fieldNames.begin());
        values.push_back(axis == fieldNames.size()
                             ? present.energy() * units::kJPerMolPerEV
                             : -context.getParameter(lambdaName) * present.polarization[axis] / units::angstromPerNm);
    }
    return values;
}

double LESForceImpl::computeForce(ContextImpl& context, const std::vector<Vec3>& positions, std::vector<Vec3>& forces) {
    const double lambda = finiteParameter(context, lambdaName);
    const std::lock_guard<std::mutex> lock(evaluating);
    const les::Results& evaluated = evaluate(context, positions, {});
    std::fill(forces.begin(), forces.end(), Vec3());
    const auto put = [&](const std::vector<int>& indices, const std::vector<double>& rows) {
        for (std::size_t i = 0; i < indices.size(); ++i) {
            forces[static_cast<std::size_t>(indices[i])] =
                Vec3(rows[3 * i], rows[3 * i + 1], rows[3 * i + 2]) * (lambda * units::kJPerMolPerNmPerEVPerAngstrom);
        }
    };
    put(particles.atoms, evaluated.forces);
    put(particles.externals, evaluated.external_forces);
    return lambda * evaluated.energy() * units::kJPerMolPerEV;
}

const les::Results& LESForceImpl::evaluateAtPresentState(ContextImpl& context, const LESRequest& wanted) {
    if (onDevice) {
        LESRequest request = wanted;
        request.field = fieldOf(context);
        readVelocities(context, request);
        const PythonLockRelease release;
        deviceResults = kernel.getAs<CalcLESForceKernel>().results(request);
        printLongRange();
        return deviceResults;
    }
    std::vector<Vec3> ofParticles;
    context.getPositions(ofParticles);
    const std::lock_guard<std::mutex> lock(evaluating);
    return evaluate(context, ofParticles, wanted);
}

/// Rows of the atoms of the model and of the external charges from those of all particles, nm to angstrom.
void LESForceImpl::toAtoms(const std::vector<Vec3>& ofParticles, std::vector<double>& ofAtoms) const {
    ofAtoms.clear();
    for (const auto* indices : {&particles.atoms, &particles.externals}) {
        for (const int index : *indices) {
            const Vec3& row = ofParticles[static_cast<std::size_t>(index)];
            for (int axis = 0; axis < 3; ++axis) ofAtoms.push_back(row[axis] * units::angstromPerNm);
        }
    }
}

/// V/angstrom
std::array<double, 3> LESForceImpl::fieldOf(ContextImpl& context) const {
    std::array<double, 3> value{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        value[axis] =
            finiteParameter(context, LESForce::getElectricFieldNames()[axis]) / units::kJPerMolPerNmPerEVPerAngstrom;
    }
    if (value != std::array<double, 3>{} && periodic && hasBarostat && owner.getModel().metadata().charge_flux()) {
        throw OpenMMException(
            "LESForce: an electric field and a Monte Carlo barostat exclude each other in a periodic system, because "
            "the "
            "energy in the field depends on which images of the atoms the positions are; remove the barostat");
    }
    return value;
}

/// Where the current is wanted.
void LESForceImpl::readVelocities(ContextImpl& context, LESRequest& request) const {
    if (!request.current) return;
    std::vector<Vec3> ofParticles;
    context.getVelocities(ofParticles);
    toAtoms(ofParticles, request.velocities);
    request.velocities.resize(3 * particles.atoms.size());
}

const les::Results& LESForceImpl::evaluate(ContextImpl& context, const std::vector<Vec3>& positionsInNm,
                                           LESRequest wanted) {
    toAtoms(positionsInNm, present);
    const les::Matrix3 presentCell = periodic ? cellInAngstrom(context) : les::Matrix3{};
    const std::array<double, 3> presentField = fieldOf(context);
    // OpenMM asks for energy and forces of one state in separate calls, and charges may be read in between.
    const bool isPresent = results && present == positions && presentCell == cell && presentField == field;
    if (isPresent && !wanted.current && (!wanted.bornCharges || !results->born_charges.empty())) return *results;

    results = nullptr;
    std::swap(positions, present);  // both buffers are kept, so that steps do not allocate
    cell = presentCell;
    field = presentField;
    readVelocities(context, wanted);
    les::System system;
    system.n_local = system.n_all = static_cast<std::int64_t>(particles.atoms.size());
    system.positions = positions.data();  // those of a Context are not wrapped: the polarization may use them
    system.types = particles.types.data();
    system.cell = cell;
    system.periodic = periodic;
    system.field = field;
    system.velocities = wanted.current ? wanted.velocities.data() : nullptr;
    system.polarization_current = wanted.current;
    system.born_charges = wanted.bornCharges;
    system.n_external = static_cast<std::int64_t>(particles.externals.size());
    system.external_positions = positions.data() + 3 * particles.atoms.size();
    system.external_charges = particles.externalCharges.data();
    const PythonLockRelease release;
    results = &withOpenMMErrors([&]() -> const les::Results& { return engine->compute(system); });
    printLongRange();
    return *results;
}

/// The long-range sum once for each Context, and warnings as they come. To stderr, because reporters write tables to
/// stdout, and each line in one piece, because Contexts may run in several threads.
void LESForceImpl::printLongRange() {
    std::ostringstream lines;
    if (!described && owner.getNumChannels() > 0)
        lines << "LESForce: long-range energy: " << longRangeDescription() << '\n';
    described = true;
    const std::vector<std::string> warnings =
        onDevice ? kernel.getAs<CalcLESForceKernel>().takeWarnings() : engine->take_warnings();
    for (const std::string& sentence : warnings) lines << "LESForce: warning: " << sentence << '\n';
    if (!lines.str().empty()) std::cerr << lines.str() << std::flush;
}

}  // namespace LESPlugin
