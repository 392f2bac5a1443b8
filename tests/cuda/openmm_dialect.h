// The words of OpenMM's kernel dialect that the kernels of LESForce use. On the CPU a kernel is a loop over its
// threads: one at a time, in any order, and as many as wanted. Under nvcc they are those of CUDA, to see that the
// kernels compile. USE_DOUBLE_PRECISION and USE_MIXED_PRECISION choose the precision as OpenMM does.
#define GLOBAL
#define GLOBAL_ID emulatedThread
#define GLOBAL_SIZE emulatedThreads
#define RESTRICT __restrict__
#ifdef __CUDACC__
#define KERNEL extern "C" __global__
#undef GLOBAL_ID
#undef GLOBAL_SIZE
#define GLOBAL_ID (blockIdx.x * blockDim.x + threadIdx.x)
#define GLOBAL_SIZE (blockDim.x * gridDim.x)
#define ATOMIC_ADD(destination, value) atomicAdd(destination, value)
#else
#define KERNEL static
#define ATOMIC_ADD(destination, value) (*(destination) += (value))
static int emulatedThread = 0, emulatedThreads = 1;
#endif
typedef long long mm_long;
typedef unsigned long long mm_ulong;
#ifdef USE_DOUBLE_PRECISION
typedef double real;
#else
typedef float real;
#endif
#ifdef __CUDACC__
#ifdef USE_DOUBLE_PRECISION
typedef double4 real4;
#else
typedef float4 real4;
#endif
#else
struct real4 {
    real x, y, z, w;
};
#endif
