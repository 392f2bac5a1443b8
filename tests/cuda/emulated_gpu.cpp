// A library that gives a process an emulated GPU: preloaded, its two functions take the place of those by which
// les::Engine reaches its kernels, so that a host program runs with device cuda.
#include "emulated_domain.h"
#include "les/device_engine.h"

namespace les {

bool has_device_engine() { return true; }

std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile& file, const EngineOptions& options) {
    device_index_of(options.device, 1);
    return std::make_unique<cuda::EmulatedDomain>(file, options);
}

}  // namespace les
