// LESForce: checks of its settings, and what it reports about a Context, converted to OpenMM's units.
#include "LESForce.h"

#include <unordered_set>

#include "internal/LESErrors.h"
#include "internal/LESForceImpl.h"
#include "internal/LESUnits.h"

using OpenMM::Context;
using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace LESPlugin {

LESForce::LESForce(const std::string& modelFile, const std::vector<std::string>& symbols, bool periodic)
    : LESForce(withOpenMMErrors([&] { return les::ModelFile::from_path(modelFile); }), symbols, periodic) {}

LESForce::LESForce(const les::ModelFile& model, const std::vector<std::string>& symbols, bool periodic)
    : model(std::make_shared<const les::ModelFile>(model)), symbols(symbols), periodic(periodic) {
    setName("LESForce");
    checkSymbols(symbols);
}

void LESForce::setParticleSymbols(const std::vector<std::string>& symbols) {
    checkSymbols(symbols);
    this->symbols = symbols;
}

void LESForce::setParticles(const std::vector<int>& particles) {
    std::unordered_set<int> seen;
    for (const int particle : particles) {
        if (particle < 0) {
            throw OpenMMException("LESForce: `particles` must be indices from 0, got " + std::to_string(particle));
        }
        if (!seen.insert(particle).second) {
            throw OpenMMException("LESForce: `particles` must name each particle once, got " +
                                  std::to_string(particle) + " twice");
        }
    }
    this->particles = particles;
}

void LESForce::checkSymbols(const std::vector<std::string>& symbols) const {
    withOpenMMErrors([&] { return model->types_of(symbols); });
}

int LESForce::addBond(int particle1, int particle2) {
    if (particle1 < 0 || particle2 < 0 || particle1 == particle2) {
        throw OpenMMException("LESForce: a bond must be between two particles with indices from 0, got " +
                              std::to_string(particle1) + " and " + std::to_string(particle2));
    }
    bonds.emplace_back(particle1, particle2);
    return static_cast<int>(bonds.size()) - 1;
}

void LESForce::setLambdaName(const std::string& name) {
    if (name.empty())
        throw OpenMMException("LESForce: the name of the parameter that scales the energy must not be empty");
    lambdaName = name;
    energyParameterDerivatives.assign(energyParameterDerivatives.size(), name);
}

void LESForce::addEnergyParameterDerivative(const std::string& name) {
    if (name != lambdaName) {
        throw OpenMMException("LESForce: an energy parameter derivative must be of its global parameter " + lambdaName +
                              ", got " + name);
    }
    if (energyParameterDerivatives.empty()) energyParameterDerivatives.push_back(name);
}

const std::string& LESForce::getEnergyParameterDerivativeName(int index) const {
    if (index < 0 || index >= getNumEnergyParameterDerivatives()) {
        throw OpenMMException("LESForce: the index of an energy parameter derivative must be less than " +
                              std::to_string(getNumEnergyParameterDerivatives()) + ", got " + std::to_string(index));
    }
    return energyParameterDerivatives[static_cast<std::size_t>(index)];
}

les::LongRangeOptions LESForce::getLongRangeOptions() const {
    les::LongRangeOptions options = longRange;
    if (meshSpacing) options.mesh_spacing = *meshSpacing * units::angstromPerNm;
    return options;
}

std::optional<std::string> LESForce::getMeshDtype() const {
    if (longRange.dtype.empty()) return std::nullopt;
    return longRange.dtype;
}

OpenMM::ForceImpl* LESForce::createImpl() const { return new LESForceImpl(*this); }

namespace {

const les::Results& evaluateAtPresentState(OpenMM::ForceImpl& impl, OpenMM::ContextImpl& context) {
    return dynamic_cast<LESForceImpl&>(impl).evaluateAtPresentState(context);
}

}  // namespace

std::vector<double> LESForce::getLatentCharges(Context& context) const {
    return evaluateAtPresentState(getImplInContext(context), getContextImpl(context)).latent_charges;
}

double LESForce::getShortRangeEnergy(Context& context) const {
    return evaluateAtPresentState(getImplInContext(context), getContextImpl(context)).short_range_energy *
           units::kJPerMolPerEV;
}

double LESForce::getLongRangeEnergy(Context& context) const {
    return evaluateAtPresentState(getImplInContext(context), getContextImpl(context)).long_range_energy *
           units::kJPerMolPerEV;
}

std::vector<Vec3> LESForce::getVirial(Context& context) const {
    const les::Matrix3 virial = evaluateAtPresentState(getImplInContext(context), getContextImpl(context)).virial;
    std::vector<Vec3> rows;
    for (const auto& row : virial) rows.push_back(Vec3(row[0], row[1], row[2]) * units::kJPerMolPerEV);
    return rows;
}

std::string LESForce::getLongRangeDescription(Context& context) const {
    auto& impl = dynamic_cast<LESForceImpl&>(getImplInContext(context));
    impl.evaluateAtPresentState(getContextImpl(context));
    return impl.longRangeDescription();
}

}  // namespace LESPlugin
