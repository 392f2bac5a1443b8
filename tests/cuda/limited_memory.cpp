// An allocator before that of c10; see limited_memory.h.
#include "limited_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>

struct LimitedMemory::Allocator final : c10::Allocator {
    c10::Allocator* before = c10::GetCPUAllocator();
    std::size_t most;
    std::atomic<std::size_t> most_asked = 0;
    std::atomic<int> n_refused = 0;

    explicit Allocator(std::size_t bytes) : most(bytes) {}
    c10::DataPtr allocate(std::size_t bytes) override {
        most_asked = std::max(most_asked.load(), bytes);
        if (bytes > most) {
            ++n_refused;
            TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", bytes, " bytes.");
        }
        return before->allocate(bytes);
    }
    c10::DeleterFnPtr raw_deleter() const override { return before->raw_deleter(); }
    void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

LimitedMemory::LimitedMemory(std::size_t most) : allocator_(std::make_unique<Allocator>(most)) {
    c10::SetCPUAllocator(allocator_.get(), 1);
}
LimitedMemory::~LimitedMemory() { c10::SetCPUAllocator(allocator_->before, 1); }

std::size_t LimitedMemory::most_asked() const { return allocator_->most_asked; }
int LimitedMemory::n_refused() const { return allocator_->n_refused; }
