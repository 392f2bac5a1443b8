// LESForce on the CUDA platform: positions and forces stay on the device. OpenMM works in a CUDA context of its own and
// on its own stream; the engine, as all that uses the CUDA runtime, works in the device's primary context on a stream
// of ours. Either waits for the other by events, and the host waits for the engine only where it must know the energy.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "internal/LESKernels.h"
#include "les/device_engine.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeKernel.h"
#include "openmm/cuda/CudaContext.h"

namespace LESPlugin {

class CudaCalcLESForceKernel : public CalcLESForceKernel {
public:
    CudaCalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::CudaContext& cu);
    ~CudaCalcLESForceKernel() override;

    void initialize(const LESForce& force, const les::EngineOptions& options, const std::vector<int>& particles,
                    const std::vector<std::int32_t>& types) override;
    void execute(bool includeForces, bool includeEnergy, double lambda) override;
    les::Results results() override;
    std::string longRangeDescription() const override { return engine->long_range_description(); }
    std::vector<std::string> takeWarnings() override { return engine->take_warnings(); }

private:
    class AtTheEnd;
    /// The primary context of the device, current for the life of this object.
    class Primary {
    public:
        explicit Primary(const CudaCalcLESForceKernel& kernel);
        ~Primary();
        Primary(const Primary&) = delete;
        Primary& operator=(const Primary&) = delete;
    };
    /// What an evaluation writes for the host, in memory that both see.
    struct HostValues {
        les::DeviceSummary summary;
        int invalid;  // 1: a force was not finite
    };

    void allocate(const std::vector<std::int32_t>& types);
    void compileKernels(const std::vector<int>& particles);
    void startEngine();
    double finish(bool includeForces, bool includeEnergy, int groups);
    double energyOfTheEngine();
    void throwIfInvalid() const;

    OpenMM::CudaContext& cu;
    CUcontext primary = nullptr;  // retained
    CUstream stream = nullptr;    // of the engine, in `primary`
    CUevent gathered = nullptr;   // in OpenMM's context: positions are in `positions`
    CUevent computed = nullptr;   // in `primary`: results of the engine are there
    CUdeviceptr positions = 0;    // (n, 3), angstrom, float64
    CUdeviceptr typesOfAtoms = 0;
    HostValues* host = nullptr;
    std::unique_ptr<les::DeviceEngine> engine;
    OpenMM::ComputeArray atomOfParticle;
    OpenMM::ComputeKernel gather, addForces;
    std::int64_t numAtoms = 0;
    bool periodic = false;
    int forceGroup = 0;
    double scale = 1.0;    // lambda of the evaluation under way
    bool pending = false;  // execute() was called, its results have not been added
    std::string lambdaName;
    bool lambdaDerivative = false;
};

}  // namespace LESPlugin
