// Choices and tables for the mesh on the device; see mesh_setup.h.
#include "mesh_setup.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "les/error.h"

namespace les::cuda {

namespace {

// as in csrc/src/kspace_filter.cpp
constexpr double shell_radius = 0.93, shell_needs = 100.0;
constexpr int few_modes = 12;

Symmetric metric_of(const Matrix3& reciprocal) {
    return {{dot(reciprocal[0], reciprocal[0]), dot(reciprocal[1], reciprocal[1]), dot(reciprocal[2], reciprocal[2]),
             dot(reciprocal[1], reciprocal[2]), dot(reciprocal[0], reciprocal[2]), dot(reciprocal[0], reciprocal[1])}};
}

int edge_of(int nodes, bool single) {
    int edge = 0;
    for_nodes(nodes, [&]<int n>() { edge = single ? tile_edge<float, n>() : tile_edge<double, n>(); });
    return edge;
}

/// Before anything is made for a mesh: its modes are counted in 32 bits.
void check_size(const std::array<int, 3>& mesh, int n_domains) {
    const double modes = (mesh[2] / 2 + 1.0) * mesh[0] * mesh[1];
    if (modes / n_domains <= std::numeric_limits<std::int32_t>::max()) return;
    throw Error("the mesh of " + std::to_string(mesh[0]) + " x " + std::to_string(mesh[1]) + " x " +
                std::to_string(mesh[2]) +
                " points is more than one GPU's kernels count; choose a smaller cell, or a larger accuracy value or "
                "mesh_spacing");
}

}  // namespace

MeshSetup::MeshSetup(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options)
    : parameters_(parameters), options_(options), n_channels_(n_channels) {
    check_options(parameters, options);
    if (n_channels < 1) throw Error("`n_channels` must be at least 1, got " + std::to_string(n_channels));
    if (options.solver == "direct") throw Error("the direct sum has no CUDA kernels; take `solver` mesh or auto");
}

bool MeshSetup::set_cell(const Matrix3& cell, std::int64_t n_atoms, int n_domains) {
    const double n = static_cast<double>(n_atoms);
    if (!(volume_of(cell) > 0.0)) throw Error("`cell` must have three independent vectors, got a volume of 0");
    if (have_scheme_ && is_other_system(first_cell_, n_atoms_, cell, n)) have_scheme_ = false;
    const bool new_scheme = !have_scheme_;
    if (new_scheme) {
        scheme_ = choose_scheme(parameters_, options_, cell, n_atoms);
        window_.emplace(scheme_.window);
        first_cell_ = cell;
        n_atoms_ = n;
        have_scheme_ = true;
    }
    const auto mesh = choose_mesh(scheme_, options_, options_.freeze_k_set ? first_cell_ : cell);
    const bool changed = new_scheme || mesh != report_.mesh;
    if (changed) {
        check_size(mesh, n_domains);
        report_ = MeshReport{};
        report_.mesh = mesh;
        report_.interpolation_nodes = scheme_.window.nodes;
        report_.window = options_.window;
        report_.dtype = single() ? "float32" : "float64";
        report_.shape = scheme_.window.shape;
        for (std::size_t a = 0; a < 3; ++a) report_.spacing[a] = length(cell[a]) / mesh[a];
        report_.k_cutoff = scheme_.kernel.k_cutoff;
        report_.asked_accuracy = options_.accuracy;
        report_.estimated_error = mesh_error(scheme_.kernel, scheme_.window, cell, mesh);
        set_shape();
    }
    kept_ = kept_modes(scheme_.kernel, options_.freeze_k_set ? first_cell_ : cell, mesh);
    set_terms(cell);
    return changed;
}

void MeshSetup::set_shape() {
    shape_.edge = edge_of(nodes(), single());
    shape_.channels = n_channels_;
    shape_.half = report_.mesh[2] / 2 + 1;
    for (std::size_t a = 0; a < 3; ++a) {
        shape_.points[a] = shape_.whole[a] = report_.mesh[a];
        shape_.tiles[a] = (report_.mesh[a] + shape_.edge - 1) / shape_.edge;
    }
    shape_.panels = report_.mesh[1];
    shape_.third_modes = shape_.half;
}

MeshShape MeshSetup::brick(const std::array<int, 3>& origin, const std::array<int, 3>& length) const {
    MeshShape brick = shape_;
    for (std::size_t a = 0; a < 3; ++a) {
        brick.points[a] = length[a];
        brick.origin[a] = origin[a];
        brick.tiles[a] = (length[a] + brick.edge - 1) / brick.edge;
    }
    brick.half = (length[2] + 1) / 2;
    return brick;
}

MeshShape MeshSetup::modes(const std::array<int, 2>& panels, const std::array<int, 2>& thirds) const {
    MeshShape modes = shape_;
    modes.channels = 1;
    modes.panels = panels[1] - panels[0];
    modes.half = thirds[1] - thirds[0];
    modes.first_mode[0] = panels[0];
    modes.first_mode[1] = thirds[0];
    modes.third_modes = kept_;
    return modes;
}

void MeshSetup::set_terms(const Matrix3& cell) {
    const MeshKernel& kernel = scheme_.kernel;
    const Matrix3 reciprocal = reciprocal_of(cell);
    const double volume = volume_of(cell), reciprocal_constant = 2.0 * pi * parameters_.coulomb_constant;
    const double sigma_sq = kernel.smearing * kernel.smearing, kc = kernel.k_cutoff;
    terms_ = CellTerms{};
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t x = 0; x < 3; ++x) {
            terms_.inverse[x][a] = reciprocal[a][x] / (2.0 * pi);
            terms_.reciprocal[a][x] = reciprocal[a][x];
        }
    }
    const Matrix3& members = options_.freeze_k_set ? first_cell_ : cell;
    terms_.metric = metric_of(reciprocal);
    terms_.member_metric = metric_of(reciprocal_of(members));
    terms_.smearing_sq = sigma_sq;
    terms_.prefactor = reciprocal_constant / volume;
    terms_.limit = terms_.outer_limit = kc * kc * (1.0 + 1e-9);
    terms_.shell_sq = shell_radius * shell_radius * kc * kc;
    terms_.shell_needs = shell_needs / (2.0 * (1.0 - std::pow(shell_radius, 3)));
    terms_.removed_self = parameters_.remove_self_interaction
                              ? reciprocal_constant / (parameters_.smearing * std::pow(2.0 * pi, 1.5))
                              : 0.0;
    terms_.sign = nodes() % 2 == 0 ? 1.0 : -1.0;
    terms_.converged = kernel.converged ? 1 : 0;
    const auto reach = [&](double k_sq, const Matrix3& vectors, std::size_t a) {
        return static_cast<int>(std::floor(std::sqrt(k_sq) * length(vectors[a]) / (2.0 * pi) + 1e-6));
    };
    if (kernel.converged) {
        // modes beyond the cutoff: one by one where they are few, else by the integral
        const double outer = terms_.limit + 40.0 / sigma_sq;
        bool few = true;
        for (std::size_t a = 0; a < 3; ++a)
            few = few && std::floor(std::sqrt(outer) * length(cell[a]) / (2.0 * pi)) <= few_modes;
        if (few) {
            terms_.outer_limit = outer;
        } else {
            terms_.beyond = reciprocal_constant / (2.0 * pi * pi) * std::sqrt(0.5 * pi / sigma_sq) *
                            std::erfc(std::sqrt(0.5 * sigma_sq) * kc);
            terms_.crossing = -reciprocal_constant / (6.0 * pi * pi) * kc * std::exp(-0.5 * sigma_sq * kc * kc);
        }
    }
    for (std::size_t a = 0; a < 3; ++a) terms_.reach[a] = reach(terms_.outer_limit, members, a);
}

std::vector<double> MeshSetup::tables() const {
    std::vector<double> all;
    all.reserve(static_cast<std::size_t>(table_size()));
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const int points = report_.mesh[axis];
        std::vector<double> deconvolution, alias, nearest;
        for (int i = 0; i < points; ++i) {
            const int mode = i <= (points - 1) / 2 ? i : i - points;
            const double transform = scheme_.window.transform(2.0 * pi * mode / points);
            const AliasSums sums = alias_sums(scheme_.window, mode, points);
            deconvolution.push_back(1.0 / (transform * transform));
            alias.push_back(sums.excess);
            nearest.push_back(sums.harmonics[0]);
        }
        for (const auto* table : {&deconvolution, &alias, &nearest})
            all.insert(all.end(), table->begin(), table->end());
    }
    return all;
}

AxisTables MeshSetup::axis_tables(const double* data) const {
    AxisTables tables{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const int points = report_.mesh[axis];
        tables.deconvolution[axis] = data;
        tables.alias[axis] = data + points;
        tables.nearest[axis] = data + 2 * points;
        data += 3 * points;
    }
    return tables;
}

std::string MeshSetup::description() const {
    char text[200];
    std::snprintf(
        text, sizeof(text),
        "mesh %d x %d x %d on the GPU, %s window of %d nodes, %s, wave vectors up to %.4g 1/angstrom, estimated "
        "relative force error %.2g, asked for %.2g",
        report_.mesh[0], report_.mesh[1], report_.mesh[2],
        scheme_.window.kind == WindowKind::b_spline ? "B-spline" : "Kaiser-Bessel", nodes(), report_.dtype.c_str(),
        report_.k_cutoff, report_.estimated_error, report_.asked_accuracy);
    return text;
}

}  // namespace les::cuda
