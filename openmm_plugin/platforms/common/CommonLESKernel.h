// LESForce on platforms that keep particles on a device, in the words that OpenMM's GPU platforms share: positions are
// gathered for the engine, forces added to OpenMM's buffer. What belongs to one platform, the engine and how one queue
// of the device waits for another, is in its own folder.
#pragma once

#include <cstdint>
#include <string>
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

    void initialize(const LESForce& force, const les::EngineOptions& options, const std::vector<int>& particles,
                    const std::vector<std::int32_t>& types) final;
    void execute(bool includeForces, bool includeEnergy, double lambda) final;
    les::Results results() final;

protected:
    /// Engine, and its array of positions (n, 3) in angstrom and float64. OpenMM's context is not current.
    virtual void makeEngine(const LESForce& force, const les::EngineOptions& options,
                            const std::vector<std::int32_t>& types) = 0;
    /// Arguments of kernels, added in turn: that array, and an int that a kernel sets to 1.
    virtual void addPositionsTo(OpenMM::ComputeKernelImpl& kernel) = 0;
    virtual void addInvalidTo(OpenMM::ComputeKernelImpl& kernel) = 0;
    /// The engine's forces (n, 3), eV/angstrom, as argument `index`.
    virtual void setForcesOf(OpenMM::ComputeKernelImpl& kernel, int index) = 0;
    /// OpenMM's queue waits for all that the engine was asked for. OpenMM's context is current.
    virtual void waitForEngine() = 0;
    /// A point in OpenMM's queue, where the positions are there. OpenMM's context is current.
    virtual void markPositions() = 0;
    /// Starts the engine behind that point. `cell` in angstrom. Afterwards the host has waited for the positions.
    virtual void evaluate(const les::Matrix3& cell, bool periodic) = 0;
    /// eV; the host waits for it. Throws OpenMMException if it is not finite.
    virtual double energy() = 0;
    /// Whether the int was set, and clears it; true for evaluations before the last one.
    virtual bool takeInvalid() = 0;
    virtual les::Results copyResults() = 0;

    OpenMM::ComputeContext& cc;

private:
    class AtTheEnd;

    void compileKernels(const std::vector<int>& particles);
    void start();
    double finish(bool includeForces, bool includeEnergy, int groups);

    OpenMM::ComputeArray atomOfParticle;
    OpenMM::ComputeKernel gather, addForces;
    bool periodic = false;
    int forceGroup = 0;
    double scale = 1.0;    // lambda of the evaluation under way
    bool pending = false;  // execute() was called, its results have not been added
    std::string lambdaName;
    bool lambdaDerivative = false;
};

}  // namespace LESPlugin
