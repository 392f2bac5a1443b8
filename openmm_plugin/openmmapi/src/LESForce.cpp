// LESForce: checks of its settings, and what it reports about a Context, converted to OpenMM's units.
#include "LESForce.h"

#include <algorithm>
#include <cmath>
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

void LESForce::setExternalCharges(const std::vector<double>& charges) {
    for (std::size_t i = 0; i < charges.size(); ++i) {
        if (std::isfinite(charges[i])) continue;
        throw OpenMMException("LESForce: `external_charges` must be finite, that of particle " + std::to_string(i) +
                              " is not");
    }
    if (!charges.empty() && getNumChannels() == 0) {
        throw OpenMMException(
            "LESForce: `external_charges` need a model with charges, this one is short-range only; use mechanical "
            "embedding");
    }
    externalCharges = charges;
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
    std::replace(energyParameterDerivatives.begin(), energyParameterDerivatives.end(), lambdaName, name);
    lambdaName = name;
}

const std::array<std::string, 3>& LESForce::getElectricFieldNames() {
    static const std::array<std::string, 3> names = {"LESForceFieldX", "LESForceFieldY", "LESForceFieldZ"};
    return names;
}

void LESForce::addEnergyParameterDerivative(const std::string& name) {
    const auto& field = getElectricFieldNames();
    if (name != lambdaName && std::find(field.begin(), field.end(), name) == field.end()) {
        throw OpenMMException("LESForce: an energy parameter derivative must be of one of its global parameters, " +
                              lambdaName + " and LESForceFieldX, Y, Z, got " + name);
    }
    auto& names = energyParameterDerivatives;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
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

Vec3 vectorOf(const std::array<double, 3>& components) { return {components[0], components[1], components[2]}; }

void checkCharges(const LESForce& force, const std::string& quantity) {
    if (force.getNumChannels() > 0) return;
    throw OpenMMException("LESForce: " + quantity + " needs a model with latent charges, this one is short-range only");
}

}  // namespace

LESForceImpl& LESForce::getImpl(Context& context) const {
    return dynamic_cast<LESForceImpl&>(getImplInContext(context));
}

std::vector<double> LESForce::getLatentCharges(Context& context) const {
    return getImpl(context).evaluateAtPresentState(getContextImpl(context)).latent_charges;
}

std::vector<double> LESForce::getCharges(Context& context) const {
    const les::Results& results = getImpl(context).evaluateAtPresentState(getContextImpl(context));
    std::vector<double> charges;
    for (int i = 0; i < getNumParticles(); ++i) {
        charges.push_back(results.atomic_charge(i, model->metadata().atomic_charge_scale));
    }
    return charges;
}

double LESForce::getShortRangeEnergy(Context& context) const {
    return getImpl(context).evaluateAtPresentState(getContextImpl(context)).short_range_energy * units::kJPerMolPerEV;
}

double LESForce::getLongRangeEnergy(Context& context) const {
    return getImpl(context).evaluateAtPresentState(getContextImpl(context)).long_range_energy * units::kJPerMolPerEV;
}

double LESForce::getFieldEnergy(Context& context) const {
    return getImpl(context).evaluateAtPresentState(getContextImpl(context)).field_energy * units::kJPerMolPerEV;
}

double LESForce::getEmbeddingEnergy(Context& context) const {
    return getImpl(context).evaluateAtPresentState(getContextImpl(context)).embedding_energy * units::kJPerMolPerEV;
}

Vec3 LESForce::getPolarization(Context& context) const {
    checkCharges(*this, "the polarization");
    if (periodic && !model->metadata().charge_flux()) {
        throw OpenMMException(
            "LESForce: the polarization of a periodic system needs a model trained with `charge_flux`; "
            "the polarization current and Born charges are defined for this one");
    }
    LESRequest wanted;
    wanted.polarization = true;
    return vectorOf(getImpl(context).evaluateAtPresentState(getContextImpl(context), wanted).polarization) /
           units::angstromPerNm;
}

Vec3 LESForce::getPolarizationCurrent(Context& context) const {
    checkCharges(*this, "the polarization current");
    LESRequest wanted;
    wanted.current = true;
    return vectorOf(getImpl(context).evaluateAtPresentState(getContextImpl(context), wanted).polarization_current) /
           units::angstromPerNm;
}

std::vector<double> LESForce::getBornCharges(Context& context) const {
    checkCharges(*this, "Born charges");
    LESRequest wanted;
    wanted.bornCharges = true;
    return getImpl(context).evaluateAtPresentState(getContextImpl(context), wanted).born_charges;
}

std::vector<Vec3> LESForce::getVirial(Context& context) const {
    std::vector<Vec3> rows;
    for (const auto& row : getImpl(context).evaluateAtPresentState(getContextImpl(context)).virial)
        rows.push_back(vectorOf(row) * units::kJPerMolPerEV);
    return rows;
}

std::string LESForce::getLongRangeDescription(Context& context) const {
    getImpl(context).evaluateAtPresentState(getContextImpl(context));
    return getImpl(context).longRangeDescription();
}

std::map<std::string, double> LESForce::getStageTimes(Context& context) const {
    const les::StageTimes times = dynamic_cast<LESForceImpl&>(getImplInContext(context)).stageTimes();
    return {{"neighbours", times.neighbours},
            {"network", times.network_forward + times.network_backward},
            {"long_range", times.long_range}};
}

}  // namespace LESPlugin
