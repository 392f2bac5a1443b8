// The operators of torch that a captured step consists of, on the CPU: recorded once and run again into the same
// memory, as a GPU does with the kernels of a captured graph. An operator that needs a number of a tensor on the host
// fails, as it does while a stream is captured; what operators write while they are recorded is put back.
#pragma once

#include <functional>
#include <memory>
#include <vector>

namespace les::cuda {

using Calls = std::vector<std::function<void()>>;

/// While it lives, operators of this thread go to `calls` as well.
class RecordedOperators {
public:
    explicit RecordedOperators(Calls& calls);
    ~RecordedOperators();
    RecordedOperators(const RecordedOperators&) = delete;
    RecordedOperators& operator=(const RecordedOperators&) = delete;

private:
    struct Guard;
    std::unique_ptr<Guard> guard_;
};

}  // namespace les::cuda
