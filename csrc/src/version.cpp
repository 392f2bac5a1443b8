// Handshake with the loaded libtorch, whose interfaces change with every minor version.
#include "les/version.h"

#include <ATen/Version.h>

#include <string>

#include "les/error.h"

namespace les {

namespace {

/// "2.13" of "2.13.0+cpu"
std::string minor_version(const std::string& text) { return text.substr(0, text.find('.', text.find('.') + 1)); }

std::string loaded_torch_version() {
    // the build settings are the one place where libtorch tells its version at run time
    const std::string settings = at::show_config(), key = "TORCH_VERSION=";
    const auto start = settings.find(key);
    if (start == std::string::npos) return "unknown";
    return settings.substr(start + key.size(), settings.find(',', start) - start - key.size());
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
