// The three-dimensional transforms of the whole mesh in place by cuFFT, all channels in one batch.
#pragma once

#include <cufft.h>

#include <cstddef>

#include "device_array.h"
#include "mesh_shape.cuh"

namespace les::cuda {

/// Forward and backward transforms of all channels in place.
template <class Real>
class CufftMesh {
public:
    CufftMesh() = default;
    CufftMesh(const CufftMesh&) = delete;
    CufftMesh& operator=(const CufftMesh&) = delete;
    ~CufftMesh() { release(); }

    void resize(const MeshShape& mesh, cudaStream_t stream) {
        release();
        constexpr bool single = sizeof(Real) == 4;
        check(cufftCreate(&forward_), "a plan");
        ++made_;
        check(cufftCreate(&backward_), "a plan");
        ++made_;
        plan(forward_, mesh, stream, single ? CUFFT_R2C : CUFFT_D2Z);
        plan(backward_, mesh, stream, single ? CUFFT_C2R : CUFFT_Z2D);
    }
    void release() {
        if (made_ > 0) cufftDestroy(forward_);
        if (made_ > 1) cufftDestroy(backward_);
        made_ = 0;
    }
    void forward(Real* data) const {
        if constexpr (sizeof(Real) == 4) {
            check(cufftExecR2C(forward_, data, reinterpret_cast<cufftComplex*>(data)), "the forward transform");
        } else {
            check(cufftExecD2Z(forward_, data, reinterpret_cast<cufftDoubleComplex*>(data)), "the forward transform");
        }
    }
    void backward(Real* data) const {
        if constexpr (sizeof(Real) == 4) {
            check(cufftExecC2R(backward_, reinterpret_cast<cufftComplex*>(data), data), "the backward transform");
        } else {
            check(cufftExecZ2D(backward_, reinterpret_cast<cufftDoubleComplex*>(data), data), "the backward transform");
        }
    }

private:
    cufftHandle forward_ = 0, backward_ = 0;
    int made_ = 0;  // handles

    static void plan(cufftHandle handle, const MeshShape& mesh, cudaStream_t stream, cufftType type) {
        long long points[3] = {mesh.points[0], mesh.points[1], mesh.points[2]};
        long long reals[3] = {mesh.points[0], mesh.points[1], mesh.row()};
        long long modes[3] = {mesh.points[0], mesh.points[1], mesh.half};
        const long long distance = mesh.channel();
        const bool forward = type == CUFFT_R2C || type == CUFFT_D2Z;
        std::size_t work = 0;
        check(cufftMakePlanMany64(handle, 3, points, forward ? reals : modes, 1, forward ? distance : distance / 2,
                                  forward ? modes : reals, 1, forward ? distance / 2 : distance, type, mesh.channels,
                                  &work),
              "a plan");
        check(cufftSetStream(handle, stream), "the stream of a plan");
    }
};

}  // namespace les::cuda
