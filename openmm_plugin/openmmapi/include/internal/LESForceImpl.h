// Evaluation of a LESForce in one Context: OpenMM's positions and box to the engine, its results back in OpenMM's
// units. On the CUDA platform a kernel may do this on the device; elsewhere, and where it cannot, it goes by the host.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "LESForce.h"
#include "internal/LESExport.h"
#include "internal/LESKernels.h"
#include "internal/ParameterDerivatives.h"
#include "les/engine.h"
#include "openmm/HarmonicBondForce.h"
#include "openmm/Kernel.h"
#include "openmm/Vec3.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmm/internal/HarmonicBondForceImpl.h"

namespace LESPlugin {

class LES_OPENMM_EXPORT LESForceImpl : public OpenMM::CustomCPPForceImpl {
public:
    explicit LESForceImpl(const LESForce& owner);

    /** Loads the model; throws OpenMMException if symbols and particles do not fit the System. */
    void initialize(OpenMM::ContextImpl& context) override;
    const OpenMM::Force& getOwner() const override { return owner; }

    std::map<std::string, double> getDefaultParameters() override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy,
                               int groups) override;

    /** Energy in kJ/mol; `forces` receives kJ/mol/nm of every particle of the System. */
    double computeForce(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& positions,
                        std::vector<OpenMM::Vec3>& forces) override;

    /**
     * Results in the engine's units at the present positions, velocities, box and field of the Context; valid until the
     * next call.
     */
    const les::Results& evaluateAtPresentState(OpenMM::ContextImpl& context, const LESRequest& wanted = {});

    std::string longRangeDescription() const;
    /** Throws OpenMMException where the evaluation is on the device. */
    les::StageTimes stageTimes() const;

private:
    void findParticles(int numParticles);
    void findExternalCharges(const OpenMM::System& system);
    void checkSettings(OpenMM::ContextImpl& context) const;
    les::EngineOptions engineOptions() const;
    bool fitsDevice(OpenMM::ContextImpl& context) const;
    void initializeDerivatives(OpenMM::ContextImpl& context);
    void declareMolecules(OpenMM::ContextImpl& context);
    void toAtoms(const std::vector<OpenMM::Vec3>& ofParticles, std::vector<double>& ofAtoms) const;
    std::array<double, 3> fieldOf(OpenMM::ContextImpl& context) const;
    void readVelocities(OpenMM::ContextImpl& context, LESRequest& request) const;
    const les::Results& evaluate(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& positions,
                                 LESRequest wanted);
    double executeOnDevice(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy);
    std::vector<double> derivatives(OpenMM::ContextImpl& context);
    void printLongRange();

    const LESForce& owner;
    const bool periodic;
    const std::string lambdaName;
    std::unique_ptr<les::Engine> engine;                         // null where `kernel` evaluates
    OpenMM::Kernel kernel;                                       // a CalcLESForceKernel
    bool onDevice = false;                                       // `kernel` evaluates
    les::Results deviceResults;                                  // the last that were asked for beside forces
    std::unique_ptr<ParameterDerivatives> parameterDerivatives;  // if there are any, by the host
    std::mutex evaluating;                                 // GPU platforms call computeForce() in a thread of their own
    std::unique_ptr<OpenMM::HarmonicBondForce> molecules;  // without energy, see declareMolecules
    std::unique_ptr<OpenMM::HarmonicBondForceImpl> moleculesImpl;
    bool described = false;  // the long-range sum has been printed
    LESParticles particles;
    std::vector<double> positions;  // (n + m, 3), angstrom, of `results`
    std::vector<double> present;    // (n + m, 3), angstrom, of the call under way
    les::Matrix3 cell{};            // angstrom, of `results`
    std::array<double, 3> field{};  // V/angstrom, of `results`
    bool hasBarostat = false;
    const les::Results* results = nullptr;  // none before the first evaluation and after a failed one
};

}  // namespace LESPlugin
