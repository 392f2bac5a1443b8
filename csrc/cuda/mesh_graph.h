// A call of the mesh as a CUDA graph: all of its launches as one.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device_array.h"

namespace les::cuda {

/// What a graph is captured for.
struct MeshCall {
    const double *positions = nullptr, *charges = nullptr;
    std::int64_t n_atoms = -1;

    bool operator==(const MeshCall&) const = default;
};

inline bool is_capturing(cudaStream_t stream) {
    if (stream == nullptr) return false;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream, &status), "the stream of the mesh");
    return status != cudaStreamCaptureStatusNone;
}

class MeshGraph {
public:
    MeshGraph() = default;
    MeshGraph(const MeshGraph&) = delete;
    MeshGraph& operator=(const MeshGraph&) = delete;
    ~MeshGraph() { forget(); }

    bool is_there() const { return graph_ != nullptr; }
    void launch(cudaStream_t stream) const { check(cudaGraphLaunch(graph_, stream), "the launch of the mesh"); }

    /// Of what `enqueue` puts on the stream, without running it.
    template <class Enqueue>
    void capture(cudaStream_t stream, const Enqueue& enqueue) {
        cudaGraph_t graph = nullptr;
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "the capture of a graph");
        try {
            enqueue();
        } catch (...) {
            cudaStreamEndCapture(stream, &graph);
            if (graph != nullptr) cudaGraphDestroy(graph);
            cudaGetLastError();
            throw;
        }
        check(cudaStreamEndCapture(stream, &graph), "the capture of a graph");
        const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
        cudaGraphDestroy(graph);
        if (status != cudaSuccess) graph_ = nullptr;
        check(status, "a graph of the mesh");
    }

    void forget() {
        if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
        graph_ = nullptr;
    }

private:
    cudaGraphExec_t graph_ = nullptr;
};

}  // namespace les::cuda
