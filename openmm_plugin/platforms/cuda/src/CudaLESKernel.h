// LESForce on the CUDA platform: positions and forces stay on the device. OpenMM works in a CUDA context of its own and
// on its own stream; the engine, as all that uses the CUDA runtime, works in the device's primary context on a stream
// of ours. Either waits for the other by events, and the host waits for the engine only where it must know the energy.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../../common/CommonLESKernel.h"
#include "les/device_engine.h"
#include "openmm/cuda/CudaContext.h"

namespace LESPlugin {

class CudaCalcLESForceKernel : public CommonCalcLESForceKernel {
public:
    CudaCalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::CudaContext& cu);
    ~CudaCalcLESForceKernel() override;

    std::string longRangeDescription() const override { return engine->long_range_description(); }
    std::vector<std::string> takeWarnings() override { return engine->take_warnings(); }

protected:
    void makeEngine(const LESForce& force, const les::EngineOptions& options, const LESParticles& particles) override;
    void addPositionsTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(positions); }
    void addUnwrappedTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(unwrappedPositions); }
    void addInvalidTo(OpenMM::ComputeKernelImpl& kernel) override;
    void setForcesOf(OpenMM::ComputeKernelImpl& kernel) override;
    void waitForEngine() override;
    void markPositions() override;
    void evaluate(const les::Matrix3& cell, bool periodic, const LESRequest& request, bool unwrapped) override;
    Sums sums() override;
    bool takeInvalid() override;
    les::Results copyResults() override;

private:
    /// The primary context of the device, current for the life of this object.
    class Primary {
    public:
        explicit Primary(const CudaCalcLESForceKernel& kernel);
        ~Primary();
        Primary(const Primary&) = delete;
        Primary& operator=(const Primary&) = delete;
    };
    /// Memory that host and device see.
    struct HostValues {
        les::DeviceSummary summary;
        int invalid;
    };

    void allocate(const LESParticles& particles);

    OpenMM::CudaContext& cu;
    CUcontext primary = nullptr;                         // retained
    CUstream stream = nullptr;                           // of the engine, in `primary`
    CUevent gathered = nullptr;                          // in OpenMM's context: the positions are there
    CUevent computed = nullptr;                          // in `primary`: the results are there
    CUdeviceptr positions = 0;                           // (n + m, 3), angstrom, float64
    CUdeviceptr unwrappedPositions = 0, velocities = 0;  // (n, 3)
    CUdeviceptr typesOfAtoms = 0, externalCharges = 0;   // (n,), (m,)
    HostValues* host = nullptr;
    std::unique_ptr<les::DeviceEngine> engine;
    std::int64_t numAtoms = 0, numExternals = 0;
};

}  // namespace LESPlugin
