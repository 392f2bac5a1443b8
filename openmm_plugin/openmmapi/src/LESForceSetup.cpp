// What a LESForce makes of the System of a new Context, before the first evaluation: its particles and external
// charges, the engine or the kernel of the platform, its global parameters and molecules.
#include <algorithm>
#include <numeric>
#include <string>

#include "internal/LESErrors.h"
#include "internal/LESForceImpl.h"
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

namespace LESPlugin {

namespace {

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
        particles.types.assign(known.begin(), known.end());
        const les::EngineOptions options = engineOptions();
        onDevice = fitsDevice(context);
        if (onDevice) {
            kernel = context.getPlatform().createKernel(CalcLESForceKernel::Name(), context);
            kernel.getAs<CalcLESForceKernel>().initialize(owner, options, particles);
        } else {
            engine = std::make_unique<les::Engine>(owner.getModel(), options);
        }
    });
    if (!onDevice) {
        CustomCPPForceImpl::initialize(context);
        initializeDerivatives(context);
    }
    declareMolecules(context);
}

les::EngineOptions LESForceImpl::engineOptions() const {
    les::EngineOptions options;
    options.device = owner.getDevice();
    options.threads = owner.getThreads();
    options.total_charge = owner.getTotalCharge();
    options.spin = owner.getSpin();
    options.deterministic = owner.getDeterministic();
    options.graphs = owner.getGraphs();
    options.long_range = owner.getLongRangeOptions();
    return options;
}

/// Whether the platform has a kernel for this force.
bool LESForceImpl::fitsDevice(ContextImpl& context) const {
    return owner.getDevice().rfind("cuda", 0) == 0 && !particles.atoms.empty() &&
           context.getPlatform().supportsKernels({CalcLESForceKernel::Name()});
}

void LESForceImpl::initializeDerivatives(ContextImpl& context) {
    std::vector<std::string> names;
    for (int i = 0; i < owner.getNumEnergyParameterDerivatives(); ++i)
        names.push_back(owner.getEnergyParameterDerivativeName(i));
    if (names.empty()) return;
    parameterDerivatives =
        std::make_unique<ParameterDerivatives>(names, owner.getForceGroup(), particles.atoms.front());
    parameterDerivatives->initialize(context);
}

/// The indices of the particles of the model, all of the System unless some were named.
void LESForceImpl::findParticles(int numParticles) {
    std::vector<int>& atoms = particles.atoms;
    atoms = owner.getParticles();
    const bool all = atoms.empty();
    if (all) {
        atoms.resize(static_cast<std::size_t>(numParticles));
        std::iota(atoms.begin(), atoms.end(), 0);
    }
    if (owner.getParticleSymbols().size() != atoms.size()) {
        throw OpenMMException(std::string("LESForce: the number of symbols must equal the number of ") +
                              (all ? "particles of the System (" : "`particles` (") + std::to_string(atoms.size()) +
                              "), got " + std::to_string(owner.getNumParticles()) + " symbols");
    }
    for (const int particle : particles.atoms) {
        if (particle >= numParticles) {
            throw OpenMMException("LESForce: `particles` must be less than the number of particles of the System (" +
                                  std::to_string(numParticles) + "), got " + std::to_string(particle));
        }
    }
}

/// The particles that are external charges, of those that have one.
void LESForceImpl::findExternalCharges(const OpenMM::System& system) {
    const std::vector<double>& charges = owner.getExternalCharges();
    if (charges.empty()) return;
    const int numParticles = system.getNumParticles();
    if (charges.size() != static_cast<std::size_t>(numParticles)) {
        throw OpenMMException("LESForce: `external_charges` must have one for each of the " +
                              std::to_string(numParticles) + " particles of the System, got " +
                              std::to_string(charges.size()));
    }
    for (const int particle : particles.atoms) {
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
        particles.externals.push_back(particle);
        particles.externalCharges.push_back(charges[static_cast<std::size_t>(particle)]);
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
        const std::vector<int>& atoms = particles.atoms;
        for (std::size_t i = 1; i < atoms.size(); ++i) bonds.emplace_back(atoms[i - 1], atoms[i]);
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

}  // namespace LESPlugin
