// Direct reciprocal-space sum for periodic systems: E = (N_F/V) sum w(k) |S(k)|^2 with w = exp(-sigma^2 k^2/2)/k^2.
// Source: Cheng, npj Comput. Mater. 11, 80 (2025). One half of k-space is summed, the other is its conjugate. Domains
// add their structure factors; everything else is local to the atoms.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <utility>

#include "lattice.h"
#include "les/error.h"
#include "les/long_range.h"

namespace les {

namespace {

constexpr double converged_tolerance = 1e-9;

/// Wave vectors n0, n1 fixed and n2 = lowest ... lowest + count - 1: one row of the sphere.
struct Row {
    int n0, n1, lowest, count;
    std::size_t first;  // index of its first wave vector
};

class EwaldSolver final : public LongRangeSolver {
public:
    EwaldSolver(const LongRangeParameters& parameters, int n_channels, bool freeze_k_set)
        : parameters_(parameters), channels_(static_cast<std::size_t>(n_channels)), freeze_k_set_(freeze_k_set) {
        k_cutoff_ = parameters.k_cutoff.value_or(std::sqrt(-2.0 * std::log(converged_tolerance)) / parameters.smearing);
    }

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        if (!have_cell_ || system.cell != cell_) {
            if (!have_cell_) first_cell_ = system.cell;
            if (have_cell_ && parameters_.k_cutoff && !freeze_k_set_ && !warned_of_cell_) {
                warned_of_cell_ = true;
                warnings_.emplace_back(warning_of_moving_k_set);
            }
            set_cell(system.cell);
        }
        tabulate_phases(system);
        sum_structure_factors(charges);
        communicator.allreduce_sum(structure_factors_.data(), static_cast<std::int64_t>(structure_factors_.size()));
        result_.virial = communicator.rank() == 0 ? virial() : Matrix3{};
        filter();
        gather(charges);
        return result_;
    }

    std::string description() const override {
        char text[128];
        std::snprintf(text, sizeof(text), "direct sum, %zu k-vectors up to %.4g 1/angstrom%s", 2 * kernel_.size(),
                      k_cutoff_,
                      !parameters_.k_cutoff ? " (converged)"
                      : freeze_k_set_       ? " of the first cell"
                                            : "");
        return text;
    }

    std::vector<std::string> take_warnings() override { return std::exchange(warnings_, {}); }

private:
    LongRangeParameters parameters_;
    std::size_t channels_;
    double k_cutoff_ = 0.0, volume_ = 0.0;
    bool freeze_k_set_, have_cell_ = false, warned_of_cell_ = false;
    std::vector<std::string> warnings_;
    Matrix3 cell_{}, first_cell_{}, reciprocal_{};  // rows of reciprocal_: b_a with b_a . a_b = 2 pi delta_ab
    int reach_[3] = {0, 0, 0};
    std::vector<Row> rows_;
    std::vector<double> kernel_;             // w(k), one per wave vector
    std::vector<double> structure_factors_;  // (channel, {real, imaginary}, wave vector)
    std::vector<double> phases_;             // per atom and axis: cos, then sin, of n * theta
    std::size_t stride_ = 0, offset_[3] = {0, 0, 0};
    std::size_t n_local_ = 0;
    LongRangeResult result_;

    double prefactor() const { return 2.0 * pi * parameters_.coulomb_constant / volume_; }  // N_F / V
    std::size_t width(int axis) const { return static_cast<std::size_t>(2 * reach_[axis] + 1); }
    double* real_part(std::size_t channel) { return structure_factors_.data() + 2 * channel * kernel_.size(); }
    double* imaginary_part(std::size_t channel) { return real_part(channel) + kernel_.size(); }
    /// cos(n theta) at [n + reach], sin at [width + n + reach]
    const double* phase(std::size_t atom, int axis) const { return phases_.data() + atom * stride_ + offset_[axis]; }

    void set_cell(const Matrix3& cell) {
        volume_ = volume_of(cell);
        reciprocal_ = reciprocal_of(cell);
        rows_.clear();
        kernel_.clear();
        // the cell that decides which integer wave vectors belong to the sum
        const Matrix3& members = freeze_k_set_ ? first_cell_ : cell;
        const Matrix3 member_reciprocal = reciprocal_of(members);
        for (std::size_t a = 0; a < 3; ++a) {
            // |n_a| = |k . a_a| / 2 pi <= k_c |a_a| / 2 pi
            reach_[a] = static_cast<int>(std::floor(k_cutoff_ * length(members[a]) / (2.0 * pi) + 1e-6));
        }
        const double limit = k_cutoff_ * k_cutoff_ * (1.0 + 1e-9);
        for (int n0 = 0; n0 <= reach_[0]; ++n0) {
            for (int n1 = n0 == 0 ? 0 : -reach_[1]; n1 <= reach_[1]; ++n1) {
                Row row{n0, n1, 0, 0, kernel_.size()};
                for (int n2 = n0 == 0 && n1 == 0 ? 1 : -reach_[2]; n2 <= reach_[2]; ++n2) {
                    const Vector3 member = wave_vector(member_reciprocal, n0, n1, n2);
                    if (dot(member, member) > limit) continue;
                    const Vector3 k = wave_vector(reciprocal_, n0, n1, n2);
                    const double k_sq = dot(k, k);
                    if (row.count++ == 0) row.lowest = n2;
                    kernel_.push_back(std::exp(-0.5 * parameters_.smearing * parameters_.smearing * k_sq) / k_sq);
                }
                if (row.count > 0) rows_.push_back(row);
            }
        }
        structure_factors_.resize(2 * channels_ * kernel_.size());
        cell_ = cell;
        have_cell_ = true;
    }

    void tabulate_phases(const System& system) {
        n_local_ = static_cast<std::size_t>(system.n_local);
        offset_[0] = 0;
        offset_[1] = 2 * width(0);
        offset_[2] = offset_[1] + 2 * width(1);
        stride_ = offset_[2] + 2 * width(2);
        if (phases_.size() < n_local_ * stride_) phases_.resize(n_local_ * stride_);
        at::parallel_for(0, system.n_local, 64, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t atom = begin; atom < end; ++atom) {
                const double* r = system.positions + 3 * atom;
                for (int axis = 0; axis < 3; ++axis) {
                    const auto& b = reciprocal_[static_cast<std::size_t>(axis)];
                    const double theta = b[0] * r[0] + b[1] * r[1] + b[2] * r[2];
                    double* cosine = phases_.data() + static_cast<std::size_t>(atom) * stride_ + offset_[axis];
                    double* sine = cosine + width(axis);
                    for (int n = -reach_[axis]; n <= reach_[axis]; ++n) {
                        cosine[n + reach_[axis]] = std::cos(n * theta);
                        sine[n + reach_[axis]] = std::sin(n * theta);
                    }
                }
            }
        });
    }

    /// exp(i (n0 theta0 + n1 theta1)) of an atom
    std::complex<double> row_phase(std::size_t atom, const Row& row) const {
        const double* e0 = phase(atom, 0) + row.n0 + reach_[0];
        const double* e1 = phase(atom, 1) + row.n1 + reach_[1];
        return std::complex<double>(e0[0], e0[width(0)]) * std::complex<double>(e1[0], e1[width(1)]);
    }

    /// S(k) = sum_i q_i exp(i k.r_i) over the atoms of this domain
    void sum_structure_factors(const std::vector<double>& charges) {
        std::fill(structure_factors_.begin(), structure_factors_.end(), 0.0);
        at::parallel_for(0, static_cast<std::int64_t>(rows_.size()), 4, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r) {
                const Row& row = rows_[static_cast<std::size_t>(r)];
                for (std::size_t atom = 0; atom < n_local_; ++atom) {
                    const std::complex<double> e01 = row_phase(atom, row);
                    const double* cosine = phase(atom, 2) + row.lowest + reach_[2];
                    const double* sine = cosine + width(2);
                    for (std::size_t channel = 0; channel < channels_; ++channel) {
                        const std::complex<double> qe = charges[atom * channels_ + channel] * e01;
                        const double a = qe.real(), b = qe.imag();
                        double* real = real_part(channel) + row.first;
                        double* imaginary = imaginary_part(channel) + row.first;
                        for (int n = 0; n < row.count; ++n) {
                            real[n] += a * cosine[n] - b * sine[n];
                            imaginary[n] += a * sine[n] + b * cosine[n];
                        }
                    }
                }
            }
        });
    }

    /// W_ab = (N_F/V) sum_k w |S|^2 [delta_ab - k_a k_b (2/k^2 + sigma^2)], both halves of k-space
    Matrix3 virial() {
        Matrix3 sum{};
        for (const Row& row : rows_) {
            for (int n = 0; n < row.count; ++n) {
                const std::size_t index = row.first + static_cast<std::size_t>(n);
                double squared = 0.0;
                for (std::size_t channel = 0; channel < channels_; ++channel) {
                    squared +=
                        std::norm(std::complex<double>(real_part(channel)[index], imaginary_part(channel)[index]));
                }
                const auto k = wave_vector(reciprocal_, row.n0, row.n1, row.lowest + n);
                const double energy = 2.0 * prefactor() * kernel_[index] * squared;
                const double slope = 2.0 / dot(k, k) + parameters_.smearing * parameters_.smearing;
                for (std::size_t a = 0; a < 3; ++a) {
                    for (std::size_t b = 0; b < 3; ++b)
                        sum[a][b] += energy * ((a == b ? 1.0 : 0.0) - k[a] * k[b] * slope);
                }
            }
        }
        return sum;
    }

    /// S(k) -> (4 N_F/V) w(k) S(k): phi_i = Re sum over half of k-space of this times exp(-i k.r_i)
    void filter() {
        for (std::size_t channel = 0; channel < channels_; ++channel) {
            double* real = real_part(channel);
            double* imaginary = imaginary_part(channel);
            for (std::size_t k = 0; k < kernel_.size(); ++k) {
                const double factor = 4.0 * prefactor() * kernel_[k];
                real[k] *= factor;
                imaginary[k] *= factor;
            }
        }
    }

    /// Potentials, forces and energy of the owned atoms from the filtered structure factors.
    void gather(const std::vector<double>& charges) {
        result_.potentials.assign(n_local_ * channels_, 0.0);
        result_.forces.assign(3 * n_local_, 0.0);
        const double self = parameters_.remove_self_interaction ? 2.0 * self_energy_of_unit_charge(parameters_) : 0.0;
        at::parallel_for(0, static_cast<std::int64_t>(n_local_), 8, [&](std::int64_t begin, std::int64_t end) {
            for (auto atom = static_cast<std::size_t>(begin); atom < static_cast<std::size_t>(end); ++atom) {
                for (std::size_t channel = 0; channel < channels_; ++channel) {
                    const double q = charges[atom * channels_ + channel];
                    double potential = 0.0, slope[3] = {0.0, 0.0, 0.0};  // slope: d(phi)/d(theta) along each axis
                    for (const Row& row : rows_) {
                        const std::complex<double> e01 = row_phase(atom, row);
                        const double a = e01.real(), b = e01.imag();
                        const double* cosine = phase(atom, 2) + row.lowest + reach_[2];
                        const double* sine = cosine + width(2);
                        const double* real = real_part(channel) + row.first;
                        const double* imaginary = imaginary_part(channel) + row.first;
                        double sum = 0.0, turn = 0.0, turn_n = 0.0;
                        for (int n = 0; n < row.count; ++n) {
                            const double c = a * cosine[n] - b * sine[n], s = a * sine[n] + b * cosine[n];
                            // Re[G e^{-i k.r}] and its derivative with respect to the phase
                            sum += real[n] * c + imaginary[n] * s;
                            const double t = imaginary[n] * c - real[n] * s;
                            turn += t;
                            turn_n += (row.lowest + n) * t;
                        }
                        potential += sum;
                        slope[0] += row.n0 * turn;
                        slope[1] += row.n1 * turn;
                        slope[2] += turn_n;
                    }
                    result_.potentials[atom * channels_ + channel] = potential - self * q;
                    for (std::size_t axis = 0; axis < 3; ++axis) {
                        // F = -q grad(phi) at fixed structure factors
                        result_.forces[3 * atom + axis] -=
                            q * (slope[0] * reciprocal_[0][axis] + slope[1] * reciprocal_[1][axis] +
                                 slope[2] * reciprocal_[2][axis]);
                    }
                }
            }
        });
        result_.energy = 0.0;
        for (std::size_t i = 0; i < n_local_ * channels_; ++i)
            result_.energy += 0.5 * charges[i] * result_.potentials[i];
    }
};

}  // namespace

double self_energy_of_unit_charge(const LongRangeParameters& parameters) {
    return 2.0 * pi * parameters.coulomb_constant / (parameters.smearing * std::pow(2.0 * pi, 1.5));
}

std::unique_ptr<LongRangeSolver> make_ewald_solver(const LongRangeParameters& parameters, int n_channels,
                                                   bool freeze_k_set) {
    return std::make_unique<EwaldSolver>(parameters, n_channels, freeze_k_set);
}

}  // namespace les
