// LESForce on platforms that keep particles on a device, in the words that OpenMM's GPU platforms share: positions are
// gathered for the engine, forces added to OpenMM's buffer. What belongs to one platform, the engine and how one queue
// of the device waits for another, is in its own folder.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "internal/LESKernels.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include "openmm/common/ComputeKernel.h"

namespace LESPlugin {

class CommonCalcLESForceKernel : public CalcLESForceKernel {
public:
    CommonCalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ComputeContext& cc)
        : CalcLESForceKernel(name, platform), cc(cc) {}

    void initialize(const LESForce& force, const les::EngineOptions& options, const LESParticles& particles) final;
    void execute(bool includeForces, bool includeEnergy, double lambda, const std::array<double, 3>& field) final;
    les::Results results(const LESRequest& request) final;

protected:
    /// Of one evaluation, in the units of the engine.
    struct Sums {
        double energy;
        std::array<double, 3> polarization;  // 0 unless asked for and defined
    };

    /// Engine, and its arrays in angstrom and float64: positions of atoms and external charges (n + m, 3), positions of
    /// the atoms followed through the box (n, 3). OpenMM's context is not current.
    virtual void makeEngine(const LESForce& force, const les::EngineOptions& options,
                            const LESParticles& particles) = 0;
    /// Arguments of kernels, added in turn: those arrays, and an int that a kernel sets to 1.
    virtual void addPositionsTo(OpenMM::ComputeKernelImpl& kernel) = 0;
    virtual void addUnwrappedTo(OpenMM::ComputeKernelImpl& kernel) = 0;
    virtual void addInvalidTo(OpenMM::ComputeKernelImpl& kernel) = 0;
    /// The engine's forces on atoms (n, 3) and external charges (m, 3), eV/angstrom, as arguments 0 and 1.
    virtual void setForcesOf(OpenMM::ComputeKernelImpl& kernel) = 0;
    /// OpenMM's queue waits for all that the engine was asked for. OpenMM's context is current.
    virtual void waitForEngine() = 0;
    /// A point in OpenMM's queue, where the positions are there. OpenMM's context is current.
    virtual void markPositions() = 0;
    /// Starts the engine behind that point. `cell` in angstrom; `unwrapped`: moments are those of the second array.
    /// Afterwards the host has waited for the positions.
    virtual void evaluate(const les::Matrix3& cell, bool periodic, const LESRequest& request, bool unwrapped) = 0;
    /// The host waits for them. Throws OpenMMException if they are not finite.
    virtual Sums sums() = 0;
    /// Whether the int was set, and clears it; true for evaluations before the last one.
    virtual bool takeInvalid() = 0;
    virtual les::Results copyResults() = 0;

    OpenMM::ComputeContext& cc;

private:
    class AtTheEnd;

    void compileKernels(const LESParticles& particles);
    void findDerivatives(const LESForce& force);
    void start(const LESRequest& request);
    bool unwrap(const les::Matrix3& cell);
    double finish(bool includeForces, bool includeEnergy, int groups);

    OpenMM::ComputeArray rowOfParticle, cellOffsets;
    OpenMM::ComputeKernel gather, unwrapPositions, addForces;
    std::vector<int> presentOffsets;  // (particles, 3), what `cellOffsets` holds
    bool periodic = false;
    int forceGroup = 0;
    double scale = 1.0;    // lambda of the evaluation under way
    bool pending = false;  // execute() was called, its results have not been added
    LESRequest ofExecute;  // what execute() asks for
    std::string lambdaName;
    bool lambdaDerivative = false;
    std::vector<std::pair<std::string, std::size_t>> fieldDerivatives;  // name and axis
};

}  // namespace LESPlugin
