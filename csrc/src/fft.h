// Batches of one-dimensional Fourier transforms in place, from a library: the part of libtorch that is MKL, planned
// once and run without allocation, or torch's own operators where libtorch was built without MKL. The three-dimensional
// transform of the mesh is made of these (mesh_transform.h), so that modes nobody needs are left out after each axis.
#pragma once

#include <cstdint>
#include <memory>

namespace les {

/// Unnormalised transforms of `howmany` lines; forward has exp(-i ...). Plans may be run by several threads at once.
template <class Real>
class LineTransform {
public:
    virtual ~LineTransform() = default;
    virtual void forward(Real* data) const = 0;
    virtual void backward(Real* data) const = 0;
};

/// Real lines of `length` points, `distance` reals apart (even), to `length / 2 + 1` complex numbers in the same place.
template <class Real>
std::unique_ptr<LineTransform<Real>> real_lines(std::int64_t length, std::int64_t howmany, std::int64_t distance);

/// Neighbouring complex lines (distance 1) whose points are `stride` complex numbers apart.
template <class Real>
std::unique_ptr<LineTransform<Real>> complex_lines(std::int64_t length, std::int64_t howmany, std::int64_t stride);

/// "MKL" or "torch": what the plans use. The environment variable LES_FFT=torch chooses the latter.
const char* fft_library();

}  // namespace les
