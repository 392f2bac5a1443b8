// The evaluation on a GPU in a build without CUDA: every way in says so.
#include "device_domain.h"
#include "les/device_engine.h"
#include "les/error.h"

namespace les {

namespace {

Error without_cuda() {
    return Error(
        "this build of les-md has no CUDA kernels; build it where nvcc and a CUDA build of torch are installed, or "
        "use device cpu");
}

}  // namespace

struct DeviceEngine::Implementation {};

DeviceEngine::DeviceEngine(const ModelFile&, const EngineOptions&, int, void*) { throw without_cuda(); }
DeviceEngine::~DeviceEngine() = default;
DeviceEngine::DeviceEngine(DeviceEngine&&) noexcept = default;
DeviceEngine& DeviceEngine::operator=(DeviceEngine&&) noexcept = default;
const Metadata& DeviceEngine::metadata() const { throw without_cuda(); }
void DeviceEngine::compute(const DeviceSystem&) { throw without_cuda(); }
const double* DeviceEngine::forces() const { return nullptr; }
const double* DeviceEngine::summary() const { return nullptr; }
const double* DeviceEngine::node_energies() const { return nullptr; }
const double* DeviceEngine::latent_charges() const { return nullptr; }
const double* DeviceEngine::potentials() const { return nullptr; }
const double* DeviceEngine::external_forces() const { return nullptr; }
const double* DeviceEngine::born_charges() const { return nullptr; }
const double* DeviceEngine::atom_virials() const { return nullptr; }
Results DeviceEngine::copy_results() { throw without_cuda(); }
std::string DeviceEngine::long_range_description() const { return "none"; }
std::vector<std::string> DeviceEngine::take_warnings() { return {}; }

bool has_device_engine() { return false; }

std::unique_ptr<DeviceDomain> make_device_domain(const ModelFile&, const EngineOptions&) { throw without_cuda(); }

}  // namespace les
