// A backend of DeviceStep without a GPU: launches are loops over blocks and threads, arrays are those of the host, and
// the mesh is the emulated one. New memory holds garbage, as that of a device does.
#pragma once

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cuda/mesh_solver.h"
#include "cuda/neighbor_cells.cuh"
#include "les/error.h"
#include "src/fft.h"

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
    template <class T>
    using Pinned = HostArray<T>;

    /// Threads of each phase and blocks from the last to the first.
    bool backwards = false;
    /// Bytes that are said to be free.
    double memory = std::numeric_limits<double>::infinity();
    /// Launches until one fails; never, if negative.
    mutable int launches_left = -1;

    template <class Body>
    void launch(const Body& body, int blocks, const char* what) const {
        if (launches_left == 0) throw Error(std::string("CUDA: ") + what + ": out of order");
        if (launches_left > 0) --launches_left;
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
    double free_memory() const { return memory; }
    template <class Real>
    std::unique_ptr<LineTransform<Real>> real_lines(std::int64_t length, std::int64_t howmany,
                                                    std::int64_t distance) const {
        return les::real_lines<Real>(length, howmany, distance);
    }
    template <class Real>
    std::unique_ptr<LineTransform<Real>> complex_lines(std::int64_t length, std::int64_t howmany,
                                                       std::int64_t stride) const {
        return les::complex_lines<Real>(length, howmany, stride);
    }
    void send(const NeighborState* state) { state_ = *state; }
    NeighborState receive() const { return state_; }

    std::unique_ptr<MeshSolver> make_mesh(const LongRangeParameters& parameters, int n_channels,
                                          const LongRangeOptions& options, bool deterministic) const;
    std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                           const LongRangeOptions& options, bool deterministic) const;

private:
    NeighborState state_{};
};

}  // namespace les::cuda
