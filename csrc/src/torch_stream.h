// The stream of a host as torch's own. c10's guards and streams know no CUDA type, so that this needs no CUDA header
// and compiles with a CPU build of torch.
#pragma once

#include <ATen/Context.h>
#include <c10/core/StreamGuard.h>
#include <torch/script.h>

#include <cstdint>
#include <optional>

#include "les/error.h"

namespace les {

/// The stream of a host as one of torch. Those that torch did not make have their address as number; the null stream
/// is the default one.
inline std::optional<c10::Stream> torch_stream(const torch::Device& device, void* stream) {
    if (device.is_cpu()) return std::nullopt;
    const c10::Stream found(c10::Stream::UNSAFE, device,
                            static_cast<c10::StreamId>(reinterpret_cast<std::intptr_t>(stream)));
    if (found.native_handle() != stream) throw Error("this build of torch cannot use the CUDA stream of the host");
    return found;
}

/// While it lives, torch works on the stream, and repeatably if that is asked for.
class TorchScope {
public:
    TorchScope(const std::optional<c10::Stream>& stream, bool deterministic)
        : was_deterministic_(at::globalContext().deterministicAlgorithms()),
          only_warned_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
        if (stream) guard_.emplace(*stream);
        if (deterministic) at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
    }
    ~TorchScope() { at::globalContext().setDeterministicAlgorithms(was_deterministic_, only_warned_); }
    TorchScope(const TorchScope&) = delete;
    TorchScope& operator=(const TorchScope&) = delete;

private:
    bool was_deterministic_, only_warned_;
    std::optional<c10::StreamGuard> guard_;
};

}  // namespace les
