// A kernel CalcLESForce for the Reference platform, loaded as a plugin: a stand-in for that of a GPU platform, which
// the rest of LESForce cannot tell from it. Its force is lambda in every direction on each atom, whatever the
// positions.
#include "internal/LESKernels.h"
#include "openmm/KernelFactory.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/reference/ReferencePlatform.h"

namespace {

class StandIn : public LESPlugin::CalcLESForceKernel {
public:
    StandIn(const std::string& name, const OpenMM::Platform& platform, OpenMM::ContextImpl& context)
        : CalcLESForceKernel(name, platform),
          forces(*reinterpret_cast<OpenMM::ReferencePlatform::PlatformData*>(context.getPlatformData())->forces) {}
    void initialize(const LESPlugin::LESForce&, const les::EngineOptions&, const std::vector<int>& particles,
                    const std::vector<std::int32_t>& types) override {
        this->particles = particles;
        this->types = types;
    }
    void execute(bool, bool, double lambda) override {
        for (const int particle : particles)
            forces[static_cast<std::size_t>(particle)] += OpenMM::Vec3(lambda, lambda, lambda);
    }
    les::Results results() override {
        les::Results results;
        results.short_range_energy = 2.0;
        results.n_channels = 1;
        for (const int type : types) results.latent_charges.push_back(type);
        return results;
    }
    std::string longRangeDescription() const override { return "stand-in"; }
    std::vector<std::string> takeWarnings() override { return {}; }

private:
    std::vector<OpenMM::Vec3>& forces;
    std::vector<int> particles;
    std::vector<std::int32_t> types;
};

class Factory : public OpenMM::KernelFactory {
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        return new StandIn(name, platform, context);
    }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) void registerPlatforms() {}
extern "C" __attribute__((visibility("default"))) void registerKernelFactories() {
    OpenMM::Platform::getPlatformByName("Reference")
        .registerKernelFactory(LESPlugin::CalcLESForceKernel::Name(), new Factory());
}
