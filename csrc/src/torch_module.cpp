// Loading of TorchScript modules; see torch_module.h.
#include "torch_module.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <algorithm>
#include <sstream>

#include "les/device_engine.h"
#include "les/error.h"

namespace les {

namespace {

/// One sentence with the first line of what torch says.
Error not_loaded(const ModelFile& file, const std::string& device, const std::string& reason) {
    const std::size_t start = std::min(reason.find_first_not_of(" \n"), reason.size());
    return Error("model file " + file.name() + ", made with torch " + file.metadata().torch_version +
                 ", cannot be loaded on " + device + " by torch " TORCH_VERSION "; make it again with this torch by " +
                 "`les-export model.pt` (" + reason.substr(start, reason.find('\n', start) - start) + ")");
}

/// Hosts that start without Python have not loaded torch's CUDA part. That must come before torch is first asked for
/// CUDA: its answer stays. What is missing, or empty.
std::string load_cuda_part() {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return "";
    const char* reason = dlerror();
    return reason != nullptr ? reason : "libtorch_cuda.so";
}

/// Why torch, asked after `load_cuda_part`, has no CUDA.
Error no_cuda(const std::string& device, const std::string& missing) {
    const std::string asked = "device " + device + " was asked for, but ";
    if (missing.find("libtorch_cuda.so: cannot open") != std::string::npos)
        return Error(asked + "this build of torch has no CUDA; use device cpu or install a CUDA build of torch");
    if (!missing.empty())
        return Error(asked + "the CUDA part of torch cannot be loaded (" + missing + "); install torch again");
    if (!at::globalContext().hasCUDART())
        return Error(asked +
                     "this process has used a model on the CPU before the CUDA part of torch was loaded; use device "
                     "cuda first, or in a process of its own");
    return Error(asked + "torch finds no GPU that it can use; install or update NVIDIA's driver, or use device cpu");
}

}  // namespace

torch::Device usable_device(const std::string& name) {
    if (name != "cpu" && name != "cuda" && name.rfind("cuda:", 0) != 0) {
        throw Error("`device` must be cpu, cuda or cuda:N, got " + name);
    }
    if (name == "cpu") return torch::kCPU;
    const std::string missing = load_cuda_part();
    if (!at::hasCUDA()) throw no_cuda(name, missing);
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    const int count = c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).deviceCount();
    return torch::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device_index_of(name, count)));
}

torch::jit::Module load_module(const ModelFile& file, const torch::Device& device) {
    try {
        std::istringstream stream(file.bytes());
        auto loaded = torch::jit::load(stream, device);
        loaded.eval();
        for (auto parameter : loaded.parameters()) parameter.set_requires_grad(false);
        return loaded;
    } catch (const c10::Error& error) {
        throw not_loaded(file, device.str(), error.what_without_backtrace());
    } catch (const std::exception& error) {  // TorchScript of an operator this torch does not have
        throw not_loaded(file, device.str(), error.what());
    }
}

void set_state(const torch::jit::Module& module, double total_charge, double spin) {
    const auto entry = module.find_method("set_state");
    if (!entry) throw Error("the model file has inputs of the whole system but no entry `set_state`; export it again");
    (*entry)({total_charge, spin});
}

}  // namespace les
