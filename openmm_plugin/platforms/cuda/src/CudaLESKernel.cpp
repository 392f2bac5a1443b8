#include "CudaLESKernel.h"

#include <cmath>
#include <utility>

#include "internal/LESErrors.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ContextSelector.h"

using OpenMM::ContextSelector;
using OpenMM::CudaContext;
using OpenMM::OpenMMException;

namespace LESPlugin {

namespace {

void check(CUresult result, const char* what) {
    if (result == CUDA_SUCCESS) return;
    const char* name = nullptr;
    if (cuGetErrorName(result, &name) != CUDA_SUCCESS) name = "unknown error";
    throw OpenMMException(std::string("LESForce: CUDA could not ") + what + ": " + name);
}

/// The device of the Context, which the network runs on as well; `cuda:N` must not ask for another one.
void checkDevice(const std::string& device, int index) {
    if (device == "cuda" || device == "cuda:" + std::to_string(index)) return;
    throw OpenMMException(
        "LESForce: `device` must be \"cuda\" or the device of the Context, \"cuda:" + std::to_string(index) +
        "\", got \"" + device + "\"; choose the device by the property DeviceIndex of the platform");
}

}  // namespace

CudaCalcLESForceKernel::Primary::Primary(const CudaCalcLESForceKernel& kernel) {
    check(cuCtxPushCurrent(kernel.primary), "make the primary context current");
}

CudaCalcLESForceKernel::Primary::~Primary() {
    CUcontext popped = nullptr;
    cuCtxPopCurrent(&popped);
}

CudaCalcLESForceKernel::CudaCalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform,
                                               CudaContext& cu)
    : CommonCalcLESForceKernel(name, platform, cu), cu(cu) {}

CudaCalcLESForceKernel::~CudaCalcLESForceKernel() {
    if (gathered) {
        const ContextSelector selector(cu);
        cuEventDestroy(gathered);
    }
    if (!primary) return;
    if (cuCtxPushCurrent(primary) == CUDA_SUCCESS) {
        if (stream) cuStreamSynchronize(stream);  // the only one: arrays go away that it may still use
        engine.reset();
        if (positions) cuMemFree(positions);
        if (typesOfAtoms) cuMemFree(typesOfAtoms);
        if (host) cuMemFreeHost(host);
        if (computed) cuEventDestroy(computed);
        if (stream) cuStreamDestroy(stream);
        CUcontext popped = nullptr;
        cuCtxPopCurrent(&popped);
    }
    cuDevicePrimaryCtxRelease(cu.getDevice());
}

void CudaCalcLESForceKernel::makeEngine(const LESForce& force, const les::EngineOptions& options,
                                        const std::vector<std::int32_t>& types) {
    checkDevice(options.device, cu.getDeviceIndex());
    numAtoms = static_cast<std::int64_t>(types.size());
    les::EngineOptions engineOptions = options;
    engineOptions.deterministic = options.deterministic || cu.getPlatformData().deterministicForces;
    check(cuDevicePrimaryCtxRetain(&primary, cu.getDevice()), "use the primary context of the device");
    {
        const Primary current(*this);
        allocate(types);
        engine = withOpenMMErrors([&] {
            return std::make_unique<les::DeviceEngine>(force.getModel(), engineOptions, cu.getDeviceIndex(), stream);
        });
    }
    const ContextSelector selector(cu);
    check(cuEventCreate(&gathered, CU_EVENT_DISABLE_TIMING), "make an event");
}

/// Stream, event and memory in the primary context.
void CudaCalcLESForceKernel::allocate(const std::vector<std::int32_t>& types) {
    check(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "make a stream");
    check(cuEventCreate(&computed, CU_EVENT_DISABLE_TIMING), "make an event");
    check(cuMemAlloc(&positions, 3 * types.size() * sizeof(double)), "allocate the positions");
    check(cuMemAlloc(&typesOfAtoms, types.size() * sizeof(std::int32_t)), "allocate the types");
    check(cuMemcpyHtoD(typesOfAtoms, types.data(), types.size() * sizeof(std::int32_t)), "copy the types");
    void* memory = nullptr;
    check(cuMemHostAlloc(&memory, sizeof(HostValues), CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
          "allocate memory of the host");
    host = new (memory) HostValues{};
}

void CudaCalcLESForceKernel::addInvalidTo(OpenMM::ComputeKernelImpl& kernel) {
    CUdeviceptr invalid = 0;
    check(cuMemHostGetDevicePointer(&invalid, &host->invalid, 0), "map memory of the host");
    kernel.addArg(invalid);
}

void CudaCalcLESForceKernel::setForcesOf(OpenMM::ComputeKernelImpl& kernel, int index) {
    kernel.setArg(index, reinterpret_cast<CUdeviceptr>(engine->forces()));
}

void CudaCalcLESForceKernel::waitForEngine() {
    check(cuStreamWaitEvent(cu.getCurrentStream(), computed, 0), "wait for the engine");
}

void CudaCalcLESForceKernel::markPositions() {
    check(cuEventRecord(gathered, cu.getCurrentStream()), "record an event");
}

void CudaCalcLESForceKernel::evaluate(const les::Matrix3& cell, bool periodic) {
    les::DeviceSystem system;
    system.n_atoms = numAtoms;
    system.positions = reinterpret_cast<const double*>(positions);
    system.types = reinterpret_cast<const std::int32_t*>(typesOfAtoms);
    system.cell = cell;
    system.periodic = periodic;
    const Primary current(*this);
    check(cuStreamWaitEvent(stream, gathered, 0), "wait for OpenMM");
    withOpenMMErrors([&] { engine->compute(system); });
    check(cuEventRecord(computed, stream), "record an event");
}

double CudaCalcLESForceKernel::energy() {
    const Primary current(*this);
    check(cuMemcpyDtoHAsync(&host->summary, reinterpret_cast<CUdeviceptr>(engine->summary()),
                            sizeof(les::DeviceSummary), stream),
          "copy the energy");
    check(cuEventRecord(computed, stream), "record an event");
    check(cuEventSynchronize(computed), "wait for the energy");
    const double sum = host->summary.energy();
    if (host->summary.status != 0.0 || !std::isfinite(sum)) {
        throw OpenMMException(
            "LESForce: the energy must be finite, got nan; reduce the time step, minimise the energy first");
    }
    return sum;
}

bool CudaCalcLESForceKernel::takeInvalid() { return std::exchange(host->invalid, 0) != 0; }

les::Results CudaCalcLESForceKernel::copyResults() {
    const Primary current(*this);
    return withOpenMMErrors([&] { return engine->copy_results(); });
}

}  // namespace LESPlugin
