// Memory of a device for sizes that change a little at every step.
#pragma once

#include <cstdint>

namespace les::cuda {

/// An array that grows with room to spare, for sizes that change a little at every step.
template <class Array>
class GrowingArray {
public:
    auto* data() const { return array_.data(); }
    /// True if it is new memory now.
    bool reserve(std::int64_t size) {
        if (size <= room_) return false;
        room_ = 0;
        array_.reserve(size + size / 8);
        room_ = size + size / 8;
        return true;
    }

private:
    mutable Array array_;
    std::int64_t room_ = 0;
};

}  // namespace les::cuda
