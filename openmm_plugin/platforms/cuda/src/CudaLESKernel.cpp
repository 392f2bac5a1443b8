// The page to read first is execute() and finish(): gather, hand over, evaluate; later hand back, add.
#include "CudaLESKernel.h"

#include <cmath>
#include <utility>

#include "CudaLESKernelSource.h"
#include "internal/LESErrors.h"
#include "internal/LESUnits.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ContextSelector.h"

using OpenMM::ContextSelector;
using OpenMM::CudaContext;
using OpenMM::OpenMMException;
using OpenMM::Vec3;

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

/// What OpenMM calls when all forces have started, before it passes on those of virtual sites.
class CudaCalcLESForceKernel::AtTheEnd : public CudaContext::ForcePostComputation {
public:
    explicit AtTheEnd(CudaCalcLESForceKernel& kernel) : kernel(kernel) {}
    double computeForceAndEnergy(bool includeForces, bool includeEnergy, int groups) override {
        return kernel.finish(includeForces, includeEnergy, groups);
    }

private:
    CudaCalcLESForceKernel& kernel;
};

CudaCalcLESForceKernel::Primary::Primary(const CudaCalcLESForceKernel& kernel) {
    check(cuCtxPushCurrent(kernel.primary), "make the primary context current");
}

CudaCalcLESForceKernel::Primary::~Primary() {
    CUcontext popped = nullptr;
    cuCtxPopCurrent(&popped);
}

CudaCalcLESForceKernel::CudaCalcLESForceKernel(const std::string& name, const OpenMM::Platform& platform,
                                               CudaContext& cu)
    : CalcLESForceKernel(name, platform), cu(cu) {}

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

void CudaCalcLESForceKernel::initialize(const LESForce& force, const les::EngineOptions& options,
                                        const std::vector<int>& particles, const std::vector<std::int32_t>& types) {
    checkDevice(options.device, cu.getDeviceIndex());
    numAtoms = static_cast<std::int64_t>(particles.size());
    periodic = force.usesPeriodicBoundaryConditions();
    forceGroup = force.getForceGroup();
    lambdaName = force.getLambdaName();
    check(cuDevicePrimaryCtxRetain(&primary, cu.getDevice()), "use the primary context of the device");
    {
        const Primary current(*this);
        allocate(types);
        engine = withOpenMMErrors([&] {
            return std::make_unique<les::DeviceEngine>(force.getModel(), options, cu.getDeviceIndex(), stream);
        });
    }
    const ContextSelector selector(cu);
    check(cuEventCreate(&gathered, CU_EVENT_DISABLE_TIMING), "make an event");
    compileKernels(particles);
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); ++i) {
        cu.addEnergyParameterDerivative(force.getEnergyParameterDerivativeName(i));
        lambdaDerivative = true;
    }
    cu.addPostComputation(new AtTheEnd(*this));
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

void CudaCalcLESForceKernel::compileKernels(const std::vector<int>& particles) {
    std::vector<int> atoms(static_cast<std::size_t>(cu.getNumAtoms()), -1);
    for (std::size_t atom = 0; atom < particles.size(); ++atom)
        atoms[static_cast<std::size_t>(particles[atom])] = static_cast<int>(atom);
    atomOfParticle.initialize<int>(cu, atoms.size(), "lesAtomOfParticle");
    atomOfParticle.upload(atoms);

    const OpenMM::ComputeProgram program =
        cu.compileProgram(kernelSource, {{"NUM_PARTICLES", cu.intToString(cu.getNumAtoms())},
                                         {"PADDED_NUM_PARTICLES", cu.intToString(cu.getPaddedNumAtoms())},
                                         {"ANGSTROM_PER_NM", std::to_string(units::angstromPerNm)}});
    gather = program->createKernel("lesGatherPositions");
    gather->addArg(cu.getPosq());
    if (cu.getUseMixedPrecision()) gather->addArg(cu.getPosqCorrection());
    gather->addArg(cu.getAtomIndexArray());
    gather->addArg(atomOfParticle);
    gather->addArg(positions);
    addForces = program->createKernel("lesAddForces");
    addForces->addArg();  // forces of the engine
    addForces->addArg();  // their scale
    addForces->addArg(cu.getAtomIndexArray());
    addForces->addArg(atomOfParticle);
    addForces->addArg(cu.getLongForceBuffer());
    CUdeviceptr invalid = 0;
    check(cuMemHostGetDevicePointer(&invalid, &host->invalid, 0), "map memory of the host");
    addForces->addArg(invalid);
}

void CudaCalcLESForceKernel::execute(bool, bool, double lambda) {
    pending = false;
    startEngine();
    throwIfInvalid();
    scale = lambda;
    pending = true;
}

/// OpenMM's stream gathers the positions, the engine's waits for them and evaluates.
void CudaCalcLESForceKernel::startEngine() {
    les::DeviceSystem system;
    {
        const ContextSelector selector(cu);
        // one that was never finished, because of an error elsewhere, may still be reading `positions`
        check(cuStreamWaitEvent(cu.getCurrentStream(), computed, 0), "wait for the engine");
        gather->execute(cu.getNumAtoms());
        check(cuEventRecord(gathered, cu.getCurrentStream()), "record an event");
        if (periodic) {
            Vec3 box[3];
            cu.getPeriodicBoxVectors(box[0], box[1], box[2]);
            for (int row = 0; row < 3; ++row) {
                for (int axis = 0; axis < 3; ++axis) system.cell[row][axis] = box[row][axis] * units::angstromPerNm;
            }
        }
    }
    system.n_atoms = numAtoms;
    system.positions = reinterpret_cast<const double*>(positions);
    system.types = reinterpret_cast<const std::int32_t*>(typesOfAtoms);
    system.periodic = periodic;
    const Primary current(*this);
    check(cuStreamWaitEvent(stream, gathered, 0), "wait for OpenMM");
    withOpenMMErrors([&] { engine->compute(system); });
    check(cuEventRecord(computed, stream), "record an event");
}

/// OpenMM's stream waits for the engine and adds the forces.
double CudaCalcLESForceKernel::finish(bool includeForces, bool includeEnergy, int groups) {
    if (!std::exchange(pending, false) || (groups & (1 << forceGroup)) == 0) return 0.0;
    const ContextSelector selector(cu);
    check(cuStreamWaitEvent(cu.getCurrentStream(), computed, 0), "wait for the engine");
    if (includeForces) {
        addForces->setArg(0, reinterpret_cast<CUdeviceptr>(engine->forces()));
        addForces->setArg(1, scale * units::kJPerMolPerNmPerEVPerAngstrom);
        addForces->execute(cu.getNumAtoms());
    }
    if (!includeEnergy && !lambdaDerivative) return 0.0;
    const double energy = energyOfTheEngine();
    if (lambdaDerivative) cu.getEnergyParamDerivWorkspace()[lambdaName] += energy;
    return includeEnergy ? scale * energy : 0.0;
}

/// kJ/mol in float64, whatever the precision of OpenMM's energy buffer: energies of elements are large numbers.
double CudaCalcLESForceKernel::energyOfTheEngine() {
    {
        const Primary current(*this);
        check(cuMemcpyDtoHAsync(&host->summary, reinterpret_cast<CUdeviceptr>(engine->summary()),
                                sizeof(les::DeviceSummary), stream),
              "copy the energy");
        check(cuEventRecord(computed, stream), "record an event");
        check(cuEventSynchronize(computed), "wait for the energy");
    }
    const double energy = host->summary.short_range_energy + host->summary.long_range_energy;
    if (host->summary.status != 0.0 || !std::isfinite(energy)) {
        throw OpenMMException(
            "LESForce: the energy must be finite, got nan; reduce the time step, minimise the energy first");
    }
    return energy * units::kJPerMolPerEV;
}

/// The engine has waited for positions that come behind the forces of the evaluation before, so its flag is final.
void CudaCalcLESForceKernel::throwIfInvalid() const {
    if (std::exchange(host->invalid, 0) == 0) return;
    throw OpenMMException(
        "LESForce: forces must be finite and below 2^31 kJ/mol/nm, those of the evaluation before were not; reduce the "
        "time step, minimise the energy first");
}

les::Results CudaCalcLESForceKernel::results() {
    startEngine();
    const Primary current(*this);
    return withOpenMMErrors([&] { return engine->copy_results(); });
}

}  // namespace LESPlugin
