// A kernel CalcLESForce for OpenMM's OpenCL platform, loaded as a plugin: what all GPU platforms share, with the engine
// of the CPU behind it, which gets the gathered positions and gives the forces by way of the host.
#include <algorithm>
#include <cmath>
#include <memory>

#include "internal/LESErrors.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/opencl/OpenCLPlatform.h"
#include "platforms/common/CommonLESKernel.h"

namespace {

class OpenCLKernel : public LESPlugin::CommonCalcLESForceKernel {
public:
    using CommonCalcLESForceKernel::CommonCalcLESForceKernel;
    std::string longRangeDescription() const override { return engine->long_range_description(); }
    std::vector<std::string> takeWarnings() override { return engine->take_warnings(); }

protected:
    void makeEngine(const LESPlugin::LESForce& force, const les::EngineOptions& options,
                    const LESPlugin::LESParticles& particles) override {
        les::EngineOptions onHost = options;
        onHost.device = "cpu";
        engine = std::make_unique<les::Engine>(force.getModel(), onHost);
        this->particles = particles;
        const std::size_t n = particles.atoms.size(), m = particles.externals.size();
        positions.initialize<double>(cc, 3 * (n + m), "lesPositions");
        unwrappedPositions.initialize<double>(cc, 3 * n, "lesUnwrappedPositions");
        forces.initialize<double>(cc, 3 * n, "lesForces");
        externalForces.initialize<double>(cc, 3 * std::max<std::size_t>(m, 1), "lesExternalForces");
        invalid.initialize<int>(cc, 1, "lesInvalid");
        cc.clearBuffer(invalid);
    }
    void addPositionsTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(positions); }
    void addUnwrappedTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(unwrappedPositions); }
    void addInvalidTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(invalid); }
    void setForcesOf(OpenMM::ComputeKernelImpl& kernel) override {
        kernel.setArg(0, forces);
        kernel.setArg(1, externalForces);
    }
    void waitForEngine() override {}
    void markPositions() override {}
    void evaluate(const les::Matrix3& cell, bool periodic, const LESPlugin::LESRequest& request,
                  bool unwrapped) override {
        positions.download(gathered);
        if (unwrapped) unwrappedPositions.download(moved);
        les::System system;
        system.n_local = system.n_all = static_cast<std::int64_t>(particles.atoms.size());
        system.positions = gathered.data();
        system.unwrapped_positions = unwrapped ? moved.data() : nullptr;
        system.types = particles.types.data();
        system.cell = cell;
        system.periodic = periodic;
        system.field = request.field;
        system.polarization_current = request.current;
        system.velocities = request.velocities.data();
        system.born_charges = request.bornCharges;
        system.n_external = static_cast<std::int64_t>(particles.externals.size());
        system.external_positions = gathered.data() + 3 * particles.atoms.size();
        system.external_charges = particles.externalCharges.data();
        evaluated = &LESPlugin::withOpenMMErrors([&]() -> const les::Results& { return engine->compute(system); });
        forces.upload(evaluated->forces);
        if (!particles.externals.empty()) externalForces.upload(evaluated->external_forces);
    }
    Sums sums() override { return {evaluated->energy(), evaluated->polarization}; }
    bool takeInvalid() override {
        std::vector<int> value;
        invalid.download(value);
        cc.clearBuffer(invalid);
        return value.front() != 0;
    }
    les::Results copyResults() override { return *evaluated; }

private:
    std::unique_ptr<les::Engine> engine;
    const les::Results* evaluated = nullptr;
    LESPlugin::LESParticles particles;
    std::vector<double> gathered, moved;
    OpenMM::ComputeArray positions, unwrappedPositions, forces, externalForces, invalid;
};

class Factory : public OpenMM::KernelFactory {
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        auto& data = *static_cast<OpenMM::OpenCLPlatform::PlatformData*>(context.getPlatformData());
        // an OpenCLContext is a ComputeContext; its header would need those of OpenCL
        return new OpenCLKernel(name, platform, *reinterpret_cast<OpenMM::ComputeContext*>(data.contexts.front()));
    }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) void registerPlatforms() {}
extern "C" __attribute__((visibility("default"))) void registerKernelFactories() {
    OpenMM::Platform::getPlatformByName("OpenCL").registerKernelFactory(LESPlugin::CalcLESForceKernel::Name(),
                                                                        new Factory());
}
