// Memory of device and host that frees itself, and errors of CUDA and cuFFT as one sentence.
#pragma once

#include <cuda_runtime.h>
#include <cufft.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "les/error.h"

namespace les::cuda {

inline void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // whoever goes on without must not find it at the next launch
    throw Error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

inline void check(cufftResult status, const char* what) {
    if (status == CUFFT_SUCCESS) return;
    cudaGetLastError();
    throw Error(std::string("cuFFT: ") + what + " failed with status " + std::to_string(static_cast<int>(status)));
}

template <class T>
class DeviceArray {
public:
    DeviceArray() = default;
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;
    ~DeviceArray() { cudaFree(data_); }

    T* data() const { return data_; }
    /// At least `size` elements; what was there before is lost if it grows.
    void reserve(std::int64_t size) {
        if (size <= size_) return;
        release();
        check(cudaMalloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(size) * sizeof(T)),
              "memory of the GPU");
        size_ = size;
    }
    void release() {
        cudaFree(data_);
        data_ = nullptr;
        size_ = 0;
    }

private:
    T* data_ = nullptr;
    std::int64_t size_ = 0;
};

/// Memory of the host from and to which copies are fast and need no wait.
template <class T>
class PinnedArray {
public:
    PinnedArray() = default;
    PinnedArray(const PinnedArray&) = delete;
    PinnedArray& operator=(const PinnedArray&) = delete;
    ~PinnedArray() { cudaFreeHost(data_); }

    T* data() const { return data_; }
    /// At least `size` elements; what was there before is lost if it grows.
    void reserve(std::int64_t size) {
        if (size <= size_) return;
        cudaFreeHost(data_);
        data_ = nullptr;
        size_ = 0;
        check(cudaMallocHost(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(size) * sizeof(T)),
              "memory of the host");
        size_ = size;
    }

private:
    T* data_ = nullptr;
    std::int64_t size_ = 0;
};

}  // namespace les::cuda
