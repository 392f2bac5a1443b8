// One evaluation through the engine for every platform: OpenMM's CustomCPPForceImpl hands positions in double precision
// and takes forces back, so there is no platform code here. A platform with a CalcLESForceKernel gets that instead.
#include "internal/LESForceImpl.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>

#include "internal/LESErrors.h"
#include "internal/LESKernels.h"
#include "internal/LESUnits.h"
#include "internal/PythonLock.h"
#include "openmm/MonteCarloAnisotropicBarostat.h"
#include "openmm/MonteCarloBarostat.h"
#include "openmm/MonteCarloFlexibleBarostat.h"
#include "openmm/MonteCarloMembraneBarostat.h"
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

double finiteParameter(ContextImpl& context, const std::string& name) {
    const double value = context.getParameter(name);
    if (!std::isfinite(value)) {
        throw OpenMMException("LESForce: " + name + " must be a finite number, got " + std::to_string(value));
    }
    return value;
}

bool isBarostat(const OpenMM::Force& force) {
    return dynamic_cast<const OpenMM::MonteCarloBarostat*>(&force) ||
           dynamic_cast<const OpenMM::MonteCarloAnisotropicBarostat*>(&force) ||
           dynamic_cast<const OpenMM::MonteCarloMembraneBarostat*>(&force) ||
           dynamic_cast<const OpenMM::MonteCarloFlexibleBarostat*>(&force);
}

/// Data of the platforms Reference and CPU, null of others.
ReferencePlatform::PlatformData* referenceData(ContextImpl& context) {
    if (!dynamic_cast<const ReferencePlatform*>(&context.getPlatform())) return nullptr;
    return reinterpret_cast<ReferencePlatform::PlatformData*>(context.getPlatformData());
}

bool isFieldName(const std::string& name) {
    const auto& names = LESForce::getElectricFieldNames();
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const std::string& CalcLESForceKernel::Name() {
    static const std::string name = "CalcLESForce";
    return name;
}

CalcLESForceKernel::~CalcLESForceKernel() = default;

LESForceImpl::LESForceImpl(const LESForce& owner)
    : CustomCPPForceImpl(owner),
      owner(owner),
      periodic(owner.usesPeriodicBoundaryConditions()),
      lambdaName(owner.getLambdaName()) {}

void LESForceImpl::initialize(ContextImpl& context) {
    checkVersions();
    findParticles(context.getSystem().getNumParticles());
    findExternalCharges(context.getSystem());
    checkSettings(context);
    for (int i = 0; i < context.getSystem().getNumForces(); ++i) {
        hasBarostat = hasBarostat || isBarostat(context.getSystem().getForce(i));
    }
    const PythonLockRelease release;
    withOpenMMErrors([&] {
        const std::vector<int> known = owner.getModel().types_of(owner.getParticleSymbols());
        types.assign(known.begin(), known.end());
        les::EngineOptions options;
        options.device = owner.getDevice();
        options.threads = owner.getThreads();
        options.total_charge = owner.getTotalCharge();
        options.spin = owner.getSpin();
        options.deterministic = owner.getDeterministic();
        options.long_range = owner.getLongRangeOptions();
        onDevice = fitsDevice(context);
        if (onDevice) {
            kernel = context.getPlatform().createKernel(CalcLESForceKernel::Name(), context);
            kernel.getAs<CalcLESForceKernel>().initialize(owner, options, particles, types);
        } else {
            engine = std::make_unique<les::Engine>(owner.getModel(), options);
        }
    });
    if (!onDevice) CustomCPPForceImpl::initialize(context);
    if (!onDevice && owner.getNumEnergyParameterDerivatives() > 0) {
        std::vector<std::string> names;
        for (int i = 0; i < owner.getNumEnergyParameterDerivatives(); ++i)
            names.push_back(owner.getEnergyParameterDerivativeName(i));
        parameterDerivatives = std::make_unique<ParameterDerivatives>(names, owner.getForceGroup(), particles.front());
        parameterDerivatives->initialize(context);
    }
    declareMolecules(context);
}

/// Whether the platform has a kernel for this force: not for what the engine does on the host alone.
bool LESForceImpl::fitsDevice(ContextImpl& context) const {
    for (int i = 0; i < owner.getNumEnergyParameterDerivatives(); ++i) {
        if (isFieldName(owner.getEnergyParameterDerivativeName(i))) return false;
    }
    return owner.getDevice().rfind("cuda", 0) == 0 && externals.empty() && !particles.empty() &&
           context.getPlatform().supportsKernels({CalcLESForceKernel::Name()});
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

/// The particles that are external charges, of those that have one.
void LESForceImpl::findExternalCharges(const OpenMM::System& system) {
    externals.clear();
    externalCharges.clear();
    const std::vector<double>& charges = owner.getExternalCharges();
    if (charges.empty()) return;
    const int numParticles = system.getNumParticles();
    if (charges.size() != static_cast<std::size_t>(numParticles)) {
        throw OpenMMException("LESForce: `external_charges` must have one for each of the " +
                              std::to_string(numParticles) + " particles of the System, got " +
                              std::to_string(charges.size()));
    }
    for (const int particle : particles) {
        if (charges[static_cast<std::size_t>(particle)] == 0.0) continue;
        throw OpenMMException("LESForce: `external_charges` must be 0 for particles of the model, got " +
                              std::to_string(charges[static_cast<std::size_t>(particle)]) + " for particle " +
                              std::to_string(particle));
    }
    if (!periodic && system.usesPeriodicBoundaryConditions()) {
        throw OpenMMException(
            "LESForce: `external_charges` of a periodic System need a periodic model, this force is isolated; use "
            "`periodic=True`");
    }
    for (int particle = 0; particle < numParticles; ++particle) {
        if (charges[static_cast<std::size_t>(particle)] == 0.0) continue;
        externals.push_back(particle);
        externalCharges.push_back(charges[static_cast<std::size_t>(particle)]);
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
}

std::map<std::string, double> LESForceImpl::getDefaultParameters() {
    std::map<std::string, double> parameters = {{lambdaName, owner.getDefaultLambda()}};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        parameters[LESForce::getElectricFieldNames()[axis]] = owner.getDefaultElectricField()[static_cast<int>(axis)];
    }
    return parameters;
}

/// Declared bonds; and one molecule of all atoms of an isolated model, which has no periodic images.
std::vector<std::pair<int, int>> LESForceImpl::getBondedParticles() const {
    std::vector<std::pair<int, int>> bonds = owner.getBonds();
    if (!periodic) {
        for (std::size_t i = 1; i < particles.size(); ++i) bonds.emplace_back(particles[i - 1], particles[i]);
    }
    return bonds;
}

/// GPU platforms wrap and scale molecules by the bonds of their own kernels, which a CustomCPPForceImpl has none of:
/// bonds without a force constant tell them.
void LESForceImpl::declareMolecules(ContextImpl& context) {
    const auto bonds = getBondedParticles();
    if (bonds.empty() || referenceData(context)) return;
    molecules = std::make_unique<OpenMM::HarmonicBondForce>();
    molecules->setForceGroup(owner.getForceGroup());
    for (const auto& [first, second] : bonds) molecules->addBond(first, second, 0.0, 0.0);
    moleculesImpl = std::make_unique<OpenMM::HarmonicBondForceImpl>(*molecules);
    moleculesImpl->initialize(context);
}

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
    if (fieldOf(context) != std::array<double, 3>{}) refuseOnDevice("an electric field");
    const PythonLockRelease release;
    kernel.getAs<CalcLESForceKernel>().execute(includeForces, includeEnergy, lambda);
    printLongRange();
    return 0.0;
}

void LESForceImpl::refuseOnDevice(const std::string& quantity) const {
    if (!onDevice) return;
    throw OpenMMException("LESForce: " + quantity + " is not available with `device` \"" + owner.getDevice() +
                          "\" on the CUDA platform; use `device` \"cpu\"");
}

std::string LESForceImpl::longRangeDescription() const {
    return onDevice ? kernel.getAs<const CalcLESForceKernel>().longRangeDescription()
                    : engine->long_range_description();
}

les::StageTimes LESForceImpl::stageTimes() const {
    refuseOnDevice("the time of stages");
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
    put(particles, evaluated.forces);
    put(externals, evaluated.external_forces);
    return lambda * evaluated.energy() * units::kJPerMolPerEV;
}

const les::Results& LESForceImpl::evaluateAtPresentState(ContextImpl& context, const Wanted& wanted) {
    if (onDevice) {
        if (wanted.current) refuseOnDevice("the polarization current");
        if (wanted.bornCharges) refuseOnDevice("the Born charges");
        if (fieldOf(context) != std::array<double, 3>{}) refuseOnDevice("an electric field");
        const PythonLockRelease release;
        deviceResults = kernel.getAs<CalcLESForceKernel>().results();
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
    for (const auto* indices : {&particles, &externals}) {
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

void LESForceImpl::readVelocities(ContextImpl& context, bool wanted) {
    velocities.clear();
    if (!wanted) return;
    std::vector<Vec3> ofParticles;
    context.getVelocities(ofParticles);
    toAtoms(ofParticles, velocities);
}

const les::Results& LESForceImpl::evaluate(ContextImpl& context, const std::vector<Vec3>& positionsInNm,
                                           const Wanted& wanted) {
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
    readVelocities(context, wanted.current);
    les::System system;
    system.n_local = system.n_all = static_cast<std::int64_t>(particles.size());
    system.positions = positions.data();  // those of a Context are not wrapped: the polarization may use them
    system.types = types.data();
    system.cell = cell;
    system.periodic = periodic;
    system.field = field;
    system.velocities = wanted.current ? velocities.data() : nullptr;
    system.polarization_current = wanted.current;
    system.born_charges = wanted.bornCharges;
    system.n_external = static_cast<std::int64_t>(externals.size());
    system.external_positions = positions.data() + 3 * particles.size();
    system.external_charges = externalCharges.data();
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
