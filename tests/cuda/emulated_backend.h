// A backend of DeviceStep without a GPU: launches are loops over blocks and threads, arrays are those of the host, and
// the mesh is the emulated one. New memory holds garbage, as that of a device does.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cuda/mesh_solver.h"
#include "cuda/neighbor_cells.cuh"

namespace les::cuda {

template <class T>
class HostArray {
public:
    T* data() { return values_.empty() ? nullptr : reinterpret_cast<T*>(values_.data()); }
    const T* data() const { return values_.empty() ? nullptr : reinterpret_cast<const T*>(values_.data()); }
    void reserve(std::int64_t size) {
        const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
        // 0xff is NaN, -1, and no slot
        if (bytes > values_.size()) values_.assign(bytes + 16, static_cast<char>(0xff));
    }

private:
    std::vector<char> values_;
};

class EmulatedBackend {
public:
    template <class T>
    using Array = HostArray<T>;

    /// Threads of each phase and blocks from the last to the first.
    bool backwards = false;

    template <class Body>
    void launch(const Body& body, int blocks, const char*) const {
        const auto shared = std::make_unique<typename Body::Shared>();
        for (int i = 0; i < blocks; ++i)
            body(Block<Body::threads>{backwards ? blocks - 1 - i : i, blocks, backwards}, *shared);
    }
    void zero(void* data, std::size_t bytes) const {
        if (bytes > 0) std::memset(data, 0, bytes);
    }
    void to_device(void* to, const void* from, std::size_t bytes) const { std::memcpy(to, from, bytes); }
    void to_host(void* to, const void* from, std::size_t bytes) const { std::memcpy(to, from, bytes); }
    void wait() const {}
    void send(const NeighborState* state) { state_ = *state; }
    NeighborState receive() const { return state_; }

    std::unique_ptr<MeshSolver> make_mesh(const LongRangeParameters& parameters, int n_channels,
                                          const LongRangeOptions& options, bool deterministic) const;

private:
    NeighborState state_{};
};

}  // namespace les::cuda
