// Arrays, launches, copies and waits of DeviceStep on a GPU, all on one stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "block.cuh"
#include "device_array.h"
#include "mesh_solver.h"
#include "neighbor_cells.cuh"

namespace les::cuda {

namespace {

template <class Body>
__global__ void __launch_bounds__(Body::threads) run_body(const Body body) {
    __shared__ typename Body::Shared shared;
    body(Block<Body::threads>{}, shared);
}

}  // namespace

class CudaBackend {
public:
    template <class T>
    using Array = DeviceArray<T>;

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
        run_body<Body><<<static_cast<unsigned>(blocks), Body::threads, 0, stream_>>>(body);
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
                                          const LongRangeOptions& options, bool deterministic) const {
        return make_mesh_solver(parameters, n_channels, options, {deterministic, true}, stream_);
    }

private:
    cudaStream_t stream_;
    NeighborState* state_ = nullptr;  // of the host, where copies need no wait
    cudaEvent_t copied_ = nullptr;
};

}  // namespace les::cuda
