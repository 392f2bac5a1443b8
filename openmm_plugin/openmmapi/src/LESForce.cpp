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
