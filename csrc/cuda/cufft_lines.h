// Batches of one-dimensional transforms in place by cuFFT, with the layouts of csrc/src/fft.h.
#pragma once

#include <cufft.h>

#include <cstddef>
#include <cstdint>

#include "../src/fft.h"
#include "device_array.h"

namespace les::cuda {

enum class LinesOf { reals, complex_numbers };

template <class Real>
class CufftLines final : public LineTransform<Real> {
public:
    /// Lines of reals: `step` reals apart, their points next to each other. Complex ones: next to each other, their
    /// points `step` complex numbers apart.
    CufftLines(LinesOf kind, std::int64_t length, std::int64_t howmany, std::int64_t step, cudaStream_t stream)
        : kind_(kind) {
        if (kind == LinesOf::reals) {
            const Layout reals{1, step}, modes{1, step / 2};
            make(forward_, length, howmany, reals, modes, single ? CUFFT_R2C : CUFFT_D2Z, stream);
            make(backward_, length, howmany, modes, reals, single ? CUFFT_C2R : CUFFT_Z2D, stream);
        } else {
            // one plan for both directions
            make(forward_, length, howmany, {step, 1}, {step, 1}, single ? CUFFT_C2C : CUFFT_Z2Z, stream);
        }
    }
    CufftLines(const CufftLines&) = delete;
    CufftLines& operator=(const CufftLines&) = delete;
    ~CufftLines() override { release(); }

    void forward(Real* data) const override {
        if (kind_ == LinesOf::complex_numbers) return complex(data, CUFFT_FORWARD);
        if constexpr (single) {
            check(cufftExecR2C(forward_, data, reinterpret_cast<cufftComplex*>(data)), "a forward transform");
        } else {
            check(cufftExecD2Z(forward_, data, reinterpret_cast<cufftDoubleComplex*>(data)), "a forward transform");
        }
    }
    void backward(Real* data) const override {
        if (kind_ == LinesOf::complex_numbers) return complex(data, CUFFT_INVERSE);
        if constexpr (single) {
            check(cufftExecC2R(backward_, reinterpret_cast<cufftComplex*>(data), data), "a backward transform");
        } else {
            check(cufftExecZ2D(backward_, reinterpret_cast<cufftDoubleComplex*>(data), data), "a backward transform");
        }
    }

private:
    static constexpr bool single = sizeof(Real) == 4;
    struct Layout {
        std::int64_t stride, distance;  // of points, and of lines
    };

    LinesOf kind_;
    cufftHandle forward_ = 0, backward_ = 0;
    int made_ = 0;  // handles, the forward one first

    void make(cufftHandle& plan, std::int64_t length, std::int64_t howmany, const Layout& from, const Layout& to,
              cufftType type, cudaStream_t stream) {
        try {
            check(cufftCreate(&plan), "a plan");
            ++made_;
            // any embedding will do for one dimension, but there must be one, or strides are not read
            long long points = length, embedding = length;
            std::size_t work = 0;
            check(cufftMakePlanMany64(plan, 1, &points, &embedding, from.stride, from.distance, &embedding, to.stride,
                                      to.distance, type, howmany, &work),
                  "a plan");
            check(cufftSetStream(plan, stream), "the stream of a plan");
        } catch (...) {
            release();  // no destructor runs
            throw;
        }
    }
    void complex(Real* data, int direction) const {
        if constexpr (single) {
            auto* values = reinterpret_cast<cufftComplex*>(data);
            check(cufftExecC2C(forward_, values, values, direction), "a transform");
        } else {
            auto* values = reinterpret_cast<cufftDoubleComplex*>(data);
            check(cufftExecZ2Z(forward_, values, values, direction), "a transform");
        }
    }
    void release() {
        if (made_ > 0) cufftDestroy(forward_);
        if (made_ > 1) cufftDestroy(backward_);
        made_ = 0;
    }
};

}  // namespace les::cuda
