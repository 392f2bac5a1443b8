// The page to read first is execute() and finish(): gather and evaluate; later, when OpenMM has started all other
// forces, wait and add.
#include "CommonLESKernel.h"

#include <utility>

#include "LESKernelSource.h"
#include "internal/LESUnits.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ContextSelector.h"

using OpenMM::ContextSelector;
using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace LESPlugin {

/// What OpenMM calls when all forces have started, before it passes on those of virtual sites.
class CommonCalcLESForceKernel::AtTheEnd : public OpenMM::ComputeContext::ForcePostComputation {
public:
    explicit AtTheEnd(CommonCalcLESForceKernel& kernel) : kernel(kernel) {}
    double computeForceAndEnergy(bool includeForces, bool includeEnergy, int groups) override {
        return kernel.finish(includeForces, includeEnergy, groups);
    }

private:
    CommonCalcLESForceKernel& kernel;
};

void CommonCalcLESForceKernel::initialize(const LESForce& force, const les::EngineOptions& options,
                                          const std::vector<int>& particles, const std::vector<std::int32_t>& types) {
    periodic = force.usesPeriodicBoundaryConditions();
    forceGroup = force.getForceGroup();
    lambdaName = force.getLambdaName();
    makeEngine(force, options, types);
    const ContextSelector selector(cc);
    compileKernels(particles);
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); ++i) {
        cc.addEnergyParameterDerivative(force.getEnergyParameterDerivativeName(i));
        lambdaDerivative = true;
    }
    cc.addPostComputation(new AtTheEnd(*this));
}

void CommonCalcLESForceKernel::compileKernels(const std::vector<int>& particles) {
    std::vector<int> atoms(static_cast<std::size_t>(cc.getNumAtoms()), -1);
    for (std::size_t atom = 0; atom < particles.size(); ++atom)
        atoms[static_cast<std::size_t>(particles[atom])] = static_cast<int>(atom);
    atomOfParticle.initialize<int>(cc, atoms.size(), "lesAtomOfParticle");
    atomOfParticle.upload(atoms);

    const OpenMM::ComputeProgram program =
        cc.compileProgram(kernelSource, {{"NUM_PARTICLES", cc.intToString(cc.getNumAtoms())},
                                         {"PADDED_NUM_PARTICLES", cc.intToString(cc.getPaddedNumAtoms())},
                                         {"ANGSTROM_PER_NM", std::to_string(units::angstromPerNm)}});
    gather = program->createKernel("lesGatherPositions");
    gather->addArg(cc.getPosq());
    if (cc.getUseMixedPrecision()) gather->addArg(cc.getPosqCorrection());
    gather->addArg(cc.getAtomIndexArray());
    gather->addArg(atomOfParticle);
    addPositionsTo(*gather);
    addForces = program->createKernel("lesAddForces");
    addForces->addArg();  // forces of the engine
    addForces->addArg();  // their scale
    addForces->addArg(cc.getAtomIndexArray());
    addForces->addArg(atomOfParticle);
    addForces->addArg(cc.getLongForceBuffer());
    addInvalidTo(*addForces);
}

void CommonCalcLESForceKernel::execute(bool, bool, double lambda) {
    pending = false;
    start();
    scale = lambda;
    pending = true;
}

void CommonCalcLESForceKernel::start() {
    les::Matrix3 cell{};
    {
        const ContextSelector selector(cc);
        waitForEngine();  // an evaluation that an error elsewhere has cut short may still read the positions
        gather->execute(cc.getNumAtoms());
        markPositions();
        Vec3 box[3];
        cc.getPeriodicBoxVectors(box[0], box[1], box[2]);
        for (int row = 0; row < 3; ++row) {
            for (int axis = 0; axis < 3; ++axis) cell[row][axis] = box[row][axis] * units::angstromPerNm;
        }
    }
    evaluate(cell, periodic);
    // the positions come behind the forces of the evaluation before, and the host has waited for them
    if (takeInvalid()) {
        throw OpenMMException(
            "LESForce: forces must be finite and below 2^31 kJ/mol/nm, those of the evaluation before were not; reduce "
            "the time step, minimise the energy first");
    }
}

double CommonCalcLESForceKernel::finish(bool includeForces, bool includeEnergy, int groups) {
    if (!std::exchange(pending, false) || (groups & (1 << forceGroup)) == 0) return 0.0;
    const ContextSelector selector(cc);
    waitForEngine();
    if (includeForces) {
        setForcesOf(*addForces, 0);
        addForces->setArg(1, scale * units::kJPerMolPerNmPerEVPerAngstrom);
        addForces->execute(cc.getNumAtoms());
    }
    if (!includeEnergy && !lambdaDerivative) return 0.0;
    // returned in float64, whatever the precision of OpenMM's energy buffer: energies of elements are large numbers
    const double unscaled = energy() * units::kJPerMolPerEV;
    if (lambdaDerivative) cc.getEnergyParamDerivWorkspace()[lambdaName] += unscaled;
    return includeEnergy ? scale * unscaled : 0.0;
}

les::Results CommonCalcLESForceKernel::results() {
    start();
    return copyResults();
}

}  // namespace LESPlugin
