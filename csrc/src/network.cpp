// Network on TorchScript: the module of the model file, plain arrays to tensors and back, block by block. How a block
// is called and differentiated is in network_stages.
#include "les/network.h"

#include <malloc.h>
#include <torch/script.h>

#include <algorithm>
#include <utility>

#include "les/fields.h"
#include "network_blocks.h"
#include "network_stages.h"
#include "torch_module.h"

namespace les {

namespace {

/// Owned atoms evaluated at once: the values in between are some 60 MB.
constexpr std::int64_t centres_per_block = 768;

void copy_out(const torch::Tensor& tensor, std::vector<double>& out) {
    const auto flat = tensor.detach().to(torch::kCPU, torch::kFloat64).contiguous();
    const double* data = flat.data_ptr<double>();
    out.assign(data, data + flat.numel());
}

/// Bytes that the C library has given out.
double bytes_in_use() {
    const auto counts = mallinfo2();
    return static_cast<double>(counts.uordblks) + static_cast<double>(counts.hblkhd);
}

}  // namespace

struct Network::Implementation {
    torch::Device device;
    torch::jit::Module module;
    std::size_t n_stages;
    bool layer_by_layer;
    bool in_blocks, ghost_charges;
    double memory;                // bytes that graphs may take
    double bytes_per_centre = 0;  // of a graph, as measured; 0 before
    NetworkBlocks blocks;
    std::vector<NetworkStages> graphs;  // of all blocks, or none where they are made again
    const Edges* edges = nullptr;
    std::vector<double> values, rows;  // of one block

    Implementation(const ModelFile& file, const torch::Device& on, double graph_memory, bool by_layers)
        : device(on),
          module(load_module(file, on)),
          n_stages(by_layers ? static_cast<std::size_t>(file.metadata().n_layers) : 1),
          layer_by_layer(by_layers),
          // further layers need the neighbours of neighbours
          in_blocks(file.metadata().n_layers == 1),
          ghost_charges(file.metadata().ghost_charges),
          memory(graph_memory) {}

    NetworkStages evaluate(const NetworkBlock& block, bool with_graph, Communicator& communicator) const {
        const torch::AutoGradMode graph_wanted(with_graph);
        const auto whole = torch::TensorOptions().dtype(torch::kInt64);
        const auto types = torch::from_blob(const_cast<std::int64_t*>(block.types.data()),
                                            {static_cast<std::int64_t>(block.types.size())}, whole);
        const auto edge_index =
            torch::from_blob(const_cast<std::int64_t*>(block.edge_index.data()), {2, block.n_edges}, whole);
        const auto vectors = torch::from_blob(const_cast<double*>(edges->vectors.data()) + 3 * block.first_edge,
                                              {block.n_edges, 3}, torch::kFloat64);
        const Tensors input{
            {fields::types, types.to(device)},
            {fields::edge_index, edge_index.to(device)},
            // a copy: the caller's array changes under later steps
            {fields::edge_vectors, vectors.to(device, torch::kFloat64, /*non_blocking=*/false, /*copy=*/true)}};
        NetworkStages stages(module, n_stages, layer_by_layer);
        stages.forward(input, block.n_centre, communicator);
        return stages;
    }

    /// Rows of a block onto those of the system (n_all, n_channels).
    void add_charges(const System& of, const NetworkBlock& block, const torch::Tensor& charges,
                     std::vector<double>& all) {
        copy_out(charges, values);
        const auto channels = static_cast<std::size_t>(charges.size(1));
        all.resize(static_cast<std::size_t>(of.n_all) * channels, 0.0);
        const std::size_t n_rows = ghost_charges ? block.atoms.size() : static_cast<std::size_t>(block.n_centre);
        for (std::size_t n = 0; n < n_rows; ++n) {
            for (std::size_t c = 0; c < channels; ++c)
                all[static_cast<std::size_t>(block.atoms[n]) * channels + c] += values[n * channels + c];
        }
    }

    /// Gradient with respect to the edge vectors of a block, into its part of `out` (n_edges, 3).
    void differentiate(const NetworkBlock& block, NetworkStages& graph, const std::vector<double>& charge_cotangents,
                       const std::array<double, 3>& dipole_cotangent, bool with_energies, bool keep_graph,
                       Communicator& communicator, std::vector<double>& out) {
        const Tensors& output = graph.output();
        Tensors cotangents;
        if (with_energies) cotangents[fields::node_energies] = torch::ones_like(output.at(fields::node_energies));
        if (!charge_cotangents.empty()) {
            const torch::Tensor& charges = output.at(fields::latent_charges);
            const auto channels = static_cast<std::size_t>(charges.size(1));
            rows.resize(block.atoms.size() * channels);
            for (std::size_t n = 0; n < block.atoms.size(); ++n)
                std::copy_n(charge_cotangents.data() + static_cast<std::size_t>(block.atoms[n]) * channels, channels,
                            rows.data() + n * channels);
            cotangents[fields::latent_charges] = torch::from_blob(rows.data(), charges.sizes(), torch::kFloat64)
                                                     .to(charges.options().requires_grad(false), false, /*copy=*/true);
        }
        const auto dipoles = output.find(fields::transfer_dipoles);
        if (dipoles != output.end() && dipole_cotangent != std::array<double, 3>{}) {
            const auto row = torch::from_blob(const_cast<double*>(dipole_cotangent.data()), {1, 3}, torch::kFloat64);
            cotangents[fields::transfer_dipoles] =
                row.to(dipoles->second.options().requires_grad(false)).expand_as(dipoles->second);
        }
        const auto gradient = graph.backward(std::move(cotangents), keep_graph, communicator);
        if (!gradient.defined()) return;
        copy_out(gradient, values);
        std::copy(values.begin(), values.end(), out.begin() + static_cast<std::ptrdiff_t>(3 * block.first_edge));
    }

    /// The same for all blocks; graphs that are not there are made again.
    void differentiate_all(const std::vector<double>& charge_cotangents, const std::array<double, 3>& dipole_cotangent,
                           bool with_energies, bool keep_graphs, Communicator& communicator, std::vector<double>& out) {
        out.assign(3 * static_cast<std::size_t>(edges->n_edges), 0.0);
        for (std::size_t b = 0; b < blocks.blocks().size(); ++b) {
            const NetworkBlock& block = blocks.blocks()[b];
            if (graphs.empty()) {
                NetworkStages graph = evaluate(block, true, communicator);
                differentiate(block, graph, charge_cotangents, dipole_cotangent, with_energies, false, communicator,
                              out);
            } else {
                differentiate(block, graphs[b], charge_cotangents, dipole_cotangent, with_energies, keep_graphs,
                              communicator, out);
            }
        }
        if (!keep_graphs) graphs.clear();
    }
};

Network::Network(const ModelFile& file, const std::string& device, double graph_memory, bool layer_by_layer)
    : implementation_(std::make_unique<Implementation>(file, usable_device(device), graph_memory, layer_by_layer)) {}
Network::~Network() = default;
Network::Network(Network&&) noexcept = default;

void Network::set_state(double total_charge, double spin) {
    les::set_state(implementation_->module, total_charge, spin);
}

void Network::forward(const System& system, const Edges& edges, Communicator& communicator) {
    auto& state = *implementation_;
    state.edges = &edges;
    state.graphs.clear();
    const auto& blocks = state.blocks.split(system, edges, state.in_blocks ? centres_per_block : 0);
    node_energies_.clear();
    latent_charges_.clear();
    transfer_dipoles_.clear();
    const auto fits = [&] { return state.bytes_per_centre * static_cast<double>(system.n_local) <= state.memory; };
    const bool measures = blocks.size() > 1 && state.bytes_per_centre == 0.0;  // once, with the first block
    bool keep = blocks.size() == 1 || fits();
    for (const NetworkBlock& block : blocks) {
        const double before = measures && state.bytes_per_centre == 0.0 ? bytes_in_use() : 0.0;
        NetworkStages graph = state.evaluate(block, keep, communicator);
        const Tensors& output = graph.output();
        copy_out(output.at(fields::node_energies).to(torch::kFloat64) + output.at(fields::offset_energies),
                 state.values);
        node_energies_.insert(node_energies_.end(), state.values.begin(), state.values.end());
        state.add_charges(system, block, output.at(fields::latent_charges), latent_charges_);
        if (const auto dipoles = output.find(fields::transfer_dipoles); dipoles != output.end()) {
            copy_out(dipoles->second, state.values);
            transfer_dipoles_.insert(transfer_dipoles_.end(), state.values.begin(), state.values.end());
        }
        if (!keep) continue;
        state.graphs.push_back(std::move(graph));
        if (!measures || state.bytes_per_centre != 0.0) continue;
        state.bytes_per_centre = (bytes_in_use() - before) / static_cast<double>(block.n_centre);
        keep = fits();
        if (!keep) state.graphs.clear();
    }
}

const std::vector<double>& Network::backward(const std::vector<double>& charge_cotangents,
                                             const std::array<double, 3>& dipole_cotangent,
                                             Communicator& communicator) {
    implementation_->differentiate_all(charge_cotangents, dipole_cotangent, true, false, communicator, edge_gradients_);
    return edge_gradients_;
}

const std::vector<double>& Network::charge_gradient(const std::vector<double>& charge_cotangents,
                                                    const std::array<double, 3>& dipole_cotangent,
                                                    Communicator& communicator) {
    implementation_->differentiate_all(charge_cotangents, dipole_cotangent, false, true, communicator,
                                       charge_gradients_);
    return charge_gradients_;
}

}  // namespace les
