// Influence function and filter; see kspace_filter.h.
#include "kspace_filter.h"

#include <algorithm>
#include <cmath>

#include "mesh_plan.h"
#include "parallel.h"

namespace les {

namespace {

constexpr double shell_needs = 100.0;       // modes of the outer shell, to be taken seriously
constexpr double largest_exponent = 300.0;  // beyond, products of the tables could leave the range of float64

void add_matrix(Matrix3& to, const Matrix3& from) {
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b) to[a][b] += from[a][b];
    }
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
    rows_ = mode_rows(kernel, members, mesh, kept_, range);
    influence_.resize(rows_.n_modes);
    shares_.resize(static_cast<std::size_t>(mesh[1]));
    reciprocal_ = reciprocal_of(cell);
    tabulate(window);
    make_influence(reciprocal_constant, volume_of(cell));
    sum_self_terms(communicator);
    crossing_ = 0.0;
    if (!kernel.converged) return;
    const LeftOutModes left_out = left_out_modes(kernel, cell, mesh, reciprocal_constant);
    self_correction_ += left_out.energy;
    add_matrix(self_virial_, left_out.virial);
    crossing_ = left_out.crossing;
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

template <class Real>
void KspaceFilter<Real>::tabulate(const WindowShape& window) {
    for (int axis = 0; axis < 3; ++axis) {
        const int points = mesh_[static_cast<std::size_t>(axis)];
        deconvolution_[axis].resize(static_cast<std::size_t>(points));
        alias_[axis].resize(static_cast<std::size_t>(points));
        nearest_[axis].resize(static_cast<std::size_t>(points));
        for (int i = 0; i < points; ++i) {
            const double transform = window.transform(2.0 * pi * mode_of(i, points) / points);
            deconvolution_[axis][static_cast<std::size_t>(i)] = 1.0 / (transform * transform);
            const AliasSums sums = alias_sums(window, mode_of(i, points), points);
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
                const double n = mode_of(static_cast<int>(i), points);
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
            const int n1 = mode_of(static_cast<int>(panel), mesh_[1]);
            for (std::size_t r = rows_.first_row[i1]; r < rows_.first_row[i1 + 1]; ++r) {
                ModeRow& row = rows_.rows[r];
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
    const int n1 = mode_of(panel, mesh_[1]), begin = range_.third[0];
    Share& share = shares_[i1];
    std::size_t r = rows_.first_row[i1];
    for (int i0 = 0; i0 < mesh_[0]; ++i0) {
        Real* data = panel_data + i0 * plane_stride;  // of third mode `begin`
        const bool has_row = r < rows_.first_row[i1 + 1] && rows_.rows[r].n0 == mode_of(i0, mesh_[0]);
        if (!has_row) {
            std::fill(data, data + 2 * (end - begin), Real(0));
            continue;
        }
        const ModeRow& row = rows_.rows[r++];
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
void KspaceFilter<Real>::add(Share& share, const ModeRow& row, int n1, const RowSums& sums, double factor) const {
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
    const bool use_shell =
        shell_reference_ > 0.0 && 2.0 * n_modes_ * (1.0 - std::pow(ModeRows::shell_radius, 3)) > shell_needs;
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
