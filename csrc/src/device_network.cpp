// The network on device arrays: tensors made of the kernels' arrays without copies, on the kernels' stream. This file
// is all the glue between torch and the kernels; c10's guards and streams know no CUDA type, so that it needs no CUDA
// header. See device_network.h.
#include "device_network.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/StreamGuard.h>
#include <torch/script.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "les/error.h"
#include "les/fields.h"
#include "network_stages.h"
#include "torch_module.h"

namespace les {

namespace {

/// The stream of a host as one of torch. Those that torch did not make have their address as number; the null stream
/// is the default one.
std::optional<c10::Stream> torch_stream(const torch::Device& device, void* stream) {
    if (device.is_cpu()) return std::nullopt;
    const c10::Stream found(c10::Stream::UNSAFE, device,
                            static_cast<c10::StreamId>(reinterpret_cast<std::intptr_t>(stream)));
    if (found.native_handle() != stream) throw Error("this build of torch cannot use the CUDA stream of the host");
    return found;
}

/// While it lives, torch works on the stream, and repeatably if that is asked for.
class Scope {
public:
    Scope(const std::optional<c10::Stream>& stream, bool deterministic)
        : was_deterministic_(at::globalContext().deterministicAlgorithms()),
          only_warned_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
        if (stream) guard_.emplace(*stream);
        if (deterministic) at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
    }
    ~Scope() { at::globalContext().setDeterministicAlgorithms(was_deterministic_, only_warned_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

private:
    bool was_deterministic_, only_warned_;
    std::optional<c10::StreamGuard> guard_;
};

/// Centres whose evaluation tells how much memory one takes, and from which on that is asked.
constexpr std::int64_t centres_measured = 4096;
/// Smaller blocks are not worth trying when memory runs out.
constexpr std::int64_t least_centres = 256;

struct Block {
    std::int64_t first, n_centres;
};

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
    bool has_rows;  // entry `rows`, which never waits; files of earlier versions have `local` alone
    bool splits, ghost_charges, captured = false;
    SingleProcess alone;

    NetworkRows rows;
    std::vector<Block> blocks;
    std::optional<NetworkStages> graph;  // of a single block; several are evaluated again
    torch::Tensor node_energies, charges, dipoles, gradients;
    torch::Tensor centres;        // of all edges, as numbers of the block, for entry `local`
    std::int64_t limit = 0;       // centres of a block, 0: no limit known
    std::int64_t limit_for = -1;  // centres of the system it was found for
    double bytes_per_centre = 0.0, free_bytes = 0.0;
    std::string note;

    Implementation(const ModelFile& file, const std::string& name, void* host_stream, const DeviceNetworkOptions& given)
        : device(usable_device(name)),
          stream(torch_stream(device, host_stream)),
          options(given),
          module(load_module(file, device)),
          n_channels(file.metadata().n_channels),
          has_rows(file.metadata().rows_entry),
          splits(file.metadata().n_layers == 1),  // further layers need the neighbours of neighbours
          ghost_charges(file.metadata().ghost_charges),
          limit(given.most_centres) {}

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
    torch::Tensor atoms_of(const Block& block) const {
        if (has_rows) return view(rows.order, {rows.n_centres}).narrow(0, block.first, block.n_centres);
        return torch::arange(block.first, block.first + block.n_centres,
                             torch::TensorOptions().dtype(torch::kInt64).device(device));
    }

    /// How many centres of a block each element has.
    std::vector<std::int64_t> runs_of(const Block& block) const {
        std::vector<std::int64_t> runs;
        std::int64_t first = 0;
        for (const std::int64_t run : rows.runs) {
            const std::int64_t begin = std::max(first, block.first);
            first += run;
            runs.push_back(std::max<std::int64_t>(0, std::min(first, block.first + block.n_centres) - begin));
        }
        return runs;
    }

    NetworkStages evaluate(const Block& block, bool with_graph) {
        const torch::AutoGradMode graph_wanted(with_graph);
        if (!has_rows) return evaluate_edges(block);
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

    /// By entry `local`, in the block's own numbers: its centres first, then all atoms again, unless it is everything.
    NetworkStages evaluate_edges(const Block& block) {
        number_centres();
        const bool whole = block.n_centres == rows.n_centres;
        const std::int64_t n_edges = block.n_centres * rows.slots, first = block.first * rows.slots;
        torch::Tensor types = view(rows.types, {rows.n_atoms});
        if (!whole) types = torch::cat({types.narrow(0, block.first, block.n_centres), types});
        const auto edge_index = torch::empty({2, n_edges}, types.options());
        edge_index[0].copy_(centres.narrow(0, 0, n_edges));
        edge_index[1].copy_(view(rows.neighbours + first, {n_edges}));
        if (!whole) edge_index[1].add_(block.n_centres);
        NetworkStages stages(module, 1, false);
        stages.forward({{fields::types, types},
                        {fields::edge_index, edge_index},
                        {fields::edge_vectors, view(rows.vectors + 3 * first, {n_edges, 3})}},
                       block.n_centres, alone);
        return stages;
    }

    void collect(const Block& block, const Tensors& output) {
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
        if (has_rows) {
            charges.add_(of_block);
            return;
        }
        charges.narrow(0, block.first, block.n_centres).add_(of_block.narrow(0, 0, block.n_centres));
        if (ghost_charges) charges.add_(of_block.narrow(0, block.n_centres, rows.n_atoms));
    }

    /// The same memory in every step: what follows is captured as a graph.
    void keep(torch::Tensor& tensor, std::vector<std::int64_t> shape) const {
        if (!tensor.defined() || tensor.sizes() != c10::IntArrayRef(shape)) tensor = torch::empty(shape, float64());
    }

    void forward() {
        graph.reset();
        plan();
        keep(node_energies, {rows.n_centres});
        keep(charges, {rows.n_atoms, n_channels});
        if (blocks.size() > 1) charges.zero_();
        const bool keep = blocks.size() == 1;
        for (const Block& block : blocks) {
            NetworkStages stages = evaluate(block, keep);
            collect(block, stages.output());
            if (keep) graph = std::move(stages);
        }
    }

    void backward(const Cotangents& cotangents, bool keep_graph) {
        keep(gradients, {rows.n_centres, rows.slots, 3});
        for (const Block& block : blocks) {
            const bool again = keep_graph && graph;
            NetworkStages stages = graph ? std::move(*graph) : evaluate(block, true);
            graph.reset();
            gradients.index_copy_(0, atoms_of(block), differentiate(block, stages, cotangents, again));
            if (again) graph = std::move(stages);
        }
    }

    torch::Tensor differentiate(const Block& block, NetworkStages& stages, const Cotangents& given, bool keep_graph) {
        const Tensors& output = stages.output();
        Tensors cotangents;
        if (given.of_energies) cotangents[fields::node_energies] = torch::ones_like(output.at(fields::node_energies));
        if (given.of_charges != nullptr) {
            torch::Tensor of_block = view(given.of_charges, {rows.n_atoms, n_channels});
            if (!has_rows && block.n_centres != rows.n_centres)
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
        const torch::Tensor found = stages.backward(std::move(cotangents), keep_graph, alone);
        const std::vector<std::int64_t> shape{block.n_centres, rows.slots, 3};
        return found.defined() ? found.to(torch::kFloat64).reshape(shape) : torch::zeros(shape, float64());
    }

    /// Blocks of about the same size within the limit.
    void plan() {
        if (splits && options.most_centres == 0 && !device.is_cpu()) find_limit();
        const std::int64_t most = splits && limit > 0 ? limit : std::max<std::int64_t>(rows.n_centres, 1);
        const std::int64_t count = std::max<std::int64_t>(1, (rows.n_centres + most - 1) / most);
        blocks.clear();
        for (std::int64_t b = 0; b < count; ++b) {
            const std::int64_t first = b * rows.n_centres / count;
            blocks.push_back({first, (b + 1) * rows.n_centres / count - first});
        }
    }

    void number_centres() {
        const std::int64_t n_edges = rows.n_centres * rows.slots;
        if (centres.defined() && centres.numel() == n_edges && (n_edges == 0 || centres_slots == rows.slots)) return;
        const auto numbers = torch::arange(rows.n_centres, torch::TensorOptions().dtype(torch::kInt64).device(device));
        centres = numbers.unsqueeze(1).expand({rows.n_centres, rows.slots}).reshape({n_edges});
        centres_slots = rows.slots;
    }
    std::int64_t centres_slots = 0;

    /// From the memory that an evaluation of some centres takes at most, once for each number of centres.
    void find_limit() {
        if (rows.n_centres <= centres_measured || rows.n_centres == limit_for) return;
        limit_for = rows.n_centres;
        auto* allocator = c10::getDeviceAllocator(device.type());
        const auto total = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        const auto before = allocator->getDeviceStats(device.index());
        free_bytes = static_cast<double>(allocator->getMemoryInfo(device.index()).first) +
                     static_cast<double>(before.reserved_bytes[total].current - before.allocated_bytes[total].current);
        if (bytes_per_centre == 0.0) {
            allocator->resetPeakStats(device.index());
            const Block some{0, centres_measured};
            NetworkStages stages = evaluate(some, true);
            differentiate(some, stages, {}, false);
            const auto after = allocator->getDeviceStats(device.index());
            bytes_per_centre =
                static_cast<double>(after.allocated_bytes[total].peak - before.allocated_bytes[total].current) /
                static_cast<double>(centres_measured);
        }
        set_limit(static_cast<std::int64_t>(options.memory_share * free_bytes / std::max(bytes_per_centre, 1.0)));
    }

    void set_limit(std::int64_t centres_of_block) {
        limit = std::max(centres_of_block, least_centres);
        if (limit >= rows.n_centres) return;
        char text[200];
        std::snprintf(text, sizeof(text),
                      "the network runs in blocks of up to %lld atoms, each evaluated twice: one takes %.3g kB and "
                      "%.3g GB of the GPU's memory are free",
                      static_cast<long long>(limit), 1e-3 * bytes_per_centre, 1e-9 * free_bytes);
        note = text;
    }

    /// Calls `evaluation`, with smaller blocks as often as memory runs out.
    template <class Evaluation>
    void with_enough_memory(const Evaluation& evaluation) {
        const Scope scope(stream, options.deterministic);
        for (;;) {
            try {
                return evaluation();
            } catch (const c10::OutOfMemoryError&) {
                graph.reset();
                gradients.reset();
                const std::int64_t n_centres = blocks.empty() ? 0 : blocks.front().n_centres;
                if (captured || !splits || n_centres / 2 < least_centres || device.is_cpu()) throw;
                c10::getDeviceAllocator(device.type())->emptyCache();
                limit_for = rows.n_centres;
                set_limit(n_centres / 2);
                plan();
            }
        }
    }
};

DeviceNetwork::DeviceNetwork(const ModelFile& file, const std::string& device, void* stream,
                             const DeviceNetworkOptions& options)
    : implementation_(std::make_unique<Implementation>(file, device, stream, options)) {}
DeviceNetwork::~DeviceNetwork() = default;

void DeviceNetwork::set_state(double total_charge, double spin) {
    les::set_state(implementation_->module, total_charge, spin);
}

void DeviceNetwork::set_captured(bool captured) { implementation_->captured = captured; }

void DeviceNetwork::forward(const NetworkRows& rows) {
    implementation_->rows = rows;
    implementation_->with_enough_memory([&] { implementation_->forward(); });
}

const double* DeviceNetwork::backward(const double* cotangents, const std::array<double, 3>& dipole_cotangent) {
    implementation_->with_enough_memory(
        [&] { implementation_->backward({true, cotangents, dipole_cotangent}, /*keep_graph=*/false); });
    return gradients();
}

const double* DeviceNetwork::charge_gradient(const double* cotangents, const std::array<double, 3>& dipole_cotangent) {
    implementation_->with_enough_memory(
        [&] { implementation_->backward({false, cotangents, dipole_cotangent}, /*keep_graph=*/true); });
    return gradients();
}

const double* DeviceNetwork::gradients() const { return implementation_->gradients.const_data_ptr<double>(); }

void DeviceNetwork::clear() {
    auto& state = *implementation_;
    const Scope scope(state.stream, false);
    for (torch::Tensor* tensor : {&state.node_energies, &state.charges, &state.dipoles, &state.gradients})
        if (tensor->defined()) tensor->fill_(std::numeric_limits<double>::quiet_NaN());
}

const double* DeviceNetwork::node_energies() const { return implementation_->node_energies.const_data_ptr<double>(); }
double* DeviceNetwork::latent_charges() const { return implementation_->charges.mutable_data_ptr<double>(); }
const double* DeviceNetwork::transfer_dipoles() const {
    return implementation_->dipoles.defined() ? implementation_->dipoles.const_data_ptr<double>() : nullptr;
}
std::int64_t DeviceNetwork::n_blocks() const { return static_cast<std::int64_t>(implementation_->blocks.size()); }
std::string DeviceNetwork::take_note() { return std::exchange(implementation_->note, {}); }

}  // namespace les
