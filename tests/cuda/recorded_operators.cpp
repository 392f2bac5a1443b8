// A fallback for all operators on a dispatch key of torch's that is kept for tests; see recorded_operators.h.
#include "recorded_operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <set>
#include <string>
#include <utility>

#include "les/error.h"

namespace les::cuda {

namespace {

constexpr auto key = c10::DispatchKey::TESTING_ONLY_GenericMode;
thread_local Calls* current = nullptr;
/// What operators have written to, and what was there before: nothing runs in a capture.
thread_local std::vector<std::pair<torch::Tensor, torch::Tensor>> written;

bool waits(const std::string& name) {
    static const std::set<std::string> names{"aten::nonzero",       "aten::item",     "aten::_local_scalar_dense",
                                             "aten::masked_select", "aten::bincount", "aten::_unique",
                                             "aten::equal",         "aten::_unique2", "aten::repeat_interleave",
                                             "aten::is_nonzero",    "aten::index",    "aten::argwhere"};
    return names.count(name) > 0;
}

/// Runs the operator on `arguments` and returns its results.
torch::jit::Stack results_of(const c10::OperatorHandle& op, torch::jit::Stack arguments) {
    const c10::impl::ExcludeDispatchKeyGuard below(key);
    op.callBoxed(&arguments);
    return arguments;
}

void record(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const std::string name = op.schema().name();
    if (waits(name)) throw Error("operation not permitted when stream is capturing: " + name);
    const std::size_t n = op.schema().arguments().size();
    const torch::jit::Stack arguments(stack->end() - static_cast<std::ptrdiff_t>(n), stack->end());
    torch::jit::drop(*stack, n);
    for (std::size_t i = 0; i < n; ++i) {
        const auto* alias = op.schema().arguments()[i].alias_info();
        if (alias == nullptr || !alias->isWrite() || !arguments[i].isTensor()) continue;
        const c10::impl::ExcludeDispatchKeyGuard below(key);
        const torch::Tensor data = arguments[i].toTensor().detach();
        written.emplace_back(data, data.clone());
    }
    const torch::jit::Stack outputs = results_of(op, arguments);
    for (const c10::IValue& output : outputs) stack->push_back(output);
    // arguments and results live as long as the record: their memory is given to nobody else
    current->push_back([op, arguments, outputs] {
        const torch::NoGradGuard no_graph;
        const torch::jit::Stack again = results_of(op, arguments);
        const auto copy = [](const torch::Tensor& to, const torch::Tensor& from) {
            if (to.defined() && to.data_ptr() != from.data_ptr()) to.detach().copy_(from.detach());
        };
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            if (outputs[i].isTensor()) copy(outputs[i].toTensor(), again[i].toTensor());
            if (!outputs[i].isTensorList()) continue;
            for (std::size_t j = 0; j < outputs[i].toTensorVector().size(); ++j)
                copy(outputs[i].toTensorVector()[j], again[i].toTensorVector()[j]);
        }
    });
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, library) {
    library.fallback(torch::CppFunction::makeFromBoxedFunction<&record>());
}

}  // namespace

struct RecordedOperators::Guard {
    c10::impl::IncludeDispatchKeyGuard included{key};
};

RecordedOperators::RecordedOperators(Calls& calls) : guard_(std::make_unique<Guard>()) { current = &calls; }
RecordedOperators::~RecordedOperators() {
    guard_.reset();
    const torch::NoGradGuard no_graph;
    for (auto entry = written.rbegin(); entry != written.rend(); ++entry) entry->first.copy_(entry->second);
    written.clear();
    current = nullptr;
}

}  // namespace les::cuda
