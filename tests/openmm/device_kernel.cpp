// A kernel CalcLESForce for the Reference platform, loaded as a plugin: a stand-in for that of a GPU platform, which
// the rest of LESForce cannot tell from it. Its force is lambda*(1 + field in V/angstrom) on each atom and the charge
// on each external charge, whatever the positions; its results tell what it was asked for.
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
    void initialize(const LESPlugin::LESForce&, const les::EngineOptions& options,
                    const LESPlugin::LESParticles& particles) override {
        this->particles = particles;
        graphs = options.graphs;
    }
    void execute(bool, bool, double lambda, const std::array<double, 3>& field) override {
        for (const int atom : particles.atoms)
            forces[static_cast<std::size_t>(atom)] +=
                OpenMM::Vec3(1.0 + field[0], 1.0 + field[1], 1.0 + field[2]) * lambda;
        for (std::size_t j = 0; j < particles.externals.size(); ++j)
            forces[static_cast<std::size_t>(particles.externals[j])][0] += particles.externalCharges[j];
    }
    les::Results results(const LESPlugin::LESRequest& request) override {
        les::Results results;
        results.short_range_energy = 2.0;
        results.field_energy = request.field[0];
        results.n_channels = 1;
        for (const int type : particles.types) results.latent_charges.push_back(type);
        if (request.polarization) results.polarization = {1.0, 2.0, 3.0};
        for (std::size_t row = 0; request.current && row < request.velocities.size(); row += 3)
            for (std::size_t a = 0; a < 3; ++a) results.polarization_current[a] += request.velocities[row + a];
        if (request.bornCharges) results.born_charges.assign(9 * particles.atoms.size(), 0.5);
        return results;
    }
    std::string longRangeDescription() const override { return "stand-in, graphs " + graphs; }
    std::vector<std::string> takeWarnings() override { return {}; }

private:
    std::vector<OpenMM::Vec3>& forces;
    LESPlugin::LESParticles particles;
    std::string graphs;
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
