// What happens when the library is loaded: the XML proxy is registered, unless OpenMM is not the one the plugin was
// built with. Entry points of OpenMM::Platform::loadPluginLibrary are here too; they say in words what was wrong.
#include <string>

#include "LESForce.h"
#include "LESForceProxy.h"
#include "internal/LESErrors.h"
#include "internal/LESExport.h"
#include "les/version.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/serialization/SerializationProxy.h"

namespace LESPlugin {

namespace {

/// "8.6" of "8.6.1".
std::string minorVersion(const std::string& version) {
    const std::size_t first = version.find('.');
    return first == std::string::npos ? version : version.substr(0, version.find('.', first + 1));
}

bool openMMFits() { return minorVersion(OpenMM::Platform::getOpenMMVersion()) == minorVersion(LES_BUILT_WITH_OPENMM); }

// Other minor versions of OpenMM have serialization functions of the same name that return something else, which ends
// in a crash: without a proxy they answer "unknown type" instead.
__attribute__((constructor)) void registerSerializationProxy() {
    if (openMMFits()) OpenMM::SerializationProxy::registerProxy(typeid(LESForce), new LESForceProxy());
}

}  // namespace

void checkVersions() {
    if (!openMMFits()) {
        throw OpenMM::OpenMMException("les-md was built with OpenMM " + std::string(LES_BUILT_WITH_OPENMM) +
                                      ", found OpenMM " + OpenMM::Platform::getOpenMMVersion() +
                                      ": reinstall les-md with `pip install --force-reinstall les-md`");
    }
    withOpenMMErrors([] { les::check_torch_version(); });
}

}  // namespace LESPlugin

extern "C" LES_OPENMM_EXPORT void registerPlatforms() {}

// No kernels of its own: CustomCPPForceImpl brings those of every platform.
extern "C" LES_OPENMM_EXPORT void registerKernelFactories() { LESPlugin::checkVersions(); }
