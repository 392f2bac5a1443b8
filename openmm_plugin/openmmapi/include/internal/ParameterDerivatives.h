// Hands derivatives of the energy in global parameters to OpenMM on every platform. A CustomCPPForceImpl cannot reach
// the place where platforms sum them, but a custom force can have derivatives: one without energy and forces, on one
// atom, is given the numbers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "openmm/CustomCompoundBondForce.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/CustomCompoundBondForceImpl.h"

namespace LESPlugin {

class ParameterDerivatives {
public:
    /** Derivatives in the parameters `names` of a force in `forceGroup`, which acts on `particle` among others. */
    ParameterDerivatives(const std::vector<std::string>& names, int forceGroup, int particle);
    ~ParameterDerivatives();

    void initialize(OpenMM::ContextImpl& context);
    /** Adds `derivatives` (number of names,) to those of the evaluation under way. */
    void add(OpenMM::ContextImpl& context, const std::vector<double>& derivatives, bool includeForces,
             bool includeEnergy, int groups);

private:
    std::vector<std::string> names;
    OpenMM::CustomCompoundBondForce force;
    std::unique_ptr<OpenMM::CustomCompoundBondForceImpl> impl;
    std::vector<double> present;  // values and derivatives that `impl` has
};

}  // namespace LESPlugin
