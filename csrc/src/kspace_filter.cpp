// Influence function and filter; see kspace_filter.h.
#include "kspace_filter.h"

#include <algorithm>
#include <cmath>

#include "mesh_plan.h"
#include "parallel.h"

namespace les {

namespace {

/// The outer shell of a converged kernel, from which the modes beyond the cutoff are guessed: its inner radius relative
/// to the cutoff, and the number of modes it needs to be taken seriously.
constexpr double shell_radius = 0.93;
constexpr double shell_needs = 100.0;
constexpr double largest_exponent = 300.0;  // beyond, products of the tables could leave the range of float64

/// Modes n in 0 ... highest with (a n + 2 b) n + c <= limit: an interval, for the form is convex.
void clip_row(WaveRow& row, double limit, int highest) {
    const double discriminant = row.b * row.b - row.a * (row.c - limit);
    if (discriminant < 0.0) return;
    const auto inside = [&](int n) { return (row.a * n + 2.0 * row.b) * n + row.c <= limit; };
    int low = std::max(0, static_cast<int>(std::ceil((-row.b - std::sqrt(discriminant)) / row.a)) - 1);
    int high = std::min(highest, static_cast<int>(std::floor((-row.b + std::sqrt(discriminant)) / row.a)) + 1);
    while (low <= high && !inside(low)) ++low;
    while (high >= low && !inside(high)) --high;
    row.lowest = low;
    row.count = std::max(0, high - low + 1);
}

}  // namespace

template <class Real>
void KspaceFilter<Real>::set_cell(const MeshKernel& kernel, const WindowShape& window, const Matrix3& cell,
                                  const Matrix3& members, const std::array<int, 3>& mesh, double reciprocal_constant,
                                  const ModeRange& range, Communicator& communicator) {
    kernel_ = kernel;
    mesh_ = mesh;
    range_ = range;
    kept_ = kept_modes(kernel, members, mesh);
    loops_ = &mesh_loops<Real>(window.nodes);
    find_rows(members);
    reciprocal_ = reciprocal_of(cell);
    tabulate(window);
    make_influence(reciprocal_constant, volume_of(cell));
    sum_self_terms(communicator);
    crossing_ = 0.0;
    if (!kernel.converged) return;
    add_modes_beyond_mesh(cell, reciprocal_constant / volume_of(cell));
    add_modes_beyond_cutoff(cell, reciprocal_constant);
}

/// Adds the self terms of the modes of all domains.
template <class Real>
void KspaceFilter<Real>::sum_self_terms(Communicator& communicator) {
    n_modes_ = static_cast<double>(influence_.size());
    if (communicator.size() == 1) return;
    std::vector<double*> terms{&n_modes_, &shell_reference_, &self_correction_};
    for (double& ripple : self_ripple_) terms.push_back(&ripple);
    for (auto* matrix : {&self_virial_, &ripple_virial_[0], &ripple_virial_[1], &ripple_virial_[2]}) {
        for (auto& row : *matrix) {
            for (double& component : row) terms.push_back(&component);
        }
    }
    std::vector<double> sums;
    for (const double* term : terms) sums.push_back(*term);
    communicator.allreduce_sum(sums.data(), static_cast<std::int64_t>(sums.size()));
    for (std::size_t i = 0; i < terms.size(); ++i) *terms[i] = sums[i];
}

/// Mean energy and virial of unit charges from a mode that was left out of the converged kernel.
template <class Real>
void KspaceFilter<Real>::add_left_out(int n0, int n1, int n2, double prefactor) {
    const double sigma_sq = kernel_.smearing * kernel_.smearing;
    const Vector3 k = wave_vector(reciprocal_, n0, n1, n2);
    const double k_sq = dot(k, k), e = prefactor * std::exp(-0.5 * sigma_sq * k_sq) / k_sq;
    self_correction_ += e;
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            self_virial_[a][b] += e * ((a == b ? 1.0 : 0.0) - k[a] * k[b] * (2.0 / k_sq + sigma_sq));
    }
}

/// Modes inside the cutoff that have no place on the mesh: caps of the sphere beyond its faces in k-space.
template <class Real>
void KspaceFilter<Real>::add_modes_beyond_mesh(const Matrix3& cell, double prefactor) {
    std::array<int, 3> reach{}, highest{};
    bool any = false;
    for (std::size_t a = 0; a < 3; ++a) {
        reach[a] = static_cast<int>(std::floor(kernel_.k_cutoff * length(cell[a]) / (2.0 * pi) + 1e-6));
        highest[a] = (mesh_[a] - 1) / 2;
        any = any || reach[a] > highest[a];
    }
    if (!any) return;
    const double limit = kernel_.k_cutoff * kernel_.k_cutoff * (1.0 + 1e-9);
    for (int n0 = -reach[0]; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            const bool outside = std::abs(n0) > highest[0] || std::abs(n1) > highest[1];
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                if (!outside && n2 == -highest[2]) n2 = highest[2] + 1;
                const Vector3 k = wave_vector(reciprocal_, n0, n1, n2);
                if (n2 <= reach[2] && dot(k, k) <= limit) add_left_out(n0, n1, n2, prefactor);
            }
        }
    }
}

/// Modes beyond the cutoff: summed where they are few, else by the integral.
template <class Real>
void KspaceFilter<Real>::add_modes_beyond_cutoff(const Matrix3& cell, double reciprocal_constant) {
    const double sigma_sq = kernel_.smearing * kernel_.smearing, kc = kernel_.k_cutoff;
    std::array<int, 3> reach{};
    bool few = true;
    const double inner = kc * kc * (1.0 + 1e-9), outer = inner + 40.0 / sigma_sq;
    for (std::size_t a = 0; a < 3; ++a) {
        reach[a] = static_cast<int>(std::floor(std::sqrt(outer) * length(cell[a]) / (2.0 * pi)));
        few = few && reach[a] <= 12;
    }
    if (!few) {
        // (2 pi)^-3 integrals of A and of A (1 - k^2 (2/k^2 + sigma^2) / 3), whose primitive is -k exp(-sigma^2 k^2/2)
        // / 3
        self_correction_ += reciprocal_constant / (2.0 * pi * pi) * std::sqrt(0.5 * pi / sigma_sq) *
                            std::erfc(std::sqrt(0.5 * sigma_sq) * kc);
        crossing_ = -reciprocal_constant / (6.0 * pi * pi) * kc * std::exp(-0.5 * sigma_sq * kc * kc);
        return;
    }
    for (int n0 = -reach[0]; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                const Vector3 k = wave_vector(reciprocal_, n0, n1, n2);
                const double k_sq = dot(k, k);
                if (k_sq > inner && k_sq <= outer) add_left_out(n0, n1, n2, reciprocal_constant / volume_of(cell));
            }
        }
    }
}

template <class Real>
void KspaceFilter<Real>::find_rows(const Matrix3& members) {
    reciprocal_ = reciprocal_of(members);
    const double limit = kernel_.k_cutoff * kernel_.k_cutoff * (1.0 + 1e-9);
    const int highest = (mesh_[2] - 1) / 2;
    rows_.clear();
    first_row_.assign(1, 0);
    kept_of_panel_.assign(static_cast<std::size_t>(mesh_[1]), 0);
    std::size_t n_modes = 0;
    for (int i1 = 0; i1 < mesh_[1]; ++i1) {
        if (i1 < range_.panels[0] || i1 >= range_.panels[1]) {
            first_row_.push_back(rows_.size());
            continue;
        }
        int& kept = kept_of_panel_[static_cast<std::size_t>(i1)];
        const int n1 = mode(i1, 1);
        for (int i0 = 0; i0 < mesh_[0] && 2 * n1 != -mesh_[1]; ++i0) {
            const int n0 = mode(i0, 0);
            if (2 * n0 == -mesh_[0]) continue;
            Row row;
            const Vector3 start = wave_vector(reciprocal_, n0, n1, 0);
            row.waves.a = dot(reciprocal_[2], reciprocal_[2]);
            row.waves.b = dot(start, reciprocal_[2]);
            row.waves.c = dot(start, start);
            row.waves.smearing_sq = kernel_.smearing * kernel_.smearing;
            row.waves.shell_sq = shell_radius * shell_radius * kernel_.k_cutoff * kernel_.k_cutoff;
            clip_row(row.waves, limit, highest);
            if (n0 == 0 && n1 == 0 && row.waves.count > 0 && row.waves.lowest == 0) {
                row.waves.lowest = 1;
                --row.waves.count;
            }
            const int low = std::max(row.waves.lowest, range_.third[0]);
            const int high = std::min(row.waves.lowest + row.waves.count, range_.third[1]);
            row.waves.lowest = low;
            row.waves.count = high - low;
            if (row.waves.count <= 0) continue;
            row.n0 = n0;
            row.first = n_modes;
            n_modes += static_cast<std::size_t>(row.waves.count);
            rows_.push_back(row);
            kept = std::max(kept, row.waves.lowest + row.waves.count);
        }
        first_row_.push_back(rows_.size());
        // few different widths mean few plans of the transform
        if (kept > 0) kept = std::min((kept + 3) / 4 * 4, kept_);
    }
    influence_.resize(n_modes);
    shares_.resize(static_cast<std::size_t>(mesh_[1]));
}

template <class Real>
void KspaceFilter<Real>::tabulate(const WindowShape& window) {
    for (int axis = 0; axis < 3; ++axis) {
        const int points = mesh_[static_cast<std::size_t>(axis)];
        deconvolution_[axis].resize(static_cast<std::size_t>(points));
        alias_[axis].resize(static_cast<std::size_t>(points));
        nearest_[axis].resize(static_cast<std::size_t>(points));
        for (int i = 0; i < points; ++i) {
            const double transform = window.transform(2.0 * pi * mode(i, axis) / points);
            deconvolution_[axis][static_cast<std::size_t>(i)] = 1.0 / (transform * transform);
            const AliasSums sums = alias_sums(window, mode(i, axis), points);
            alias_[axis][static_cast<std::size_t>(i)] = sums.excess;
            nearest_[axis][static_cast<std::size_t>(i)] = sums.harmonics[0];
        }
    }
    // exp(-sigma^2 g02 n0 n2) and exp(-sigma^2 (g22 n2^2 / 2 + g12 n1 n2)) for all n0, n1 and n2 >= 0
    const double sigma_sq = kernel_.smearing * kernel_.smearing;
    const double g02 = dot(reciprocal_[0], reciprocal_[2]), g12 = dot(reciprocal_[1], reciprocal_[2]);
    const double g22 = dot(reciprocal_[2], reciprocal_[2]);
    const auto width = static_cast<std::size_t>(kept_);
    const auto fill = [&](std::vector<double>& table, int axis, double cross_term, double square) {
        const int points = mesh_[static_cast<std::size_t>(axis)];
        table.resize(static_cast<std::size_t>(points) * width);
        at::parallel_for(0, points, 16, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                double* row = table.data() + static_cast<std::size_t>(i) * width;
                const double n = mode(static_cast<int>(i), axis);
                for (int n2 = 0; n2 < kept_; ++n2)
                    row[n2] = std::exp(-sigma_sq * (0.5 * square * n2 + cross_term * n) * n2);
            }
        });
    };
    fill(first_table_, 0, g02, 0.0);
    fill(second_table_, 1, g12, g22);
}

template <class Real>
void KspaceFilter<Real>::make_influence(double reciprocal_constant, double volume) {
    const double sigma_sq = kernel_.smearing * kernel_.smearing, prefactor = reciprocal_constant / volume;
    const auto width = static_cast<std::size_t>(kept_);
    struct SelfShares {
        Share correction;
        std::array<Share, 3> ripple;
        double shell = 0.0;
    };
    std::vector<SelfShares> self(static_cast<std::size_t>(mesh_[1]));
    at::parallel_for(0, mesh_[1], 1, [&](std::int64_t begin, std::int64_t end) {
        std::vector<double> direct(width), ones(width, 1.0);
        for (std::int64_t panel = begin; panel < end; ++panel) {
            const auto i1 = static_cast<std::size_t>(panel);
            const int n1 = mode(static_cast<int>(panel), 1);
            for (std::size_t r = first_row_[i1]; r < first_row_[i1 + 1]; ++r) {
                Row& row = rows_[r];
                const auto i0 = static_cast<std::size_t>(row.n0 < 0 ? row.n0 + mesh_[0] : row.n0);
                const auto lowest = static_cast<std::size_t>(row.waves.lowest);
                const Vector3 start = wave_vector(reciprocal_, row.n0, n1, 0);
                row.waves.a = dot(reciprocal_[2], reciprocal_[2]);
                row.waves.b = dot(start, reciprocal_[2]);
                row.waves.c = dot(start, start);
                InfluenceRow tables;
                tables.factor = std::exp(-0.5 * sigma_sq * row.waves.c);
                tables.first = first_table_.data() + i0 * width + lowest;
                tables.second = second_table_.data() + i1 * width + lowest;
                const double last = row.waves.lowest + row.waves.count - 1;
                if (sigma_sq * (std::abs(row.waves.b) * last + 0.5 * row.waves.c) > largest_exponent) {
                    for (int i = 0; i < row.waves.count; ++i) {
                        const double n = row.waves.lowest + i;
                        direct[static_cast<std::size_t>(i)] =
                            std::exp(-0.5 * sigma_sq * ((row.waves.a * n + 2.0 * row.waves.b) * n + row.waves.c));
                    }
                    tables.factor = 1.0;
                    tables.first = direct.data();
                    tables.second = ones.data();
                }
                tables.influence_factor = 2.0 * prefactor * deconvolution_[0][i0] * deconvolution_[1][i1];
                tables.deconvolution = deconvolution_[2].data() + lowest;
                tables.alias01 = alias_[0][i0] + alias_[1][i1] + alias_[0][i0] * alias_[1][i1];
                tables.alias2 = alias_[2].data() + lowest;
                tables.nearest2 = nearest_[2].data() + lowest;
                InfluenceSums sums;
                loops_->influence_row(influence_.data() + row.first, row.waves, tables, sums);
                // modes n2 > 0 stand for their conjugates too; those with n2 = 0 have them in another row
                InfluenceSums plane;
                if (row.waves.lowest == 0) {
                    WaveRow first_wave = row.waves;
                    first_wave.count = 1;
                    loops_->influence_row(influence_.data() + row.first, first_wave, tables, plane);
                }
                const auto add_both = [&](Share& share, const RowSums& all, const RowSums& halved, double factor) {
                    add(share, row, n1, all, 2.0 * factor);
                    add(share, row, n1, halved, -factor);
                };
                SelfShares& shares = self[i1];
                shares.shell += prefactor * (2.0 * sums.kernel.shell[0] - plane.kernel.shell[0]);
                add_both(shares.correction, sums.alias, plane.alias, prefactor);
                add_both(shares.ripple[0], sums.kernel, plane.kernel, 4.0 * prefactor * nearest_[0][i0]);
                add_both(shares.ripple[1], sums.kernel, plane.kernel, 4.0 * prefactor * nearest_[1][i1]);
                add_both(shares.ripple[2], sums.nearest2, plane.nearest2, 4.0 * prefactor);
            }
        }
    });
    self_correction_ = 0.0;
    self_virial_ = Matrix3{};
    self_ripple_ = {};
    ripple_virial_ = {};
    shell_reference_ = 0.0;
    const auto add_matrix = [](Matrix3& to, const Matrix3& from) {
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) to[a][b] += from[a][b];
        }
    };
    for (const SelfShares& shares : self) {
        shell_reference_ += shares.shell;
        self_correction_ += shares.correction.energy;
        add_matrix(self_virial_, shares.correction.virial);
        for (std::size_t axis = 0; axis < 3; ++axis) {
            self_ripple_[axis] += shares.ripple[axis].energy;
            add_matrix(ripple_virial_[axis], shares.ripple[axis].virial);
        }
    }
}

template <class Real>
void KspaceFilter<Real>::filter_panel(int panel, Real* panel_data, std::int64_t plane_stride, int end) {
    const auto i1 = static_cast<std::size_t>(panel);
    const int n1 = mode(panel, 1), begin = range_.third[0];
    Share& share = shares_[i1];
    std::size_t r = first_row_[i1];
    for (int i0 = 0; i0 < mesh_[0]; ++i0) {
        Real* data = panel_data + i0 * plane_stride;  // of third mode `begin`
        const bool has_row = r < first_row_[i1 + 1] && rows_[r].n0 == mode(i0, 0);
        if (!has_row) {
            std::fill(data, data + 2 * (end - begin), Real(0));
            continue;
        }
        const Row& row = rows_[r++];
        const int low = row.waves.lowest - begin, high = low + row.waves.count;
        std::fill(data, data + 2 * low, Real(0));
        std::fill(data + 2 * high, data + 2 * (end - begin), Real(0));
        RowSums sums;
        if (row.waves.lowest == 0) {
            // its conjugate is in another row, so it counts half
            const double squared = static_cast<double>(data[0]) * data[0] + static_cast<double>(data[1]) * data[1];
            const double e = 0.5 * static_cast<double>(influence_[row.first]) * squared;
            sums.energy -= e;
            sums.slope[0] -= e * (2.0 / row.waves.c + row.waves.smearing_sq);
            if (row.waves.c > row.waves.shell_sq) sums.shell[0] -= e / row.waves.c;
        }
        loops_->filter_row(data + 2 * low, influence_.data() + row.first, row.waves, sums);
        add(share, row, n1, sums, 1.0);
    }
}

/// E = sum e and W_ab = sum e [delta_ab - k_a k_b (2/k^2 + sigma^2)] with k = start + n b_2, times `factor`
template <class Real>
void KspaceFilter<Real>::add(Share& share, const Row& row, int n1, const RowSums& sums, double factor) const {
    const Vector3 start = wave_vector(reciprocal_, row.n0, n1, 0);
    const Vector3& step = reciprocal_[2];
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) {
            const double squares[3] = {factor * start[a] * start[b], factor * (start[a] * step[b] + step[a] * start[b]),
                                       factor * step[a] * step[b]};
            for (int m = 0; m < 3; ++m) {
                share.virial[a][b] -= sums.slope[m] * squares[m];
                share.shell[a][b] += sums.shell[m] * squares[m];
            }
        }
        share.virial[a][a] += factor * sums.energy;
    }
    share.energy += factor * sums.energy;
}

template <class Real>
void KspaceFilter<Real>::clear_sums() {
    for (Share& share : shares_) share = Share{};
}

template <class Real>
double KspaceFilter<Real>::energy() const {
    double sum = 0.0;
    for (const Share& share : shares_) sum += share.energy;
    return sum;
}

template <class Real>
Matrix3 KspaceFilter<Real>::virial(double sum_of_squares, bool first_domain) const {
    Matrix3 sum{}, shell{};
    for (const Share& share : shares_) {
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) {
                sum[a][b] += share.virial[a][b];
                shell[a][b] += share.shell[a][b];
            }
        }
    }
    // the flux of modes through the cutoff, 3 <e k_a k_b / k^2> of the shell over what uncorrelated charges would have
    const bool use_shell = shell_reference_ > 0.0 && 2.0 * n_modes_ * (1.0 - std::pow(shell_radius, 3)) > shell_needs;
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) {
            const double uncorrelated = a == b && first_domain ? sum_of_squares : 0.0;
            sum[a][b] += crossing_ * (use_shell ? 3.0 * shell[a][b] / shell_reference_ : uncorrelated);
        }
    }
    return sum;
}

template class KspaceFilter<float>;
template class KspaceFilter<double>;

}  // namespace les
