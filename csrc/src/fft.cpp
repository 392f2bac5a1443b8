// Plans of MKL inside libtorch, and torch's operators where it has none; see fft.h.
#include "fft.h"

#include <ATen/ATen.h>

#include <complex>
#include <cstdlib>
#include <string>
#include <type_traits>

#include "les/error.h"

// The documented C interface of MKL's transforms. libtorch exports it on x86 without shipping the header; weak, so that
// a libtorch without MKL loads too.
extern "C" {
long DftiCreateDescriptor_d_1d(void** plan, int domain, long length) __attribute__((weak));
long DftiCreateDescriptor_s_1d(void** plan, int domain, long length) __attribute__((weak));
long DftiSetValue(void* plan, int parameter, ...) __attribute__((weak));
long DftiCommitDescriptor(void* plan) __attribute__((weak));
long DftiComputeForward(void* plan, void* data, ...) __attribute__((weak));
long DftiComputeBackward(void* plan, void* data, ...) __attribute__((weak));
long DftiFreeDescriptor(void** plan) __attribute__((weak));
}

namespace les {

namespace {

enum DftiParameter {
    dfti_number_of_transforms = 7,
    dfti_conjugate_even_storage = 10,
    dfti_input_strides = 12,
    dfti_output_strides = 13,
    dfti_input_distance = 14,
    dfti_output_distance = 15,
    dfti_thread_limit = 27,
};
enum DftiValue { dfti_complex = 32, dfti_real = 33, dfti_complex_complex = 39 };

bool use_mkl() {
    static const bool chosen = [] {
        const char* wish = std::getenv("LES_FFT");
        if (wish != nullptr && std::string(wish) != "mkl" && std::string(wish) != "torch")
            throw Error("LES_FFT must be mkl or torch, got " + std::string(wish));
        const bool available = DftiCreateDescriptor_d_1d != nullptr && DftiCreateDescriptor_s_1d != nullptr &&
                               DftiSetValue != nullptr && DftiCommitDescriptor != nullptr &&
                               DftiComputeForward != nullptr && DftiComputeBackward != nullptr &&
                               DftiFreeDescriptor != nullptr;
        if (wish == nullptr) return available;
        if (std::string(wish) == "mkl" && !available) throw Error("LES_FFT is mkl, but this build of torch has no MKL");
        return std::string(wish) == "mkl";
    }();
    return chosen;
}

void check(long status) {
    if (status != 0) throw Error("Fourier transform of the mesh failed with MKL status " + std::to_string(status));
}

template <class Real>
class MklLines final : public LineTransform<Real> {
public:
    MklLines(bool real, std::int64_t length, std::int64_t howmany, std::int64_t stride, std::int64_t real_distance,
             std::int64_t complex_distance) {
        const int domain = real ? dfti_real : dfti_complex;
        forward_ = plan(domain, length, howmany, stride, real_distance, complex_distance);
        backward_ = plan(domain, length, howmany, stride, complex_distance, real_distance);
    }
    ~MklLines() override {
        DftiFreeDescriptor(&forward_);
        DftiFreeDescriptor(&backward_);
    }
    MklLines(const MklLines&) = delete;
    MklLines& operator=(const MklLines&) = delete;

    void forward(Real* data) const override { check(DftiComputeForward(forward_, data)); }
    void backward(Real* data) const override { check(DftiComputeBackward(backward_, data)); }

private:
    void* forward_ = nullptr;
    void* backward_ = nullptr;

    static void* plan(int domain, long length, long howmany, long stride, long input_distance, long output_distance) {
        void* made = nullptr;
        const long strides[2] = {0, stride};
        check(std::is_same_v<Real, double> ? DftiCreateDescriptor_d_1d(&made, domain, length)
                                           : DftiCreateDescriptor_s_1d(&made, domain, length));
        check(DftiSetValue(made, dfti_number_of_transforms, howmany));
        if (domain == dfti_real) check(DftiSetValue(made, dfti_conjugate_even_storage, dfti_complex_complex));
        check(DftiSetValue(made, dfti_input_strides, strides));
        check(DftiSetValue(made, dfti_output_strides, strides));
        check(DftiSetValue(made, dfti_input_distance, input_distance));
        check(DftiSetValue(made, dfti_output_distance, output_distance));
        check(DftiSetValue(made, dfti_thread_limit, 1L));  // the mesh is threaded over batches
        check(DftiCommitDescriptor(made));
        return made;
    }
};

template <class Real>
class TorchLines final : public LineTransform<Real> {
public:
    TorchLines(bool real, std::int64_t length, std::int64_t howmany, std::int64_t stride, std::int64_t distance)
        : real_(real), length_(length), howmany_(howmany), stride_(stride), distance_(distance) {}

    void forward(Real* data) const override {
        if (real_) {
            complex_view(data).copy_(at::fft_rfft(real_view(data), length_, 1));
        } else {
            complex_view(data).copy_(at::fft_fft(complex_view(data), length_, 1));
        }
    }
    void backward(Real* data) const override {
        if (real_) {
            real_view(data).copy_(at::fft_irfft(complex_view(data), length_, 1, "forward"));
        } else {
            complex_view(data).copy_(at::fft_ifft(complex_view(data), length_, 1, "forward"));
        }
    }

private:
    bool real_;
    std::int64_t length_, howmany_, stride_, distance_;

    at::Tensor real_view(Real* data) const {
        return at::from_blob(data, {howmany_, length_}, {distance_, 1}, at::CppTypeToScalarType<Real>::value);
    }
    at::Tensor complex_view(Real* data) const {
        const auto type = at::CppTypeToScalarType<c10::complex<Real>>::value;
        if (real_) return at::from_blob(data, {howmany_, length_ / 2 + 1}, {distance_ / 2, 1}, type);
        return at::from_blob(data, {howmany_, length_}, {1, stride_}, type);
    }
};

}  // namespace

template <class Real>
std::unique_ptr<LineTransform<Real>> real_lines(std::int64_t length, std::int64_t howmany, std::int64_t distance) {
    if (use_mkl()) return std::make_unique<MklLines<Real>>(true, length, howmany, 1, distance, distance / 2);
    return std::make_unique<TorchLines<Real>>(true, length, howmany, 1, distance);
}

template <class Real>
std::unique_ptr<LineTransform<Real>> complex_lines(std::int64_t length, std::int64_t howmany, std::int64_t stride) {
    if (use_mkl()) return std::make_unique<MklLines<Real>>(false, length, howmany, stride, 1, 1);
    return std::make_unique<TorchLines<Real>>(false, length, howmany, stride, 1);
}

const char* fft_library() { return use_mkl() ? "MKL" : "torch"; }

template std::unique_ptr<LineTransform<float>> real_lines<float>(std::int64_t, std::int64_t, std::int64_t);
template std::unique_ptr<LineTransform<double>> real_lines<double>(std::int64_t, std::int64_t, std::int64_t);
template std::unique_ptr<LineTransform<float>> complex_lines<float>(std::int64_t, std::int64_t, std::int64_t);
template std::unique_ptr<LineTransform<double>> complex_lines<double>(std::int64_t, std::int64_t, std::int64_t);

}  // namespace les
