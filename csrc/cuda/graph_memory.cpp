// GraphMemory by the private pools of torch's CUDA allocator, which torch's own graphs use. The allocator is reached
// through its base class, so that nothing of a CUDA build of torch has to be linked: its headers and those of CUDA do.
#include "graph_memory.h"

#define C10_CUDA_NO_CMAKE_CONFIGURE_FILE  // CPU builds of torch are without that file
#include <c10/cuda/CUDACachingAllocator.h>

#include <atomic>

#include "les/error.h"

namespace les::cuda {

namespace {

using Allocator = c10::cuda::CUDACachingAllocator::CUDAAllocator;

/// Far from the numbers that torch gives its own pools.
c10::MempoolId_t next_pool() {
    static std::atomic<c10::CaptureId_t> next{c10::CaptureId_t{1} << 62};
    return {next++, 0};
}

/// Torch before 2.12 takes `beginAllocateToPool` for the begin of a capture.
template <class Any>
void mark_begin(Any& allocator, c10::DeviceIndex device) {
    if constexpr (requires { allocator.markCaptureBegin(device); }) allocator.markCaptureBegin(device);
}
template <class Any>
void mark_end(Any& allocator, c10::DeviceIndex device) {
    if constexpr (requires { allocator.markCaptureEnd(device); }) allocator.markCaptureEnd(device);
}

class PrivatePool final : public GraphMemory {
public:
    PrivatePool(Allocator* allocator, int device, cudaStream_t stream)
        : allocator_(allocator), device_(static_cast<c10::DeviceIndex>(device)), stream_(stream), pool_(next_pool()) {}
    ~PrivatePool() override {
        if (!used_) return;
        allocator_->releasePool(device_, pool_);
        try {
            allocator_->emptyCache(pool_);  // else kept until torch runs out of memory, while others need it too
        } catch (...) {                     // at the end of a process there may be no driver any more
        }
    }

    void begin() override {
        // autograd's threads allocate on the same stream
        allocator_->beginAllocateToPool(device_, pool_, [stream = stream_](cudaStream_t of) { return of == stream; });
        used_ = true;
    }
    void started() override {
        mark_begin(*allocator_, device_);
        started_ = true;
    }
    void end() override {
        if (started_) mark_end(*allocator_, device_);
        started_ = false;
        allocator_->endAllocateToPool(device_, pool_);
    }

private:
    Allocator* allocator_;
    c10::DeviceIndex device_;
    cudaStream_t stream_;
    c10::MempoolId_t pool_;
    bool used_ = false, started_ = false;
};

}  // namespace

std::unique_ptr<GraphMemory> make_graph_memory(int device, cudaStream_t stream) {
    auto* allocator = dynamic_cast<Allocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
    if (allocator == nullptr) throw Error("this build of torch has no memory pools for CUDA graphs");
    return std::make_unique<PrivatePool>(allocator, device, stream);
}

}  // namespace les::cuda
