// LESForce on the CUDA platform: positions and forces stay on the device. OpenMM works in a CUDA context of its own and
// on its own stream; the engine, as all that uses the CUDA runtime, works in the device's primary context on a stream
// of ours. Either waits for the other by events, and the host waits for the engine only where it must know the energy.
#pragma once

#include <cuda.h>

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
    void makeEngine(const LESForce& force, const les::EngineOptions& options,
                    const std::vector<std::int32_t>& types) override;
    void addPositionsTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(positions); }
    void addInvalidTo(OpenMM::ComputeKernelImpl& kernel) override;
    void setForcesOf(OpenMM::ComputeKernelImpl& kernel, int index) override;
    void waitForEngine() override;
    void markPositions() override;
    void evaluate(const les::Matrix3& cell, bool periodic) override;
    double energy() override;
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

    void allocate(const std::vector<std::int32_t>& types);

    OpenMM::CudaContext& cu;
    CUcontext primary = nullptr;  // retained
    CUstream stream = nullptr;    // of the engine, in `primary`
    CUevent gathered = nullptr;   // in OpenMM's context: the positions are there
    CUevent computed = nullptr;   // in `primary`: the results are there
    CUdeviceptr positions = 0;    // (n, 3), angstrom, float64
    CUdeviceptr typesOfAtoms = 0;
    HostValues* host = nullptr;
    std::unique_ptr<les::DeviceEngine> engine;
    std::int64_t numAtoms = 0;
};

}  // namespace LESPlugin
