// One evaluation through the engine for every platform: OpenMM's CustomCPPForceImpl hands positions in double precision
// and takes forces back, so there is no platform code here.
#include "internal/LESForceImpl.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>

#include "internal/LESErrors.h"
#include "internal/LESUnits.h"
#include "internal/PythonLock.h"
#include "openmm/System.h"
#include "openmm/reference/ReferencePlatform.h"

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;
using OpenMM::ReferencePlatform;
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

/// Data of the platforms Reference and CPU, null of others.
ReferencePlatform::PlatformData* referenceData(ContextImpl& context) {
    if (!dynamic_cast<const ReferencePlatform*>(&context.getPlatform())) return nullptr;
    return reinterpret_cast<ReferencePlatform::PlatformData*>(context.getPlatformData());
}

}  // namespace

LESForceImpl::LESForceImpl(const LESForce& owner)
    : CustomCPPForceImpl(owner),
      owner(owner),
      periodic(owner.usesPeriodicBoundaryConditions()),
      lambdaName(owner.getLambdaName()) {}

void LESForceImpl::initialize(ContextImpl& context) {
    checkVersions();
    findParticles(context.getSystem().getNumParticles());
    checkSettings(context);
    const PythonLockRelease release;
    withOpenMMErrors([&] {
        const std::vector<int> known = owner.getModel().types_of(owner.getParticleSymbols());
        types.assign(known.begin(), known.end());
        les::EngineOptions options;
        options.device = owner.getDevice();
        options.threads = owner.getThreads();
        options.total_charge = owner.getTotalCharge();
        options.long_range = owner.getLongRangeOptions();
        engine = std::make_unique<les::Engine>(owner.getModel(), options);
    });
    CustomCPPForceImpl::initialize(context);
}

/// The indices of the particles of the model, all of the System unless some were named.
void LESForceImpl::findParticles(int numParticles) {
    particles = owner.getParticles();
    const bool all = particles.empty();
    if (all) {
        particles.resize(static_cast<std::size_t>(numParticles));
        std::iota(particles.begin(), particles.end(), 0);
    }
    if (owner.getParticleSymbols().size() != particles.size()) {
        throw OpenMMException(std::string("LESForce: the number of symbols must equal the number of ") +
                              (all ? "particles of the System (" : "`particles` (") + std::to_string(particles.size()) +
                              "), got " + std::to_string(owner.getNumParticles()) + " symbols");
    }
    for (const int particle : particles) {
        if (particle >= numParticles) {
            throw OpenMMException("LESForce: `particles` must be less than the number of particles of the System (" +
                                  std::to_string(numParticles) + "), got " + std::to_string(particle));
        }
    }
}

void LESForceImpl::checkSettings(ContextImpl& context) const {
    for (const auto& [first, second] : owner.getBonds()) {
        const int numParticles = context.getSystem().getNumParticles();
        if (std::max(first, second) < numParticles) continue;
        throw OpenMMException("LESForce: a bond must be between particles of the System (" +
                              std::to_string(numParticles) + "), got " + std::to_string(first) + " and " +
                              std::to_string(second));
    }
    if (owner.getNumEnergyParameterDerivatives() > 0 && !referenceData(context)) {
        throw OpenMMException(
            "LESForce: the derivative in " + lambdaName + " is available on the platforms Reference and CPU, got " +
            context.getPlatform().getName() + "; put the force into a CustomCVForce to have it there");
    }
}

std::map<std::string, double> LESForceImpl::getDefaultParameters() { return {{lambdaName, owner.getDefaultLambda()}}; }

/// Declared bonds; and one molecule of all atoms of an isolated model, which has no periodic images.
std::vector<std::pair<int, int>> LESForceImpl::getBondedParticles() const {
    std::vector<std::pair<int, int>> bonds = owner.getBonds();
    if (!periodic) {
        for (std::size_t i = 1; i < particles.size(); ++i) bonds.emplace_back(particles[i - 1], particles[i]);
    }
    return bonds;
}

double LESForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    const double energy = CustomCPPForceImpl::calcForcesAndEnergy(context, includeForces, includeEnergy, groups);
    if (owner.getNumEnergyParameterDerivatives() > 0 && (groups & (1 << owner.getForceGroup())) != 0) {
        (*referenceData(context)->energyParameterDerivatives)[lambdaName] += results->energy() * units::kJPerMolPerEV;
    }
    return energy;
}

double LESForceImpl::computeForce(ContextImpl& context, const std::vector<Vec3>& positions, std::vector<Vec3>& forces) {
    const les::Results& evaluated = evaluate(context, positions);
    const double lambda = context.getParameter(lambdaName);
    if (!std::isfinite(lambda)) {
        throw OpenMMException("LESForce: " + lambdaName + " must be a finite number, got " + std::to_string(lambda));
    }
    std::fill(forces.begin(), forces.end(), Vec3());
    for (std::size_t i = 0; i < particles.size(); ++i) {
        const double* force = &evaluated.forces[3 * i];
        forces[static_cast<std::size_t>(particles[i])] =
            Vec3(force[0], force[1], force[2]) * (lambda * units::kJPerMolPerNmPerEVPerAngstrom);
    }
    return lambda * evaluated.energy() * units::kJPerMolPerEV;
}

const les::Results& LESForceImpl::evaluateAtPresentState(ContextImpl& context) {
    std::vector<Vec3> present;
    context.getPositions(present);
    return evaluate(context, present);
}

void LESForceImpl::readPositions(const std::vector<Vec3>& positionsInNm) {
    present.resize(3 * particles.size());
    for (std::size_t i = 0; i < particles.size(); ++i) {
        const Vec3& position = positionsInNm[static_cast<std::size_t>(particles[i])];
        for (int axis = 0; axis < 3; ++axis) present[3 * i + axis] = position[axis] * units::angstromPerNm;
    }
}

const les::Results& LESForceImpl::evaluate(ContextImpl& context, const std::vector<Vec3>& positionsInNm) {
    readPositions(positionsInNm);
    const les::Matrix3 presentCell = periodic ? cellInAngstrom(context) : les::Matrix3{};
    // OpenMM asks for energy and forces of one state in separate calls, and charges may be read in between.
    if (results && present == positions && presentCell == cell) return *results;

    results = nullptr;
    std::swap(positions, present);  // both buffers are kept, so that steps do not allocate
    cell = presentCell;
    les::System system;
    system.n_local = system.n_all = static_cast<std::int64_t>(particles.size());
    system.positions = positions.data();
    system.types = types.data();
    system.cell = cell;
    system.periodic = periodic;
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
        lines << "LESForce: long-range energy: " << engine->long_range_description() << '\n';
    described = true;
    for (const std::string& sentence : engine->take_warnings()) lines << "LESForce: warning: " << sentence << '\n';
    if (!lines.str().empty()) std::cerr << lines.str() << std::flush;
}

}  // namespace LESPlugin
