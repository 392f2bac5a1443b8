// Calls of the module forward, autograd from the last call to the first; see network_stages.h.
#include "network_stages.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <utility>

#include "les/fields.h"

namespace les {

NetworkStages::NetworkStages(const torch::jit::Module& module, std::size_t n_stages, bool layer_by_layer)
    : entry_(module.get_method(layer_by_layer ? "layer" : "local")),
      n_stages_(n_stages),
      layer_by_layer_(layer_by_layer) {}

NetworkStages::NetworkStages(const torch::jit::Module& module)
    : entry_(module.get_method("rows")), n_stages_(1), layer_by_layer_(false) {}

/// The first stage with its inputs.
void NetworkStages::start(const Tensors& input) {
    stages_.clear();
    stages_.push_back({input, {}});
    // a leaf of its own: it must not hang on what the caller has
    auto& vectors = stages_.front().inputs.at(fields::edge_vectors);
    vectors = vectors.detach().requires_grad_(torch::GradMode::is_enabled());
}

void NetworkStages::forward(const Tensors& input, std::int64_t n_local, Communicator& communicator) {
    // profiling executors specialise on shapes and compile again whenever the number of edges changes
    torch::jit::GraphOptimizerEnabledGuard no_specialisation(false);
    const std::int64_t n_all = input.at(fields::types).size(0);
    start(input);
    stages_.front().outputs = call(stages_.front().inputs, n_local);
    while (stages_.size() < n_stages_) {
        stages_.push_back({next_inputs(stages_.back().outputs, n_all, communicator), {}});
        stages_.back().outputs = call(stages_.back().inputs, n_local);
    }
}

void NetworkStages::forward(const Tensors& input, const std::vector<std::int64_t>& runs) {
    torch::jit::GraphOptimizerEnabledGuard no_specialisation(false);
    start(input);
    const Tensors& inputs = stages_.front().inputs;
    stages_.front().outputs =
        named(entry_({inputs.at(fields::types), inputs.at(fields::neighbours), inputs.at(fields::edge_vectors),
                      inputs.at(fields::atoms), c10::List<std::int64_t>(c10::ArrayRef<std::int64_t>(runs))}));
}

Tensors NetworkStages::call(const Tensors& inputs, std::int64_t n_local) const {
    c10::IValue returned;
    if (layer_by_layer_) {
        c10::Dict<std::string, torch::Tensor> tensors;
        for (const auto& [name, tensor] : inputs) tensors.insert(name, tensor);
        returned = entry_({static_cast<std::int64_t>(stages_.size()) - 1, tensors, n_local});
    } else {
        returned =
            entry_({inputs.at(fields::types), inputs.at(fields::edge_index), inputs.at(fields::edge_vectors), n_local});
    }
    return named(returned);
}

Tensors NetworkStages::named(const c10::IValue& returned) {
    Tensors outputs;
    for (const auto& entry : returned.toGenericDict()) outputs[entry.key().toStringRef()] = entry.value().toTensor();
    return outputs;
}

Tensors NetworkStages::next_inputs(const Tensors& outputs, std::int64_t n_all, Communicator& communicator) {
    Tensors inputs;
    for (const auto& [name, tensor] : outputs) {
        const bool is_messages = name == fields::messages;
        inputs[name] = is_messages ? messages_of_all(tensor, n_all, communicator) : tensor.detach();
        if (tensor.is_floating_point()) inputs[name].requires_grad_(torch::GradMode::is_enabled());
    }
    return inputs;
}

/// Messages (n_all, n_messages) from those of owned atoms (n_local, n_messages).
torch::Tensor NetworkStages::messages_of_all(const torch::Tensor& messages, std::int64_t n_all,
                                             Communicator& communicator) {
    const std::int64_t width = messages.size(1);
    rows_.assign(static_cast<std::size_t>(n_all * width), 0.0);
    const auto rows = torch::from_blob(rows_.data(), {n_all, width}, torch::kFloat64);
    rows.narrow(0, 0, messages.size(0)).copy_(messages.detach());
    communicator.owners_to_ghosts(rows_.data(), static_cast<int>(width));
    return rows.to(messages.device(), messages.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

/// Cotangents (n_local, n_messages) of the messages that owners have sent, from those of all that were received.
torch::Tensor NetworkStages::owned_cotangents(const torch::Tensor& of_all, const torch::Tensor& messages,
                                              std::int64_t n_local, Communicator& communicator) {
    rows_.assign(static_cast<std::size_t>(messages.numel()), 0.0);
    const auto rows = torch::from_blob(rows_.data(), messages.sizes(), torch::kFloat64);
    if (of_all.defined()) rows.copy_(of_all);
    communicator.ghosts_to_owners(rows_.data(), static_cast<int>(messages.size(1)));
    return rows.narrow(0, 0, n_local)
        .to(messages.device(), messages.scalar_type(), /*non_blocking=*/false,
            /*copy=*/true);
}

torch::Tensor NetworkStages::backward(Tensors cotangents, bool keep_graphs, Communicator& communicator) {
    for (std::size_t s = stages_.size(); s-- > 0;) {
        const Stage& stage = stages_[s];
        torch::autograd::variable_list outputs, gradients, leaves;
        for (const auto& [name, cotangent] : cotangents) {
            // constants of the network have no gradient
            if (!cotangent.defined() || !stage.outputs.at(name).requires_grad()) continue;
            outputs.push_back(stage.outputs.at(name));
            gradients.push_back(cotangent);
        }
        cotangents.clear();
        std::vector<std::string> names;
        for (const auto& [name, tensor] : stage.inputs) {
            if (!tensor.requires_grad()) continue;
            names.push_back(name);
            leaves.push_back(tensor);
        }
        if (!outputs.empty()) {
            const auto found = torch::autograd::grad(outputs, leaves, gradients, keep_graphs, /*create_graph=*/false,
                                                     /*allow_unused=*/true);
            for (std::size_t n = 0; n < names.size(); ++n) cotangents[names[n]] = found[n];
        }
        if (s > 0) {
            const std::int64_t n_local = stages_[s - 1].outputs.at(fields::messages).size(0);
            torch::Tensor& of_messages = cotangents[fields::messages];
            of_messages = owned_cotangents(of_messages, stage.inputs.at(fields::messages), n_local, communicator);
        }
        if (!keep_graphs) stages_.pop_back();
    }
    return cotangents[fields::edge_vectors];
}

}  // namespace les
