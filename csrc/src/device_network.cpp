// The network on device arrays: tensors made of the kernels' arrays without copies, on the kernels' stream. With
// torch_stream.h and device_blocks this is all the glue between torch and the kernels. See device_network.h.
#include "device_network.h"

#include <torch/script.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "device_blocks.h"
#include "les/fields.h"
#include "network_stages.h"
#include "one_line_errors.h"
#include "torch_module.h"
#include "torch_stream.h"

namespace les {

namespace {

/// What the outputs of the network are weighted with on the way back.
struct Cotangents {
    bool of_energies = true;
    const double* of_charges = nullptr;  // (n_atoms, n_channels), device
    std::array<double, 3> of_dipoles{};  // the same for all
};

}  // namespace

struct DeviceNetwork::Implementation {
    torch::Device device;
    std::optional<c10::Stream> stream;
    DeviceNetworkOptions options;
    torch::jit::Module module;
    int n_channels;
    std::size_t n_layers;
    bool has_rows;  // entry `rows`, which never waits; files of earlier versions have `local` alone
    bool has_layers, ghost_charges, captured = false;
    SingleProcess alone;

    NetworkRows rows;
    Communicator* domains = &alone;  // of this pass
    bool by_layers = false;          // entry `layer`, with messages that domains exchange
    bool sorted = false;             // whether rows are in the order of the elements
    DeviceBlocks blocks;
    std::optional<NetworkStages> graph;  // of a single block; several are evaluated again
    torch::Tensor node_energies, charges, dipoles, gradients;
    std::int64_t generation = 0;  // of their memory
    torch::Tensor centres;        // of all edges, as numbers of the block, for entry `local`

    Implementation(const ModelFile& file, const std::string& name, void* host_stream, const DeviceNetworkOptions& given)
        : device(usable_device(name)),
          stream(torch_stream(device, host_stream)),
          options(given),
          module(load_module(file, device)),
          n_channels(file.metadata().n_channels),
          n_layers(static_cast<std::size_t>(file.metadata().n_layers)),
          has_rows(file.metadata().rows_entry),
          has_layers(file.metadata().layer_entry),
          ghost_charges(file.metadata().ghost_charges),
          // further layers need the neighbours of neighbours
          blocks(device, given, /*splits=*/file.metadata().n_layers == 1) {}

    template <class T>
    torch::Tensor view(const T* data, std::vector<std::int64_t> shape) const {
        // the device named: torch need not ask whose memory it is
        return at::for_blob(const_cast<T*>(data), shape)
            .options(torch::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value).device(device))
            .target_device(device)
            .make_tensor();
    }
    torch::TensorOptions float64() const { return torch::TensorOptions().dtype(torch::kFloat64).device(device); }

    /// Centres of a block in the order of its rows.
    torch::Tensor atoms_of(const DeviceBlock& block) const {
        if (sorted) return view(rows.order, {rows.n_centres}).narrow(0, block.first, block.n_centres);
        return torch::arange(block.first, block.first + block.n_centres,
                             torch::TensorOptions().dtype(torch::kInt64).device(device));
    }

    /// How many centres of a block each element has.
    std::vector<std::int64_t> runs_of(const DeviceBlock& block) const {
        std::vector<std::int64_t> runs;
        std::int64_t first = 0;
        for (const std::int64_t run : rows.runs) {
            const std::int64_t begin = std::max(first, block.first);
            first += run;
            runs.push_back(std::max<std::int64_t>(0, std::min(first, block.first + block.n_centres) - begin));
        }
        return runs;
    }

    NetworkStages evaluate(const DeviceBlock& block, bool with_graph) {
        const torch::AutoGradMode graph_wanted(with_graph);
        if (!sorted) return evaluate_edges(block);
        const torch::Tensor atoms = atoms_of(block);
        NetworkStages stages(module);
        stages.forward(
            {{fields::types, view(rows.types, {rows.n_atoms})},
             {fields::neighbours, view(rows.neighbours, {rows.n_centres, rows.slots}).index_select(0, atoms)},
             {fields::edge_vectors, view(rows.vectors, {rows.n_centres, rows.slots, 3}).index_select(0, atoms)},
             {fields::atoms, atoms}},
            runs_of(block));
        return stages;
    }

    /// By entry `local` or `layer`, in the block's own numbers: its centres first, then all atoms again, unless it is
    /// everything.
    NetworkStages evaluate_edges(const DeviceBlock& block) {
        number_centres();
        const bool whole = block.n_centres == rows.n_centres;
        const std::int64_t n_edges = block.n_centres * rows.slots, first = block.first * rows.slots;
        torch::Tensor types = view(rows.types, {rows.n_atoms});
        if (!whole) types = torch::cat({types.narrow(0, block.first, block.n_centres), types});
        const auto edge_index = torch::empty({2, n_edges}, types.options());
        edge_index[0].copy_(centres.narrow(0, 0, n_edges));
        edge_index[1].copy_(view(rows.neighbours + first, {n_edges}));
        if (!whole) edge_index[1].add_(block.n_centres);
        NetworkStages stages(module, by_layers ? n_layers : 1, by_layers);
        stages.forward({{fields::types, types},
                        {fields::edge_index, edge_index},
                        {fields::edge_vectors, view(rows.vectors + 3 * first, {n_edges, 3})}},
                       block.n_centres, *domains);
        return stages;
    }

    void collect(const DeviceBlock& block, const Tensors& output) {
        const torch::Tensor atoms = atoms_of(block);
        node_energies.index_copy_(
            0, atoms,
            output.at(fields::node_energies).detach().to(torch::kFloat64) + output.at(fields::offset_energies));
        if (const auto found = output.find(fields::transfer_dipoles); found != output.end()) {
            keep(dipoles, {rows.n_centres, 3});
            dipoles.index_copy_(0, atoms, found->second.detach().to(torch::kFloat64));
        }
        if (n_channels == 0) return;
        const torch::Tensor of_block = output.at(fields::latent_charges).detach().to(torch::kFloat64);
        if (block.n_centres == rows.n_centres) {
            charges.copy_(of_block);
            return;
        }
        if (sorted) {
            charges.add_(of_block);
            return;
        }
        charges.narrow(0, block.first, block.n_centres).add_(of_block.narrow(0, 0, block.n_centres));
        if (ghost_charges) charges.add_(of_block.narrow(0, block.n_centres, rows.n_atoms));
    }

    /// The same memory in every step: what follows is captured as a graph.
    void keep(torch::Tensor& tensor, std::vector<std::int64_t> shape) {
        if (tensor.defined() && tensor.sizes() == c10::IntArrayRef(shape)) return;
        tensor = torch::empty(shape, float64());
        ++generation;
    }

    /// Several domains, which exchange messages after each layer, or null.
    void take(Communicator* of_pass) {
        domains = of_pass != nullptr ? of_pass : &alone;
        by_layers = has_layers && domains->size() > 1;
        sorted = has_rows && !by_layers;
    }

    void plan() {
        blocks.plan(rows.n_centres, [this](const DeviceBlock& some) {
            NetworkStages stages = evaluate(some, true);
            differentiate(some, stages, {}, false);
        });
    }

    void forward() {
        graph.reset();
        plan();
        keep(node_energies, {rows.n_centres});
        keep(charges, {rows.n_atoms, n_channels});
        if (blocks.all().size() > 1) charges.zero_();
        const bool keep = blocks.all().size() == 1;
        for (const DeviceBlock& block : blocks.all()) {
            NetworkStages stages = evaluate(block, keep);
            collect(block, stages.output());
            if (keep) graph = std::move(stages);
        }
    }

    void backward(const Cotangents& cotangents, bool keep_graph) {
        keep(gradients, {rows.n_centres, rows.slots, 3});
        for (const DeviceBlock& block : blocks.all()) {
            const bool again = keep_graph && graph;
            NetworkStages stages = graph ? std::move(*graph) : evaluate(block, true);
            graph.reset();
            gradients.index_copy_(0, atoms_of(block), differentiate(block, stages, cotangents, again));
            if (again) graph = std::move(stages);
        }
    }

    torch::Tensor differentiate(const DeviceBlock& block, NetworkStages& stages, const Cotangents& given,
                                bool keep_graph) {
        const Tensors& output = stages.output();
        Tensors cotangents;
        if (given.of_energies) cotangents[fields::node_energies] = torch::ones_like(output.at(fields::node_energies));
        if (given.of_charges != nullptr) {
            torch::Tensor of_block = view(given.of_charges, {rows.n_atoms, n_channels});
            if (!sorted && block.n_centres != rows.n_centres)
                of_block = torch::cat({of_block.narrow(0, block.first, block.n_centres), of_block});
            const torch::Tensor& of_network = output.at(fields::latent_charges);
            cotangents[fields::latent_charges] = of_block.to(of_network.scalar_type());
        }
        if (const auto found = output.find(fields::transfer_dipoles);
            found != output.end() && given.of_dipoles != std::array<double, 3>{}) {
            const torch::Tensor row = torch::empty({1, 3}, found->second.options().requires_grad(false));
            for (std::int64_t a = 0; a < 3; ++a) row.select(1, a).fill_(given.of_dipoles[static_cast<std::size_t>(a)]);
            cotangents[fields::transfer_dipoles] = row.expand_as(found->second);
        }
        const torch::Tensor found = stages.backward(std::move(cotangents), keep_graph, *domains);
        const std::vector<std::int64_t> shape{block.n_centres, rows.slots, 3};
        return found.defined() ? found.to(torch::kFloat64).reshape(shape) : torch::zeros(shape, float64());
    }

    void number_centres() {
        const std::int64_t n_edges = rows.n_centres * rows.slots;
        if (centres.defined() && centres.numel() == n_edges && (n_edges == 0 || centres_slots == rows.slots)) return;
        const auto numbers = torch::arange(rows.n_centres, torch::TensorOptions().dtype(torch::kInt64).device(device));
        centres = numbers.unsqueeze(1).expand({rows.n_centres, rows.slots}).reshape({n_edges});
        centres_slots = rows.slots;
    }
    std::int64_t centres_slots = 0;

    /// Calls `evaluation`, with smaller blocks as often as memory runs out.
    template <class Evaluation>
    void with_enough_memory(const Evaluation& evaluation) {
        const TorchScope scope(stream, options.deterministic);
        for (;;) {
            try {
                return evaluation();
            } catch (const Error&) {
                throw;
            } catch (const std::exception& error) {
                // not c10::OutOfMemoryError alone: TorchScript makes a std::runtime_error of it
                if (captured || !tells_of_memory(error.what())) throw;
                graph.reset();
                gradients.reset();
                ++generation;
                if (!blocks.halve()) throw;
                plan();
            }
        }
    }
};

void load_torch_device(const std::string& device) { usable_device(device); }

DeviceNetwork::DeviceNetwork(const ModelFile& file, const std::string& device, void* stream,
                             const DeviceNetworkOptions& options)
    : implementation_(std::make_unique<Implementation>(file, device, stream, options)) {}
DeviceNetwork::~DeviceNetwork() = default;

void DeviceNetwork::set_state(double total_charge, double spin) {
    const TorchScope scope(implementation_->stream, false);  // later steps need not wait for another stream
    les::set_state(implementation_->module, total_charge, spin);
}

void DeviceNetwork::set_captured(bool captured) { implementation_->captured = captured; }

void DeviceNetwork::forward(const NetworkRows& rows, Communicator* domains) {
    implementation_->rows = rows;
    implementation_->take(domains);
    implementation_->with_enough_memory([&] { implementation_->forward(); });
}

const double* DeviceNetwork::backward(const double* cotangents, const std::array<double, 3>& dipole_cotangent,
                                      Communicator* domains) {
    implementation_->take(domains);
    implementation_->with_enough_memory(
        [&] { implementation_->backward({true, cotangents, dipole_cotangent}, /*keep_graph=*/false); });
    return gradients();
}

const double* DeviceNetwork::charge_gradient(const double* cotangents, const std::array<double, 3>& dipole_cotangent,
                                             Communicator* domains) {
    implementation_->take(domains);
    implementation_->with_enough_memory(
        [&] { implementation_->backward({false, cotangents, dipole_cotangent}, /*keep_graph=*/true); });
    return gradients();
}

std::int64_t DeviceNetwork::generation() const { return implementation_->generation; }

const double* DeviceNetwork::gradients() const { return implementation_->gradients.const_data_ptr<double>(); }

void DeviceNetwork::clear() {
    auto& state = *implementation_;
    const TorchScope scope(state.stream, false);
    for (torch::Tensor* tensor : {&state.node_energies, &state.charges, &state.dipoles, &state.gradients})
        if (tensor->defined()) tensor->fill_(std::numeric_limits<double>::quiet_NaN());
}

const double* DeviceNetwork::node_energies() const { return implementation_->node_energies.const_data_ptr<double>(); }
double* DeviceNetwork::latent_charges() const { return implementation_->charges.mutable_data_ptr<double>(); }
const double* DeviceNetwork::transfer_dipoles() const {
    return implementation_->dipoles.defined() ? implementation_->dipoles.const_data_ptr<double>() : nullptr;
}
std::int64_t DeviceNetwork::n_blocks() const { return static_cast<std::int64_t>(implementation_->blocks.all().size()); }
std::string DeviceNetwork::take_note() { return implementation_->blocks.take_note(); }

}  // namespace les
