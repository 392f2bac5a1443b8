// A backend of DeviceStep without a GPU: launches are loops over blocks and threads, arrays are those of the host, and
// the mesh is the emulated one. New memory holds garbage, as that of a device does. What is captured is recorded call
// by call and run again for each launch; during a capture nothing may wait, allocate or copy between host and device.
#pragma once

#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/mesh_solver.h"
#include "cuda/neighbor_cells.cuh"
#include "les/error.h"
#include "recorded_operators.h"
#include "src/fft.h"

namespace les::cuda {

inline thread_local bool emulated_capture = false;
inline void refuse_in_capture(const char* what) {
    if (emulated_capture) throw Error(std::string("operation not permitted when stream is capturing: ") + what);
}

template <class T>
class HostArray {
public:
    T* data() { return values_.empty() ? nullptr : reinterpret_cast<T*>(values_.data()); }
    const T* data() const { return values_.empty() ? nullptr : reinterpret_cast<const T*>(values_.data()); }
    void reserve(std::int64_t size) {
        const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
        // 0xff is NaN, -1, and no slot
        if (bytes <= values_.size()) return;
        refuse_in_capture("memory of the device");
        values_.assign(bytes + 16, static_cast<char>(0xff));
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

    /// For tests of what must not go unnoticed: a capture that fails at its end, and one that misses its last call but
    /// n.
    bool fail_capture = false;
    std::optional<std::size_t> miss;

    struct Graph {
        Calls calls;
    };

    template <class Body>
    void launch(const Body& body, int blocks, const char* what) const {
        if (launches_left == 0) throw Error(std::string("CUDA: ") + what + ": out of order");
        if (launches_left > 0) --launches_left;
        run([body, blocks, order = backwards] {
            const auto shared = std::make_unique<typename Body::Shared>();
            for (int i = 0; i < blocks; ++i)
                body(Block<Body::threads>{order ? blocks - 1 - i : i, blocks, order}, *shared);
        });
    }
    void zero(void* data, std::size_t bytes) const {
        if (bytes > 0) run([=] { std::memset(data, 0, bytes); });
    }
    void to_device(void* to, const void* from, std::size_t bytes) const { copy(to, from, bytes); }
    void to_host(void* to, const void* from, std::size_t bytes) const { copy(to, from, bytes); }
    void wait() const { refuse_in_capture("a wait"); }
    void send(const NeighborState* state) {
        refuse_in_capture("a wait");
        state_ = *state;
    }
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
    NeighborState receive() const { return state_; }

    /// What is put on the stream: runs now, or is recorded.
    void run(std::function<void()> call) const {
        if (emulated_capture) {
            calls_.push_back(std::move(call));
        } else {
            call();
        }
    }

    void begin_capture() {
        calls_.clear();
        emulated_capture = true;
        operators_ = std::make_unique<RecordedOperators>(calls_);
    }
    Graph end_capture() {
        abandon_capture();
        if (fail_capture) throw Error("operation would make the legacy stream depend on a capturing blocking stream");
        if (miss) calls_.erase(calls_.end() - 1 - static_cast<std::ptrdiff_t>(*miss));
        return {std::move(calls_)};
    }
    void abandon_capture() noexcept {
        operators_.reset();
        emulated_capture = false;
    }
    void launch(const Graph& graph) const {
        for (const auto& call : graph.calls) call();
    }
    std::string why_no_graphs() const { return ""; }

    std::unique_ptr<MeshSolver> make_mesh(const LongRangeParameters& parameters, int n_channels,
                                          const LongRangeOptions& options, const DeviceOptions& device_options);
    std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                           const LongRangeOptions& options, bool deterministic) const;

private:
    NeighborState state_{};
    mutable Calls calls_;
    std::unique_ptr<RecordedOperators> operators_;

    static void copy(void* to, const void* from, std::size_t bytes) {
        refuse_in_capture("a copy");
        std::memcpy(to, from, bytes);
    }
};

}  // namespace les::cuda
