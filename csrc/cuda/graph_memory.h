// Torch's memory while a step is captured as a graph: what is allocated then belongs to the graph until that is gone,
// so that nothing else gets it between two launches. No torch in the interface: the kernels' files are free of it.
#pragma once

#include <memory>

typedef struct CUstream_st* cudaStream_t;

namespace les::cuda {

class GraphMemory {
public:
    virtual ~GraphMemory() = default;  ///< gives the memory back
    virtual void begin() = 0;          ///< before the capture
    virtual void started() = 0;        ///< the stream is being captured
    virtual void end() = 0;            ///< after it, also one that failed
};

/// Of allocations on `stream` of the device. Throws les::Error if torch's allocator cannot do it.
std::unique_ptr<GraphMemory> make_graph_memory(int device, cudaStream_t stream);

}  // namespace les::cuda
