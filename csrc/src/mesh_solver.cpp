// Particle-mesh solver of the periodic long-range energy; MeshSolver::compute is the page to read. E = (N_F/V) sum A(k)
// |S(k)|^2 with S(k) from a mesh: a window spreads each charge over a few points, the transform of the mesh divided by
// that of the window is S(k), and potentials and their gradients come back by the same window. There is no real-space
// part: charges of width sigma are smooth already.
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <utility>

#include "distributed_mesh.h"
#include "kspace_filter.h"
#include "les/error.h"
#include "les/long_range.h"
#include "mesh_plan.h"
#include "mesh_points.h"
#include "mesh_transform.h"
#include "parallel.h"

namespace les {

namespace {

/// Bytes of memory that can be had; a mesh that needs more is refused rather than left to the kernel's killer.
double available_memory() {
    std::ifstream file("/proc/meminfo");
    std::string name, unit;
    double kilobytes = 0.0;
    while (file >> name >> kilobytes >> unit) {
        if (name == "MemAvailable:") return 1024.0 * kilobytes;
    }
    return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Seconds since `from`, and `from` moves on.
double lap(std::chrono::steady_clock::time_point& from) {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - from).count();
    from = now;
    return seconds;
}

MeshReport report_of(const MeshScheme& scheme, const LongRangeOptions& options, const Matrix3& cell,
                     const std::array<int, 3>& mesh) {
    MeshReport report;
    report.mesh = mesh;
    report.interpolation_nodes = scheme.window.nodes;
    report.window = options.window;
    report.dtype = options.dtype.empty() ? "float64" : options.dtype;
    report.shape = scheme.window.shape;
    for (std::size_t a = 0; a < 3; ++a) report.spacing[a] = length(cell[a]) / mesh[a];
    report.k_cutoff = scheme.kernel.k_cutoff;
    report.asked_accuracy = options.accuracy;
    report.estimated_error = mesh_error(scheme.kernel, scheme.window, cell, mesh);
    return report;
}

template <class Real>
class MeshSolver final : public LongRangeSolver {
public:
    MeshSolver(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options)
        : parameters_(parameters), options_(options), n_channels_(n_channels) {
        check_options(parameters, options);
    }

    const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                   Communicator& communicator) override {
        if (!have_cell_ || system.cell != cell_) set_cell(system, communicator);
        auto clock = std::chrono::steady_clock::now();
        sort_points(system, charges, communicator);
        report_.seconds_sorting = lap(clock);
        points_to_mesh();
        report_.seconds_points_to_mesh = lap(clock);
        solve(communicator);
        report_.seconds_transform_and_filter = lap(clock);
        mesh_to_points(charges, communicator);
        report_.seconds_mesh_to_points = lap(clock);
        return result_;
    }

    std::string description() const override {
        if (!have_cell_) return "mesh";
        char text[256];
        std::snprintf(
            text, sizeof(text),
            "mesh %d x %d x %d (spacing %.3g x %.3g x %.3g angstrom), %s window of %d nodes, %s, wave vectors "
            "up to %.4g 1/angstrom%s, estimated relative force error %.2g, asked for %.2g",
            report_.mesh[0], report_.mesh[1], report_.mesh[2], report_.spacing[0], report_.spacing[1],
            report_.spacing[2], scheme_.window.kind == WindowKind::b_spline ? "B-spline" : "Kaiser-Bessel",
            report_.interpolation_nodes, report_.dtype.c_str(), report_.k_cutoff,
            scheme_.kernel.converged ? " (converged)"
            : options_.freeze_k_set  ? " of the first cell"
                                     : "",
            report_.estimated_error, report_.asked_accuracy);
        return text;
    }

    std::vector<std::string> take_warnings() override { return std::exchange(warnings_, {}); }
    const MeshReport* mesh_report() const override { return have_cell_ ? &report_ : nullptr; }

private:
    LongRangeParameters parameters_;
    LongRangeOptions options_;
    int n_channels_;
    bool have_scheme_ = false, have_cell_ = false, warned_of_cell_ = false;
    MeshScheme scheme_;
    Matrix3 cell_{}, first_cell_{};
    MeshReport report_;
    double n_atoms_ = 0.0;  // when the scheme was chosen
    int kept_ = 0;
    WindowTable<Real> table_;
    MeshPoints<Real> points_;
    MeshTransform<Real> whole_;          // of one domain
    DistributedMesh<Real> distributed_;  // of several
    bool is_distributed_ = false;
    std::array<std::vector<char>, 3> occupied_;
    KspaceFilter<Real> filter_;
    std::vector<Real> gathered_;                 // (n, n_channels, 4): potential and its slopes along the mesh axes
    std::vector<Real> ripples_, ripple_slopes_;  // (n, 3): cos(2 pi t) of the places between mesh points, and d/dt
    /// Net force, sum of q^2, sums of q^2 cos(2 pi u), energy.
    using PointSums = std::array<double, 8>;
    static constexpr std::size_t force_sum = 0, square_sum = 3, ripple_sum = 4, energy_sum = 7;
    static constexpr std::int64_t chunk = 512;  // points gathered together
    std::vector<PointSums> chunk_sums_;
    LongRangeResult result_;
    std::vector<std::string> warnings_;

    void set_cell(const System& system, Communicator& communicator) {
        double n_atoms = static_cast<double>(system.n_local);
        communicator.allreduce_sum(&n_atoms, 1);
        if (have_scheme_ && is_other_system(first_cell_, n_atoms_, system.cell, n_atoms))
            have_scheme_ = have_cell_ = false;
        if (!have_scheme_) {
            scheme_ = choose_scheme(parameters_, options_, system.cell, static_cast<std::int64_t>(n_atoms));
            first_cell_ = system.cell;
            n_atoms_ = n_atoms;
        } else if (parameters_.k_cutoff && !options_.freeze_k_set && !warned_of_cell_) {
            warned_of_cell_ = true;
            warnings_.emplace_back(warning_of_moving_k_set);
        }
        const Matrix3& members = options_.freeze_k_set ? first_cell_ : system.cell;
        const std::array<int, 3> mesh = choose_mesh(scheme_, options_, members);
        if (!have_scheme_) table_ = window_table<Real>(Window(scheme_.window));
        is_distributed_ = communicator.size() > 1;
        const int kept = kept_modes(scheme_.kernel, members, mesh);
        if (!have_cell_ || mesh != report_.mesh || kept != kept_) {
            check_memory(mesh, communicator.size());
            if (is_distributed_) {
                distributed_.resize(mesh, scheme_.window.nodes, table_.padded_nodes, n_channels_, kept, communicator);
            } else {
                whole_.resize(mesh, scheme_.window.nodes, table_.padded_nodes, n_channels_);
            }
            kept_ = kept;
        }
        const MeshDivision& division = distributed_.division();
        const ModeRange range =
            is_distributed_ ? ModeRange{division.panels(), division.third_modes()} : ModeRange{{0, mesh[1]}, {0, kept}};
        filter_.set_cell(scheme_.kernel, scheme_.window, system.cell, members, mesh,
                         2.0 * pi * parameters_.coulomb_constant, range, communicator);
        if (!have_cell_ || mesh != report_.mesh) report_ = report_of(scheme_, options_, system.cell, mesh);
        if (!have_scheme_) {
            if (std::string text = warning_of_error(report_); !text.empty()) warnings_.push_back(std::move(text));
        }
        cell_ = system.cell;
        have_scheme_ = have_cell_ = true;
    }

    void check_memory(const std::array<int, 3>& mesh, int n_ranks) const {
        const double influence = 0.5 * sizeof(Real) * static_cast<double>(mesh[0]) * mesh[1] * mesh[2] / n_ranks;
        const double bytes = influence + (n_ranks > 1 ? DistributedMesh<Real>::memory(mesh, n_ranks)
                                                      : MeshTransform<Real>::memory(mesh, scheme_.window.nodes,
                                                                                    table_.padded_nodes, n_channels_));
        const double available = available_memory();
        if (bytes <= available) return;
        char text[300];
        std::snprintf(
            text, sizeof(text),
            "the mesh of %d x %d x %d points needs %.3g GB, and %.3g GB of memory are free; choose a smaller cell, "
            "a larger accuracy value or mesh_spacing, or float32 for the mesh",
            mesh[0], mesh[1], mesh[2], 1e-9 * bytes, 1e-9 * available);
        throw Error(text);
    }

    MeshView<Real> mesh_view() { return is_distributed_ ? distributed_.view() : whole_.view(); }

    void sort_points(const System& system, const std::vector<double>& charges, Communicator& communicator) {
        std::array<int, 3> origin{}, extent = report_.mesh;
        if (is_distributed_) {
            MeshPoints<Real>::occupied(system, report_.mesh, scheme_.window.nodes, occupied_);
            distributed_.set_brick(occupied_, communicator);
            origin = distributed_.division().origin();
            extent = distributed_.division().extent();
        }
        points_.sort(system, charges, n_channels_, report_.mesh, scheme_.window.nodes, origin, extent);
    }

    void points_to_mesh() {
        is_distributed_ ? distributed_.clear() : whole_.clear();
        const auto mesh = mesh_view();
        const auto points = points_.view();
        const auto& loops = mesh_loops<Real>(scheme_.window.nodes);
        for (int colour = 0; colour < MeshPoints<Real>::n_colours; ++colour) {
            parallel_dynamic(points_.tiles_of(colour), [&](std::int64_t tile) {
                const auto range = points_.tile(colour, tile);
                loops.points_to_mesh(table_, points, mesh, range[0], range[1]);
            });
        }
    }

    void solve(Communicator& communicator) {
        if (is_distributed_) {
            distributed_.solve(filter_, communicator);
        } else {
            whole_.solve(filter_);
        }
    }

    /// Potentials and forces in the order of the host, with the self terms (their mean and what varies between mesh
    /// points); the net force of the mesh is taken out of the atoms, energy and virial are summed.
    void mesh_to_points(const std::vector<double>& charges, Communicator& communicator) {
        const auto n = static_cast<std::size_t>(points_.size()), channels = static_cast<std::size_t>(n_channels_);
        gathered_.resize(4 * n * channels);
        ripples_.resize(3 * n);
        ripple_slopes_.resize(3 * n);
        result_.potentials.resize(n * channels);
        result_.forces.resize(3 * n);
        const PointTerms terms = point_terms();
        const std::int64_t n_chunks = (points_.size() + chunk - 1) / chunk;
        chunk_sums_.assign(static_cast<std::size_t>(n_chunks), {});
        parallel_dynamic(n_chunks, [&](std::int64_t index) { gather_chunk(index, charges, terms); });
        // chunks in order, so that no sum depends on the threads
        PointSums sums{};
        for (const PointSums& of_chunk : chunk_sums_) {
            for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += of_chunk[i];
        }
        result_.energy = sums[energy_sum];
        sums[energy_sum] = static_cast<double>(n);
        communicator.allreduce_sum(sums.data(), static_cast<std::int64_t>(sums.size()));
        const double n_atoms = std::max(1.0, sums[energy_sum]);
        for (std::size_t x = 0; x < 3; ++x) result_.net_force[x] = sums[force_sum + x];
        const Vector3 share{sums[0] / n_atoms, sums[1] / n_atoms, sums[2] / n_atoms};
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t x = 0; x < 3; ++x) result_.forces[3 * i + x] -= share[x];
        }
        const bool first_domain = communicator.rank() == 0;
        result_.virial = filter_.virial(sums[square_sum], first_domain);
        if (!first_domain) return;
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) {
                result_.virial[a][b] += sums[square_sum] * filter_.self_virial()[a][b];
                for (std::size_t axis = 0; axis < 3; ++axis)
                    result_.virial[a][b] -=
                        sums[ripple_sum + axis] * filter_.ripple_virial(static_cast<int>(axis))[a][b];
            }
        }
    }

    /// What all points share: slopes along the mesh to cartesian forces, self terms of a unit charge.
    struct PointTerms {
        Matrix3 slope_to_force{};
        double self = 0.0, sign = 1.0;
        Vector3 ripple{};
    };

    PointTerms point_terms() const {
        PointTerms terms;
        const Matrix3 reciprocal = reciprocal_of(cell_);
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t x = 0; x < 3; ++x)
                terms.slope_to_force[a][x] = -reciprocal[a][x] / (2.0 * pi) * report_.mesh[a];
        }
        const double removed = parameters_.remove_self_interaction ? self_energy_of_unit_charge(parameters_) : 0.0;
        terms.self = 2.0 * (filter_.self_correction() - removed);
        // u is an integer plus t plus half the number of nodes: cos(2 pi u) = cos(2 pi t), or its negative for odd
        // numbers
        terms.sign = scheme_.window.nodes % 2 == 0 ? 1.0 : -1.0;
        for (std::size_t a = 0; a < 3; ++a) terms.ripple[a] = terms.sign * filter_.self_ripple(static_cast<int>(a));
        return terms;
    }

    void gather_chunk(std::int64_t index, const std::vector<double>& charges, const PointTerms& terms) {
        const auto channels = static_cast<std::size_t>(n_channels_);
        const std::int64_t begin = index * chunk, end = std::min(points_.size(), begin + chunk);
        const auto& loops = mesh_loops<Real>(scheme_.window.nodes);
        const auto points = points_.view();
        loops.mesh_to_points(table_, points, mesh_view(), begin, end, gathered_.data());
        loops.ripple(points.t + 3 * begin, 3 * (end - begin), ripples_.data() + 3 * begin,
                     ripple_slopes_.data() + 3 * begin);
        PointSums& sums = chunk_sums_[static_cast<std::size_t>(index)];
        for (auto place = static_cast<std::size_t>(begin); place < static_cast<std::size_t>(end); ++place) {
            const auto atom = static_cast<std::size_t>(points_.atom(static_cast<std::int64_t>(place)));
            const Real *cosine = ripples_.data() + 3 * place, *sine = ripple_slopes_.data() + 3 * place;
            const Vector3& ripple = terms.ripple;
            const double varying = ripple[0] * cosine[0] + ripple[1] * cosine[1] + ripple[2] * cosine[2];
            Vector3 slope{};
            double squared = 0.0;
            for (std::size_t channel = 0; channel < channels; ++channel) {
                const Real* at_point = gathered_.data() + 4 * (place * channels + channel);
                const double q = charges[atom * channels + channel];
                const double potential = at_point[0] + (terms.self - 2.0 * varying) * q;
                result_.potentials[atom * channels + channel] = potential;
                for (std::size_t a = 0; a < 3; ++a) slope[a] += q * (at_point[a + 1] - q * ripple[a] * sine[a]);
                sums[energy_sum] += 0.5 * q * potential;
                squared += q * q;
            }
            sums[square_sum] += squared;
            for (std::size_t x = 0; x < 3; ++x) {
                const double force = slope[0] * terms.slope_to_force[0][x] + slope[1] * terms.slope_to_force[1][x] +
                                     slope[2] * terms.slope_to_force[2][x];
                result_.forces[3 * atom + x] = force;
                sums[force_sum + x] += force;
                sums[ripple_sum + x] += terms.sign * squared * cosine[x];
            }
        }
    }
};

}  // namespace

MeshReport plan_mesh(const LongRangeParameters& parameters, const LongRangeOptions& options, const Matrix3& cell,
                     std::int64_t n_atoms) {
    check_options(parameters, options);
    const MeshScheme scheme = choose_scheme(parameters, options, cell, n_atoms);
    return report_of(scheme, options, cell, choose_mesh(scheme, options, cell));
}

std::unique_ptr<LongRangeSolver> make_mesh_solver(const LongRangeParameters& parameters, int n_channels,
                                                  const LongRangeOptions& options) {
    if (options.dtype == "float32") return std::make_unique<MeshSolver<float>>(parameters, n_channels, options);
    return std::make_unique<MeshSolver<double>>(parameters, n_channels, options);
}

}  // namespace les
