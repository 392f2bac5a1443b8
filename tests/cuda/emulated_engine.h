// Engine with device "cuda", whose GPU is the emulated one: the two functions by which the library reaches its kernels,
// for programs of one source file.
#pragma once

#include <memory>
#include <string>

#include "emulated_domain.h"
#include "les/device_engine.h"

namespace les {

/// More than any machine has: the network alone cannot run on the last one.
constexpr int most_devices = 1000;

bool has_device_engine() { return true; }

std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile& file, const EngineOptions& options) {
    device_index_of(options.device, most_devices);
    return std::make_unique<cuda::EmulatedDomain>(file, options);
}

}  // namespace les

inline les::EngineOptions options_on(const std::string& device) {
    les::EngineOptions options;
    options.device = device;
    options.long_range.solver = "mesh";
    options.long_range.accuracy = 1e-6;
    return options;
}
