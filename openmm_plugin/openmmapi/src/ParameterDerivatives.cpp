// The force is a sum of (parameter - its value)*derivative over the parameters: 0, with the derivative wanted. GPU
// platforms keep `derivative` as a float, so three of them make up a double.
#include "internal/ParameterDerivatives.h"

#include <sstream>

namespace LESPlugin {

namespace {

constexpr int numParts = 3;  // floats of 24 bits that hold a double of 53

std::string energyOf(const std::vector<std::string>& names) {
    std::ostringstream sum;
    for (std::size_t i = 0; i < names.size(); ++i)
        sum << (i == 0 ? "" : "+") << '(' << names[i] << "-value" << i << ")*derivative" << i;
    return sum.str();
}

}  // namespace

ParameterDerivatives::ParameterDerivatives(const std::vector<std::string>& names, int forceGroup, int particle)
    : names(names), force(1, energyOf(names)) {
    force.setForceGroup(forceGroup);
    for (std::size_t i = 0; i < names.size(); ++i) {
        force.addPerBondParameter("value" + std::to_string(i));
        force.addPerBondParameter("derivative" + std::to_string(i));
        force.addGlobalParameter(names[i], 0.0);
        force.addEnergyParameterDerivative(names[i]);
    }
    for (int part = 0; part < numParts; ++part) force.addBond({particle}, std::vector<double>(2 * names.size()));
}

ParameterDerivatives::~ParameterDerivatives() = default;

void ParameterDerivatives::initialize(OpenMM::ContextImpl& context) {
    impl = std::make_unique<OpenMM::CustomCompoundBondForceImpl>(force);
    impl->initialize(context);
}

void ParameterDerivatives::add(OpenMM::ContextImpl& context, const std::vector<double>& derivatives, bool includeForces,
                               bool includeEnergy, int groups) {
    std::vector<double> wanted;
    for (std::size_t i = 0; i < names.size(); ++i) {
        wanted.push_back(context.getParameter(names[i]));
        wanted.push_back(derivatives[i]);
    }
    if (wanted != present) {
        std::vector<double> rest = wanted, parameters = wanted;
        for (int part = 0; part < numParts; ++part) {
            for (std::size_t i = 1; i < rest.size(); i += 2) {
                parameters[i] = static_cast<float>(rest[i]);
                rest[i] -= parameters[i];
            }
            std::vector<int> particles;
            std::vector<double> before;
            force.getBondParameters(part, particles, before);
            force.setBondParameters(part, particles, parameters);
        }
        impl->updateParametersInContext(context);
        present = wanted;
    }
    impl->calcForcesAndEnergy(context, includeForces, includeEnergy, groups);
}

}  // namespace LESPlugin
