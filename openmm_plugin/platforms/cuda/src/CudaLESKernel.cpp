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
        for (const CUdeviceptr array : {positions, unwrappedPositions, velocities, typesOfAtoms, externalCharges})
            if (array) cuMemFree(array);
        if (host) cuMemFreeHost(host);
        if (computed) cuEventDestroy(computed);
        if (stream) cuStreamDestroy(stream);
        CUcontext popped = nullptr;
        cuCtxPopCurrent(&popped);
    }
    cuDevicePrimaryCtxRelease(cu.getDevice());
}

void CudaCalcLESForceKernel::makeEngine(const LESForce& force, const les::EngineOptions& options,
                                        const LESParticles& particles) {
    checkDevice(options.device, cu.getDeviceIndex());
    numAtoms = static_cast<std::int64_t>(particles.atoms.size());
    numExternals = static_cast<std::int64_t>(particles.externals.size());
    les::EngineOptions engineOptions = options;
    engineOptions.deterministic = options.deterministic || cu.getPlatformData().deterministicForces;
    check(cuDevicePrimaryCtxRetain(&primary, cu.getDevice()), "use the primary context of the device");
    {
        const Primary current(*this);
        allocate(particles);
        engine = withOpenMMErrors([&] {
            return std::make_unique<les::DeviceEngine>(force.getModel(), engineOptions, cu.getDeviceIndex(), stream);
        });
    }
    const ContextSelector selector(cu);
    check(cuEventCreate(&gathered, CU_EVENT_DISABLE_TIMING), "make an event");
}

/// Stream, event and memory in the primary context.
void CudaCalcLESForceKernel::allocate(const LESParticles& particles) {
    const auto n = static_cast<std::size_t>(numAtoms), m = static_cast<std::size_t>(numExternals);
    const std::size_t types = n * sizeof(std::int32_t), charges = m * sizeof(double);
    check(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "make a stream");
    check(cuEventCreate(&computed, CU_EVENT_DISABLE_TIMING), "make an event");
    check(cuMemAlloc(&positions, 3 * (n + m) * sizeof(double)), "allocate the positions");
    check(cuMemAlloc(&unwrappedPositions, 3 * n * sizeof(double)), "allocate the positions");
    check(cuMemAlloc(&velocities, 3 * n * sizeof(double)), "allocate the velocities");
    check(cuMemAlloc(&typesOfAtoms, types), "allocate the types");
    check(cuMemcpyHtoD(typesOfAtoms, particles.types.data(), types), "copy the types");
    if (m > 0) {
        check(cuMemAlloc(&externalCharges, charges), "allocate the external charges");
        check(cuMemcpyHtoD(externalCharges, particles.externalCharges.data(), charges), "copy the external charges");
    }
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

void CudaCalcLESForceKernel::setForcesOf(OpenMM::ComputeKernelImpl& kernel) {
    kernel.setArg(0, reinterpret_cast<CUdeviceptr>(engine->forces()));
    kernel.setArg(1, reinterpret_cast<CUdeviceptr>(engine->external_forces()));
}

void CudaCalcLESForceKernel::waitForEngine() {
    check(cuStreamWaitEvent(cu.getCurrentStream(), computed, 0), "wait for the engine");
}

void CudaCalcLESForceKernel::markPositions() {
    check(cuEventRecord(gathered, cu.getCurrentStream()), "record an event");
}

void CudaCalcLESForceKernel::evaluate(const les::Matrix3& cell, bool periodic, const LESRequest& request,
                                      bool unwrapped) {
    const auto doubles = [](CUdeviceptr array) { return reinterpret_cast<const double*>(array); };
    les::DeviceSystem system;
    system.n_atoms = numAtoms;
    system.positions = doubles(positions);
    system.types = reinterpret_cast<const std::int32_t*>(typesOfAtoms);
    system.cell = cell;
    system.periodic = periodic;
    system.field = request.field;
    if (unwrapped) system.unwrapped_positions = doubles(unwrappedPositions);
    system.n_external = numExternals;
    system.external_positions = doubles(positions) + 3 * numAtoms;
    system.external_charges = doubles(externalCharges);
    system.polarization = request.polarization;
    system.polarization_current = request.current;
    system.born_charges = request.bornCharges;
    const Primary current(*this);
    if (request.current) {
        system.velocities = doubles(velocities);
        check(cuMemcpyHtoDAsync(velocities, request.velocities.data(), request.velocities.size() * sizeof(double),
                                stream),
              "copy the velocities");
    }
    check(cuStreamWaitEvent(stream, gathered, 0), "wait for OpenMM");
    withOpenMMErrors([&] { engine->compute(system); });
    check(cuEventRecord(computed, stream), "record an event");
}

CudaCalcLESForceKernel::Sums CudaCalcLESForceKernel::sums() {
    const Primary current(*this);
    check(cuMemcpyDtoHAsync(&host->summary, reinterpret_cast<CUdeviceptr>(engine->summary()),
                            sizeof(les::DeviceSummary), stream),
          "copy the energy");
    check(cuEventRecord(computed, stream), "record an event");
    check(cuEventSynchronize(computed), "wait for the energy");
    const les::DeviceSummary& found = host->summary;
    if (found.status != 0.0) withOpenMMErrors([&] { engine->copy_results(); });  // says what is wrong
    if (!std::isfinite(found.energy())) {
        throw OpenMMException(
            "LESForce: the energy must be finite, got nan; reduce the time step, minimise the energy first");
    }
    return {found.energy(), {found.polarization[0], found.polarization[1], found.polarization[2]}};
}

bool CudaCalcLESForceKernel::takeInvalid() { return std::exchange(host->invalid, 0) != 0; }

les::Results CudaCalcLESForceKernel::copyResults() {
    const Primary current(*this);
    return withOpenMMErrors([&] { return engine->copy_results(); });
}

}  // namespace LESPlugin
