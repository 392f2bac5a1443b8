// Torch's memory on the CPU with an end to it, as a GPU's has.
#pragma once

#include <cstddef>
#include <memory>

/// While it lives, torch gets no more than `most` bytes at once; beyond, what its allocator of a GPU throws.
class LimitedMemory {
public:
    explicit LimitedMemory(std::size_t most);
    ~LimitedMemory();
    LimitedMemory(const LimitedMemory&) = delete;
    LimitedMemory& operator=(const LimitedMemory&) = delete;

    std::size_t most_asked() const;  // at once, since it lives
    int n_refused() const;

private:
    struct Allocator;
    std::unique_ptr<Allocator> allocator_;
};
