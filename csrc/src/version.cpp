// Handshake with the loaded libtorch, whose interfaces change with every minor version.
#include "les/version.h"

#include <caffe2/core/common.h>

#include <string>

#include "les/error.h"

namespace les {

namespace {

/// "2.13" of "2.13.0+cpu"
std::string minor_version(const std::string& text) { return text.substr(0, text.find('.', text.find('.') + 1)); }

std::string loaded_torch_version() {
    // not at::show_config, which asks torch for CUDA: hosts without Python load that part later (torch_module.cpp)
    const auto& options = caffe2::GetBuildOptions();
    const auto found = options.find("TORCH_VERSION");
    return found == options.end() ? "unknown" : found->second;
}

}  // namespace

void check_torch_version() {
    const std::string loaded = loaded_torch_version();
    if (minor_version(loaded) != minor_version(built_with_torch)) {
        throw Error(std::string("les-md was built with torch ") + built_with_torch + ", but torch " + loaded +
                    " is loaded; install torch " + minor_version(built_with_torch) + " or build les-md again");
    }
}

}  // namespace les
