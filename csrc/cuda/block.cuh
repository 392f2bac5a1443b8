// What the bodies of the kernels are written in: a block of threads that goes through phases, with a barrier after
// each. nvcc turns a phase into one thread's share and __syncthreads(); an ordinary C++ compiler turns it into a loop
// over the threads of the block, so that everything but the launches is tested on a machine without a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define LES_DEVICE __device__ __forceinline__
#define LES_CONSTEXPR __host__ __device__ constexpr
#define LES_HOST_DEVICE __host__ __device__ inline
#define LES_UNROLL _Pragma("unroll")
#else
#define LES_DEVICE inline
#define LES_CONSTEXPR constexpr
#define LES_HOST_DEVICE inline
#define LES_UNROLL
#endif

namespace les::cuda {

#ifdef __CUDACC__

template <int n_threads>
struct Block {
    static constexpr int threads = n_threads;
    int index = static_cast<int>(blockIdx.x), count = static_cast<int>(gridDim.x);

    /// Runs `phase(thread)` for all threads of the block and waits until all have done it.
    template <class Phase>
    __device__ __forceinline__ void each(const Phase& phase) const {
        phase(static_cast<int>(threadIdx.x));
        __syncthreads();
    }
};

/// A variable that every thread of a block has for itself, kept between phases.
template <class T, int n_threads>
struct PerThread {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
};

template <class T>
__device__ __forceinline__ void atomic_add(T* to, T value) {
    atomicAdd(to, value);
}
__device__ __forceinline__ std::int32_t atomic_next(std::int32_t* counter) { return atomicAdd(counter, 1); }
__device__ __forceinline__ void atomic_most(std::int32_t* most, std::int32_t value) { atomicMax(most, value); }

#else

template <int n_threads>
struct Block {
    static constexpr int threads = n_threads;
    int index = 0, count = 1;
    bool backwards = false;  // the last thread first: threads of a phase that depend on each other show

    template <class Phase>
    void each(const Phase& phase) const {
        for (int i = 0; i < n_threads; ++i) phase(backwards ? n_threads - 1 - i : i);
    }
};

template <class T, int n_threads>
struct PerThread {
    T values[n_threads];
    T& operator[](int thread) { return values[thread]; }
};

template <class T>
inline void atomic_add(T* to, T value) {
    *to += value;
}
inline std::int32_t atomic_next(std::int32_t* counter) { return (*counter)++; }
inline void atomic_most(std::int32_t* most, std::int32_t value) { *most = *most < value ? value : *most; }

#endif

/// Calls item(i, thread) for the share of the block in 0 ... n - 1.
template <int n_threads, class Item>
LES_DEVICE void each_item(const Block<n_threads>& block, std::int64_t n, const Item& item) {
    const std::int64_t first = static_cast<std::int64_t>(block.index) * n_threads;
    const std::int64_t stride = static_cast<std::int64_t>(block.count) * n_threads;
    block.each([&](int thread) {
        for (std::int64_t i = first + thread; i < n; i += stride) item(i, thread);
    });
}

/// Parts that a sum over threads is divided into.
LES_CONSTEXPR int sum_parts(int n_sums, int n_threads) { return 8 * n_sums <= n_threads ? 8 : 4; }

/// Shared memory that `block_sum` needs.
LES_CONSTEXPR int block_sum_bytes(int n_sums, int n_threads) {
    return static_cast<int>(sizeof(double)) * (n_threads + sum_parts(n_sums, n_threads)) * n_sums;
}

/// Numbers of one thread.
template <int n>
struct Sums {
    double v[n];
};

/// Adds the numbers of all threads in a fixed order; the totals of the block go to `totals`.
template <int n_sums, int n_threads>
LES_DEVICE void block_sum(const Block<n_threads>& block, PerThread<Sums<n_sums>, n_threads>& sums, double* scratch,
                          double* totals) {
    constexpr int parts = sum_parts(n_sums, n_threads), part = n_threads / parts;
    static_assert(n_threads % parts == 0 && parts * n_sums <= n_threads, "one thread for each part of each sum");
    double* of_parts = scratch + n_threads * n_sums;
    block.each([&](int thread) {
        LES_UNROLL
        for (int s = 0; s < n_sums; ++s) scratch[s * n_threads + thread] = sums[thread].v[s];
    });
    block.each([&](int thread) {
        if (thread >= parts * n_sums) return;
        const double* from = scratch + thread / parts * n_threads + thread % parts * part;
        double sum = 0.0;
        for (int i = 0; i < part; ++i) sum += from[i];
        of_parts[thread] = sum;
    });
    block.each([&](int thread) {
        if (thread >= n_sums) return;
        double sum = 0.0;
        for (int i = 0; i < parts; ++i) sum += of_parts[thread * parts + i];
        totals[thread] = sum;
    });
}

}  // namespace les::cuda
