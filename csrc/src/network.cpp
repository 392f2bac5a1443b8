// Network on TorchScript: the `local` entry of the model file, with one autograd pass from energies and charges to
// edge vectors.
#include "les/network.h"

#include <dlfcn.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include <sstream>
#include <utility>

#include "les/error.h"
#include "les/fields.h"

namespace les {

namespace {

torch::Device usable_device(const std::string& name) {
    if (name != "cpu" && name != "cuda" && name.rfind("cuda:", 0) != 0) {
        throw Error("`device` must be cpu, cuda or cuda:N, got " + name);
    }
    if (name != "cpu") {
        // hosts that start without Python have not loaded torch's CUDA part yet
        if (!at::hasCUDA()) dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
        if (!at::hasCUDA()) {
            throw Error(
                "device " + name +
                " was asked for, but this build of torch has no CUDA; use device cpu or install a CUDA build of torch");
        }
    }
    return torch::Device(name);
}

void copy_out(const torch::Tensor& tensor, std::vector<double>& out) {
    const auto flat = tensor.detach().to(torch::kCPU, torch::kFloat64).contiguous();
    const double* data = flat.data_ptr<double>();
    out.assign(data, data + flat.numel());
}

}  // namespace

struct Network::Implementation {
    torch::Device device;
    torch::jit::Module module;
    torch::jit::Method local;
    torch::Tensor edge_vectors, energies, charges;

    Implementation(const ModelFile& file, const torch::Device& on)
        : device(on), module(load(file, on)), local(module.get_method("local")) {}

    static torch::jit::Module load(const ModelFile& file, const torch::Device& on) {
        std::istringstream stream(file.bytes());
        auto loaded = torch::jit::load(stream, on);
        loaded.eval();
        for (auto parameter : loaded.parameters()) parameter.set_requires_grad(false);
        return loaded;
    }
};

Network::Network(const ModelFile& file, const std::string& device) {
    const torch::Device usable = usable_device(device);
    try {
        implementation_ = std::make_unique<Implementation>(file, usable);
    } catch (const c10::Error& error) {
        throw Error("model file " + file.name() + " cannot be loaded on " + device + ": " +
                    error.what_without_backtrace());
    }
}
Network::~Network() = default;
Network::Network(Network&&) noexcept = default;

void Network::forward(const System& system, const Edges& edges) {
    auto& state = *implementation_;
    // profiling executors specialise on shapes and compile again whenever the number of edges changes
    torch::jit::GraphOptimizerEnabledGuard no_specialisation(false);
    const auto int64 = torch::TensorOptions().dtype(torch::kInt64);
    const std::int64_t n = edges.n_edges;
    const auto types = torch::from_blob(const_cast<std::int32_t*>(system.types), {system.n_all}, torch::kInt32);
    const auto centres = torch::from_blob(const_cast<std::int64_t*>(edges.centres.data()), {n}, int64);
    const auto neighbours = torch::from_blob(const_cast<std::int64_t*>(edges.neighbours.data()), {n}, int64);
    const auto vectors = torch::from_blob(const_cast<double*>(edges.vectors.data()), {n, 3}, torch::kFloat64);
    // a leaf of its own: the caller's array changes under later steps
    state.edge_vectors =
        vectors.to(state.device, torch::kFloat64, /*non_blocking=*/false, /*copy=*/true).requires_grad_(true);
    const auto edge_index = torch::stack({centres, neighbours}).to(state.device);
    const auto output =
        state.local({types.to(state.device, torch::kInt64), edge_index, state.edge_vectors, system.n_local})
            .toGenericDict();
    state.energies = output.at(fields::node_energies).toTensor();
    state.charges = output.at(fields::latent_charges).toTensor();
    copy_out(state.energies.to(torch::kFloat64) + output.at(fields::offset_energies).toTensor(), node_energies_);
    copy_out(state.charges, latent_charges_);
}

const std::vector<double>& Network::backward(const std::vector<double>& charge_cotangents) {
    auto& state = *implementation_;
    edge_gradients_.assign(static_cast<std::size_t>(state.edge_vectors.numel()), 0.0);
    if (state.edge_vectors.numel() > 0) {
        torch::autograd::variable_list outputs{state.energies}, cotangents{torch::ones_like(state.energies)};
        if (!charge_cotangents.empty()) {
            const auto phi =
                torch::from_blob(const_cast<double*>(charge_cotangents.data()), state.charges.sizes(), torch::kFloat64);
            outputs.push_back(state.charges);
            cotangents.push_back(phi.to(state.charges.options().requires_grad(false)));
        }
        const auto gradients = torch::autograd::grad(outputs, {state.edge_vectors}, cotangents);
        copy_out(gradients[0], edge_gradients_);
    }
    state.edge_vectors = state.energies = state.charges = torch::Tensor();
    return edge_gradients_;
}

}  // namespace les
