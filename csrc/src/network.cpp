// Network on TorchScript: the `local` entry of the model file, with one autograd pass from energies and charges to
// edge vectors.
#include "les/network.h"

#include <dlfcn.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
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

/// One sentence with the first line of what torch says.
Error not_loaded(const ModelFile& file, const std::string& device, const std::string& reason) {
    const std::size_t start = std::min(reason.find_first_not_of(" \n"), reason.size());
    return Error("model file " + file.name() + ", made with torch " + file.metadata().torch_version +
                 ", cannot be loaded on " + device + " by torch " TORCH_VERSION "; make it again with this torch by " +
                 "`les-export model.pt` (" + reason.substr(start, reason.find('\n', start) - start) + ")");
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
    torch::Tensor edge_vectors, energies, charges, dipoles;

    Implementation(const ModelFile& file, const torch::Device& on)
        : device(on), module(load(file, on)), local(module.get_method("local")) {}

    /// Gradient with respect to the edge vectors, copied to `out`.
    void differentiate(const std::vector<double>& charge_cotangents, const std::array<double, 3>& dipole_cotangent,
                       bool with_energies, bool keep_graph, std::vector<double>& out) const {
        out.assign(static_cast<std::size_t>(edge_vectors.numel()), 0.0);
        if (edge_vectors.numel() == 0) return;
        torch::autograd::variable_list outputs, cotangents;
        if (with_energies) {
            outputs.push_back(energies);
            cotangents.push_back(torch::ones_like(energies));
        }
        if (!charge_cotangents.empty()) {
            const auto rows =
                torch::from_blob(const_cast<double*>(charge_cotangents.data()), charges.sizes(), torch::kFloat64);
            outputs.push_back(charges);
            cotangents.push_back(rows.to(charges.options().requires_grad(false)));
        }
        if (dipoles.defined() && dipole_cotangent != std::array<double, 3>{}) {
            const auto row = torch::from_blob(const_cast<double*>(dipole_cotangent.data()), {1, 3}, torch::kFloat64);
            outputs.push_back(dipoles);
            cotangents.push_back(row.to(dipoles.options().requires_grad(false)).expand_as(dipoles));
        }
        // constants of the network have no gradient
        for (std::size_t i = outputs.size(); i-- > 0;) {
            if (outputs[i].requires_grad()) continue;
            outputs.erase(outputs.begin() + static_cast<std::ptrdiff_t>(i));
            cotangents.erase(cotangents.begin() + static_cast<std::ptrdiff_t>(i));
        }
        if (outputs.empty()) return;
        copy_out(torch::autograd::grad(outputs, {edge_vectors}, cotangents, keep_graph)[0], out);
    }

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
        throw not_loaded(file, device, error.what_without_backtrace());
    } catch (const std::exception& error) {  // TorchScript of an operator this torch does not have
        throw not_loaded(file, device, error.what());
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
    transfer_dipoles_.clear();
    if (output.contains(fields::transfer_dipoles)) {
        state.dipoles = output.at(fields::transfer_dipoles).toTensor();
        copy_out(state.dipoles, transfer_dipoles_);
    }
}

const std::vector<double>& Network::backward(const std::vector<double>& charge_cotangents,
                                             const std::array<double, 3>& dipole_cotangent) {
    auto& state = *implementation_;
    state.differentiate(charge_cotangents, dipole_cotangent, true, false, edge_gradients_);
    state.edge_vectors = state.energies = state.charges = state.dipoles = torch::Tensor();
    return edge_gradients_;
}

const std::vector<double>& Network::charge_gradient(const std::vector<double>& charge_cotangents,
                                                    const std::array<double, 3>& dipole_cotangent) {
    implementation_->differentiate(charge_cotangents, dipole_cotangent, false, true, charge_gradients_);
    return charge_gradients_;
}

}  // namespace les
