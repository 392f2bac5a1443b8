// The network as a chain of calls, each with an autograd graph of its own that ends at what the next call is given. The
// cuts are where messages of owned atoms are copied to ghosts on the way forward, and cotangents of messages are added
// to owners on the way back. A host without ghosts has one call for all layers.
#pragma once

#include <torch/script.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "les/communicator.h"

namespace les {

/// Named tensors, see les/fields.h.
using Tensors = std::map<std::string, torch::Tensor>;

class NetworkStages {
public:
    /// Entry `local` of `module` for all layers at once, or entry `layer` for each of `n_stages` layers.
    NetworkStages(const torch::jit::Module& module, std::size_t n_stages, bool layer_by_layer);
    /// Entry `rows`, all layers at once.
    explicit NetworkStages(const torch::jit::Module& module);

    /// Evaluates the network from `types`, `edge_index` and `edge_vectors`, with graphs for `backward` in torch's
    /// gradient mode. Collective if layer by layer.
    void forward(const Tensors& input, std::int64_t n_local, Communicator& communicator);
    /// The same by entry `rows` from `types`, `neighbours`, `edge_vectors` (n_rows, slots, 3), `atoms`, and the rows of
    /// each element.
    void forward(const Tensors& input, const std::vector<std::int64_t>& runs);

    /// What the network returned.
    const Tensors& output() const { return stages_.back().outputs; }

    /// Gradient with respect to `edge_vectors` of sum(cotangents * output); undefined if that does not depend on them.
    /// Collective if layer by layer. The last time is without `keep_graphs`.
    torch::Tensor backward(Tensors cotangents, bool keep_graphs, Communicator& communicator);

private:
    /// One call; its inputs of floating point are leaves.
    struct Stage {
        Tensors inputs, outputs;
    };

    void start(const Tensors& input);
    Tensors call(const Tensors& inputs, std::int64_t n_local) const;
    static Tensors named(const c10::IValue& returned);
    Tensors next_inputs(const Tensors& outputs, std::int64_t n_all, Communicator& communicator);
    torch::Tensor messages_of_all(const torch::Tensor& messages, std::int64_t n_all, Communicator& communicator);
    torch::Tensor owned_cotangents(const torch::Tensor& of_all, const torch::Tensor& messages, std::int64_t n_local,
                                   Communicator& communicator);

    torch::jit::Method entry_;
    std::size_t n_stages_;
    bool layer_by_layer_;
    std::vector<Stage> stages_;
    std::vector<double> rows_;  // what is exchanged, (n_all, n_messages)
};

}  // namespace les
