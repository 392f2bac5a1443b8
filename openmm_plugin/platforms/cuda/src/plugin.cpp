// What OpenMM calls when it loads the library: the kernel becomes known to the CUDA platform.
#include "CudaLESKernel.h"
#include "internal/LESExport.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/cuda/CudaPlatform.h"

namespace LESPlugin {

namespace {

class CudaLESKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        if (name != CalcLESForceKernel::Name())
            throw OpenMM::OpenMMException("LESForce: a kernel of name " + CalcLESForceKernel::Name() +
                                          " was expected, got " + name);
        auto& data = *static_cast<OpenMM::CudaPlatform::PlatformData*>(context.getPlatformData());
        // with several devices the first one adds for all, as it does for the forces of other plugins
        return new CudaCalcLESForceKernel(name, platform, *data.contexts.front());
    }
};

}  // namespace

}  // namespace LESPlugin

extern "C" LES_OPENMM_EXPORT void registerPlatforms() {}

extern "C" LES_OPENMM_EXPORT void registerKernelFactories() {
    LESPlugin::checkVersions();
    if (!les::has_device_engine()) return;  // then LESForce goes by way of the host
    for (int i = 0; i < OpenMM::Platform::getNumPlatforms(); ++i) {
        OpenMM::Platform& platform = OpenMM::Platform::getPlatform(i);
        if (platform.getName() == "CUDA")
            platform.registerKernelFactory(LESPlugin::CalcLESForceKernel::Name(),
                                           new LESPlugin::CudaLESKernelFactory());
    }
}
