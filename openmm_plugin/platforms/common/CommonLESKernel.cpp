// The page to read first is execute() and finish(): gather and evaluate; later, when OpenMM has started all other
// forces, wait and add.
#include "CommonLESKernel.h"

#include <algorithm>
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
                                          const LESParticles& particles) {
    periodic = force.usesPeriodicBoundaryConditions();
    forceGroup = force.getForceGroup();
    lambdaName = force.getLambdaName();
    makeEngine(force, options, particles);
    const ContextSelector selector(cc);
    compileKernels(particles);
    findDerivatives(force);
    cc.addPostComputation(new AtTheEnd(*this));
}

void CommonCalcLESForceKernel::findDerivatives(const LESForce& force) {
    const auto& fieldNames = LESForce::getElectricFieldNames();
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); ++i) {
        const std::string& name = force.getEnergyParameterDerivativeName(i);
        cc.addEnergyParameterDerivative(name);
        const auto axis = std::find(fieldNames.begin(), fieldNames.end(), name);
        if (axis == fieldNames.end())
            lambdaDerivative = true;
        else
            fieldDerivatives.emplace_back(name, axis - fieldNames.begin());
    }
    ofExecute.polarization = !fieldDerivatives.empty();
}

void CommonCalcLESForceKernel::compileKernels(const LESParticles& particles) {
    const auto numParticles = static_cast<std::size_t>(cc.getNumAtoms());
    std::vector<int> rows(numParticles, -1);
    int row = 0;
    for (const auto* indices : {&particles.atoms, &particles.externals})
        for (const int particle : *indices) rows[static_cast<std::size_t>(particle)] = row++;
    rowOfParticle.initialize<int>(cc, numParticles, "lesRowOfParticle");
    rowOfParticle.upload(rows);
    presentOffsets.assign(3 * numParticles, 0);
    cellOffsets.initialize<int>(cc, 3 * numParticles, "lesCellOffsets");
    cellOffsets.upload(presentOffsets);
    const auto numAtoms = static_cast<int>(particles.atoms.size());

    const OpenMM::ComputeProgram program =
        cc.compileProgram(kernelSource, {{"NUM_PARTICLES", cc.intToString(cc.getNumAtoms())},
                                         {"PADDED_NUM_PARTICLES", cc.intToString(cc.getPaddedNumAtoms())},
                                         {"ANGSTROM_PER_NM", std::to_string(units::angstromPerNm)}});
    gather = program->createKernel("lesGatherPositions");
    gather->addArg(cc.getPosq());
    if (cc.getUseMixedPrecision()) gather->addArg(cc.getPosqCorrection());
    gather->addArg(cc.getAtomIndexArray());
    gather->addArg(rowOfParticle);
    addPositionsTo(*gather);
    unwrapPositions = program->createKernel("lesUnwrapPositions");
    addPositionsTo(*unwrapPositions);
    unwrapPositions->addArg(cellOffsets);
    unwrapPositions->addArg(cc.getAtomIndexArray());
    unwrapPositions->addArg(rowOfParticle);
    unwrapPositions->addArg(numAtoms);
    for (int component = 0; component < 6; ++component) unwrapPositions->addArg();  // of the box vectors
    addUnwrappedTo(*unwrapPositions);
    addForces = program->createKernel("lesAddForces");
    addForces->addArg();  // forces of the engine on atoms
    addForces->addArg();  // and on external charges
    addForces->addArg(numAtoms);
    addForces->addArg();  // their scale
    addForces->addArg(cc.getAtomIndexArray());
    addForces->addArg(rowOfParticle);
    addForces->addArg(cc.getLongForceBuffer());
    addInvalidTo(*addForces);
}

void CommonCalcLESForceKernel::execute(bool, bool, double lambda, const std::array<double, 3>& field) {
    pending = false;
    ofExecute.field = field;
    start(ofExecute);
    scale = lambda;
    pending = true;
}

void CommonCalcLESForceKernel::start(const LESRequest& request) {
    const bool hasMoments =
        request.field != std::array<double, 3>{} || request.polarization || request.current || request.bornCharges;
    bool unwrapped = false;
    les::Matrix3 cell{};
    {
        const ContextSelector selector(cc);
        waitForEngine();  // an evaluation that an error elsewhere has cut short may still read the positions
        gather->execute(cc.getNumAtoms());
        Vec3 box[3];
        cc.getPeriodicBoxVectors(box[0], box[1], box[2]);
        for (int row = 0; row < 3; ++row) {
            for (int axis = 0; axis < 3; ++axis) cell[row][axis] = box[row][axis] * units::angstromPerNm;
        }
        unwrapped = hasMoments && unwrap(cell);
        markPositions();
    }
    evaluate(cell, periodic, request, unwrapped);
    // the positions come behind the forces of the evaluation before, and the host has waited for them
    if (takeInvalid()) {
        throw OpenMMException(
            "LESForce: forces must be finite and below 2^31 kJ/mol/nm, those of the evaluation before were not; reduce "
            "the time step, minimise the energy first");
    }
}

/// Where OpenMM has moved particles through the box, positions as a Context gives them; the numbers of box vectors are
/// on the host, and another set of them is rare. Whether there are any.
bool CommonCalcLESForceKernel::unwrap(const les::Matrix3& cell) {
    const std::vector<OpenMM::mm_int4>& offsets = cc.getPosCellOffsets();
    bool changed = false, any = false;
    for (std::size_t place = 0; 3 * place < presentOffsets.size(); ++place) {
        const int numbers[3] = {offsets[place].x, offsets[place].y, offsets[place].z};
        for (std::size_t axis = 0; axis < 3; ++axis) {
            changed = changed || presentOffsets[3 * place + axis] != numbers[axis];
            any = any || numbers[axis] != 0;
            presentOffsets[3 * place + axis] = numbers[axis];
        }
    }
    if (changed) cellOffsets.upload(presentOffsets);
    if (!any) return false;
    const double components[] = {cell[0][0], cell[1][0], cell[1][1], cell[2][0], cell[2][1], cell[2][2]};
    for (int n = 0; n < 6; ++n) unwrapPositions->setArg(5 + n, components[n]);
    unwrapPositions->execute(cc.getNumAtoms());
    return true;
}

double CommonCalcLESForceKernel::finish(bool includeForces, bool includeEnergy, int groups) {
    if (!std::exchange(pending, false) || (groups & (1 << forceGroup)) == 0) return 0.0;
    const ContextSelector selector(cc);
    waitForEngine();
    if (includeForces) {
        setForcesOf(*addForces);
        addForces->setArg(3, scale * units::kJPerMolPerNmPerEVPerAngstrom);
        addForces->execute(cc.getNumAtoms());
    }
    if (!includeEnergy && !lambdaDerivative && fieldDerivatives.empty()) return 0.0;
    // returned in float64, whatever the precision of OpenMM's energy buffer: energies of elements are large numbers
    const Sums found = sums();
    const double unscaled = found.energy * units::kJPerMolPerEV;
    if (lambdaDerivative) cc.getEnergyParamDerivWorkspace()[lambdaName] += unscaled;
    for (const auto& [name, axis] : fieldDerivatives)
        cc.getEnergyParamDerivWorkspace()[name] -= scale * found.polarization[axis] / units::angstromPerNm;
    return includeEnergy ? scale * unscaled : 0.0;
}

les::Results CommonCalcLESForceKernel::results(const LESRequest& request) {
    start(request);
    return copyResults();
}

}  // namespace LESPlugin
