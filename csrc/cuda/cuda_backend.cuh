// Arrays, launches, copies and waits of DeviceStep on a GPU, all on one stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "block.cuh"
#include "cufft_lines.h"
#include "device_array.h"
#include "graph_memory.h"
#include "mesh_solver.h"
#include "neighbor_cells.cuh"

namespace les::cuda {

namespace {

template <class Body>
__global__ void __launch_bounds__(Body::threads) run_body(const Body body) {
    __shared__ typename Body::Shared shared;
    body(Block<Body::threads>{}, shared);
}

/// With more shared memory than a block has without asking.
template <class Body>
__global__ void __launch_bounds__(Body::threads) run_large_body(const Body body) {
    extern __shared__ double shared_bytes[];
    body(Block<Body::threads>{}, *reinterpret_cast<typename Body::Shared*>(shared_bytes));
}

}  // namespace

class CudaBackend {
public:
    template <class T>
    using Array = DeviceArray<T>;
    template <class T>
    using Pinned = PinnedArray<T>;

    /// A captured graph, with the memory of torch that belongs to it.
    class Graph {
    public:
        Graph(cudaGraphExec_t graph, cudaStream_t stream, std::unique_ptr<GraphMemory> memory)
            : graph_(graph), stream_(stream), memory_(std::move(memory)) {}
        ~Graph() {
            if (graph_ == nullptr) return;
            cudaStreamSynchronize(stream_);  // it may be running
            cudaGraphExecDestroy(graph_);
        }
        Graph(Graph&& other) noexcept
            : graph_(std::exchange(other.graph_, nullptr)), stream_(other.stream_), memory_(std::move(other.memory_)) {}
        Graph(const Graph&) = delete;
        Graph& operator=(const Graph&) = delete;
        cudaGraphExec_t get() const { return graph_; }

    private:
        cudaGraphExec_t graph_;
        cudaStream_t stream_;
        std::unique_ptr<GraphMemory> memory_;
    };

    /// What goes onto the stream from now on is captured; nothing of it runs. Calls of other threads that CUDA does not
    /// allow during a capture are their own affair: autograd's threads only launch kernels.
    void begin_capture() {
        int device = 0;
        check(cudaGetDevice(&device), "the current device");
        memory_ = make_graph_memory(device, stream_);
        memory_->begin();
        const cudaError_t status = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
        if (status != cudaSuccess) {
            memory_->end();
            memory_.reset();
        }
        check(status, "the capture of a step");
        memory_->started();
    }
    Graph end_capture() {
        cudaGraph_t captured = nullptr;
        const cudaError_t ended = cudaStreamEndCapture(stream_, &captured);
        memory_->end();
        std::unique_ptr<GraphMemory> memory = std::move(memory_);
        check(ended, "the capture of a step");
        cudaGraphExec_t graph = nullptr;
        const cudaError_t made = cudaGraphInstantiate(&graph, captured, 0);
        cudaGraphDestroy(captured);
        check(made, "the graph of a step");
        return Graph(graph, stream_, std::move(memory));
    }
    /// After an error: the stream takes work again.
    void abandon_capture() noexcept {
        cudaGraph_t captured = nullptr;
        cudaStreamEndCapture(stream_, &captured);
        if (captured != nullptr) cudaGraphDestroy(captured);
        memory_->end();
        memory_.reset();
        cudaGetLastError();
    }
    void launch(const Graph& graph) const { check(cudaGraphLaunch(graph.get(), stream_), "the graph of a step"); }
    /// Why steps cannot be captured, or empty.
    std::string why_no_graphs() const {
        return stream_ == nullptr ? "the default stream of CUDA cannot be captured; take another one" : "";
    }

    explicit CudaBackend(cudaStream_t stream) : stream_(stream) {
        check(cudaMallocHost(reinterpret_cast<void**>(&state_), sizeof(NeighborState)), "memory of the host");
        const cudaError_t status = cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming);
        if (status != cudaSuccess) cudaFreeHost(state_);
        check(status, "an event");
    }
    ~CudaBackend() {
        cudaStreamSynchronize(stream_);
        cudaEventDestroy(copied_);
        cudaFreeHost(state_);
    }
    CudaBackend(const CudaBackend&) = delete;
    CudaBackend& operator=(const CudaBackend&) = delete;

    template <class Body>
    void launch(const Body& body, int blocks, const char* what) const {
        constexpr int bytes = static_cast<int>(sizeof(typename Body::Shared)), most_without_asking = 48 * 1024;
        if constexpr (bytes > most_without_asking) {
            static_assert(bytes <= 99 * 1024, "what every architecture from 8.0 on has for one block");
            check(cudaFuncSetAttribute(run_large_body<Body>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), what);
            run_large_body<Body><<<static_cast<unsigned>(blocks), Body::threads, bytes, stream_>>>(body);
        } else {
            run_body<Body><<<static_cast<unsigned>(blocks), Body::threads, 0, stream_>>>(body);
        }
        check(cudaGetLastError(), what);
    }

    void zero(void* data, std::size_t bytes) const { check(cudaMemsetAsync(data, 0, bytes, stream_), "clearing"); }
    void to_device(void* to, const void* from, std::size_t bytes) const {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copying to the GPU");
    }
    void to_host(void* to, const void* from, std::size_t bytes) const {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying from the GPU");
    }
    void wait() const { check(cudaStreamSynchronize(stream_), "the evaluation"); }
    double free_memory() const {
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "the memory of the GPU");
        return static_cast<double>(free);
    }

    /// Batches of transforms as those of csrc/src/fft.h.
    template <class Real>
    std::unique_ptr<LineTransform<Real>> real_lines(std::int64_t length, std::int64_t howmany,
                                                    std::int64_t distance) const {
        return std::make_unique<CufftLines<Real>>(LinesOf::reals, length, howmany, distance, stream_);
    }
    template <class Real>
    std::unique_ptr<LineTransform<Real>> complex_lines(std::int64_t length, std::int64_t howmany,
                                                       std::int64_t stride) const {
        return std::make_unique<CufftLines<Real>>(LinesOf::complex_numbers, length, howmany, stride, stream_);
    }

    /// Copies what the neighbour search found, behind what is on the stream now.
    void send(const NeighborState* state) const {
        check(cudaMemcpyAsync(state_, state, sizeof(NeighborState), cudaMemcpyDeviceToHost, stream_), "the neighbours");
        check(cudaEventRecord(copied_, stream_), "an event");
    }
    /// Waits until it has come; not for what was put on the stream after it.
    NeighborState receive() const {
        check(cudaEventSynchronize(copied_), "the neighbours");
        return *state_;
    }

    std::unique_ptr<MeshSolver> make_mesh(const LongRangeParameters& parameters, int n_channels,
                                          const LongRangeOptions& options, const DeviceOptions& device_options) const {
        return make_mesh_solver(parameters, n_channels, options, device_options, stream_);
    }
    std::unique_ptr<LongRangeSolver> make_distributed_mesh(const LongRangeParameters& parameters, int n_channels,
                                                           const LongRangeOptions& options, bool deterministic) const {
        return cuda::make_distributed_mesh(parameters, n_channels, options, deterministic, stream_);
    }

private:
    cudaStream_t stream_;
    NeighborState* state_ = nullptr;  // of the host, where copies need no wait
    cudaEvent_t copied_ = nullptr;
    std::unique_ptr<GraphMemory> memory_;  // of a capture under way
};

}  // namespace les::cuda
