// A kernel CalcLESForce for OpenMM's OpenCL platform, loaded as a plugin: what all GPU platforms share, with the engine
// of the CPU behind it, which gets the gathered positions and gives the forces by way of the host.
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
                    const std::vector<std::int32_t>& types) override {
        les::EngineOptions onHost = options;
        onHost.device = "cpu";
        engine = std::make_unique<les::Engine>(force.getModel(), onHost);
        this->types = types;
        positions.initialize<double>(cc, 3 * types.size(), "lesPositions");
        forces.initialize<double>(cc, 3 * types.size(), "lesForces");
        invalid.initialize<int>(cc, 1, "lesInvalid");
        cc.clearBuffer(invalid);
    }
    void addPositionsTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(positions); }
    void addInvalidTo(OpenMM::ComputeKernelImpl& kernel) override { kernel.addArg(invalid); }
    void setForcesOf(OpenMM::ComputeKernelImpl& kernel, int index) override { kernel.setArg(index, forces); }
    void waitForEngine() override {}
    void markPositions() override {}
    void evaluate(const les::Matrix3& cell, bool periodic) override {
        positions.download(gathered);
        les::System system;
        system.n_local = system.n_all = static_cast<std::int64_t>(types.size());
        system.positions = gathered.data();
        system.types = types.data();
        system.cell = cell;
        system.periodic = periodic;
        evaluated = &LESPlugin::withOpenMMErrors([&]() -> const les::Results& { return engine->compute(system); });
        forces.upload(evaluated->forces);
    }
    double energy() override { return evaluated->energy(); }
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
    std::vector<std::int32_t> types;
    std::vector<double> gathered;
    OpenMM::ComputeArray positions, forces, invalid;
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
