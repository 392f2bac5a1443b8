// Collecting charges and handing back cotangents; see charges.h.
#include "les/charges.h"

#include <utility>

namespace les {

Charges::Charges(const Metadata& metadata, std::vector<double> total_charge)
    : channels_(static_cast<std::size_t>(metadata.n_channels)),
      ghost_charges_(metadata.ghost_charges),
      neutralize_(metadata.long_range && metadata.long_range->neutralize),
      total_charge_(std::move(total_charge)) {}

std::vector<double> Charges::mean_less(const System& system, const std::vector<double>& rows,
                                       const std::vector<double>& shift, Communicator& communicator) const {
    const auto n_local = static_cast<std::size_t>(system.n_local);
    std::vector<double> sums(channels_ + 1, 0.0);
    for (std::size_t i = 0; i < n_local; ++i) {
        for (std::size_t channel = 0; channel < channels_; ++channel) sums[channel] += rows[i * channels_ + channel];
    }
    sums[channels_] = static_cast<double>(n_local);
    communicator.allreduce_sum(sums.data(), static_cast<std::int64_t>(sums.size()));
    const double n_atoms = sums[channels_] > 0.0 ? sums[channels_] : 1.0;
    for (std::size_t channel = 0; channel < channels_; ++channel)
        sums[channel] = (sums[channel] - shift[channel]) / n_atoms;
    return sums;
}

const std::vector<double>& Charges::collect(const System& system, const std::vector<double>& network_charges,
                                            Communicator& communicator) {
    all_ = network_charges;
    if (ghost_charges_) communicator.ghosts_to_owners(all_.data(), static_cast<int>(channels_));
    owned_.assign(all_.begin(),
                  all_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(system.n_local) * channels_));
    if (neutralize_) {
        // q_i - (sum_j q_j - Q) / N
        const auto excess = mean_less(system, owned_, total_charge_, communicator);
        for (std::size_t i = 0; i < owned_.size(); ++i) owned_[i] -= excess[i % channels_];
    }
    return owned_;
}

const std::vector<double>& Charges::cotangents(const System& system, const std::vector<double>& potentials,
                                               Communicator& communicator) {
    cotangents_.assign(static_cast<std::size_t>(system.n_all) * channels_, 0.0);
    std::copy(potentials.begin(), potentials.end(), cotangents_.begin());
    if (neutralize_) {
        // the derivative of the shift: phi_i - mean(phi)
        const auto mean = mean_less(system, potentials, std::vector<double>(channels_, 0.0), communicator);
        for (std::size_t i = 0; i < potentials.size(); ++i) cotangents_[i] -= mean[i % channels_];
    }
    if (ghost_charges_) communicator.owners_to_ghosts(cotangents_.data(), static_cast<int>(channels_));
    return cotangents_;
}

}  // namespace les
