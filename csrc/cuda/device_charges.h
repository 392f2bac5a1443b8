// The neutrality option for the charges of one domain on a device.
#pragma once

#include <cstdint>
#include <vector>

#include "../src/model_state.h"
#include "charge_shift.cuh"
#include "neighbor_search.h"

namespace les::cuda {

template <class Backend>
class DeviceCharges {
    template <class T>
    using Array = typename Backend::template Array<T>;

public:
    DeviceCharges(Backend& backend, const Metadata& metadata, const EngineOptions& options)
        : backend_(backend), n_channels_(metadata.n_channels) {
        const std::vector<double> total = neutral_charges(metadata, options);
        neutralizes_ = !total.empty();
        channel_sums_.reserve(n_channels_);
        if (!neutralizes_) return;
        total_charge_.reserve(n_channels_);
        backend_.to_device(total_charge_.data(), total.data(), total.size() * sizeof(double));
        backend_.wait();  // the source goes out of scope
    }

    /// q_i - (sum_j q_j - Q) / N, in place; `charges` (n, n_channels).
    void neutralize(double* charges, std::int64_t n) {
        if (neutralizes_ && n > 0) shift(charges, total_charge_.data(), n, charges);
    }

    /// The derivative of the shift: phi_i - mean(phi).
    const double* cotangents_of(const double* potentials, std::int64_t n) {
        if (!neutralizes_ || potentials == nullptr || n == 0) return potentials;
        cotangents_.reserve(n * n_channels_);
        shift(potentials, nullptr, n, cotangents_.data());
        return cotangents_.data();
    }

private:
    Backend& backend_;
    int n_channels_;
    bool neutralizes_ = false;
    Array<double> total_charge_, channel_sums_, cotangents_;

    void shift(const double* rows, const double* total, std::int64_t n, double* shifted) {
        backend_.launch(SumChannels{rows, n, n_channels_, channel_sums_.data()}, n_channels_, "the sum of charges");
        launch_over(backend_, n * n_channels_,
                    ShiftChannels{rows, channel_sums_.data(), total, n, n_channels_, shifted}, "the shift of charges");
    }
};

}  // namespace les::cuda
