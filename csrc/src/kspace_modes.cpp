// Modes of the sum, and modes left out; see kspace_modes.h.
#include "kspace_modes.h"

#include <algorithm>
#include <cmath>

#include "lattice.h"

namespace les {

namespace {

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

/// Mean energy and virial of unit charges from a mode that was left out of the converged kernel.
void add_left_out(const Vector3& k, double sigma_sq, double prefactor, LeftOutModes& sums) {
    const double k_sq = dot(k, k), e = prefactor * std::exp(-0.5 * sigma_sq * k_sq) / k_sq;
    sums.energy += e;
    for (std::size_t a = 0; a < 3; ++a) {
        for (std::size_t b = 0; b < 3; ++b)
            sums.virial[a][b] += e * ((a == b ? 1.0 : 0.0) - k[a] * k[b] * (2.0 / k_sq + sigma_sq));
    }
}

/// Modes inside the cutoff that have no place on the mesh: caps of the sphere beyond its faces in k-space.
void add_modes_beyond_mesh(const MeshKernel& kernel, const Matrix3& cell, const std::array<int, 3>& mesh,
                           double prefactor, LeftOutModes& sums) {
    const Matrix3 reciprocal = reciprocal_of(cell);
    std::array<int, 3> reach{}, highest{};
    bool any = false;
    for (std::size_t a = 0; a < 3; ++a) {
        reach[a] = static_cast<int>(std::floor(kernel.k_cutoff * length(cell[a]) / (2.0 * pi) + 1e-6));
        highest[a] = (mesh[a] - 1) / 2;
        any = any || reach[a] > highest[a];
    }
    if (!any) return;
    const double limit = kernel.k_cutoff * kernel.k_cutoff * (1.0 + 1e-9);
    for (int n0 = -reach[0]; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            const bool outside = std::abs(n0) > highest[0] || std::abs(n1) > highest[1];
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                if (!outside && n2 == -highest[2]) n2 = highest[2] + 1;
                const Vector3 k = wave_vector(reciprocal, n0, n1, n2);
                if (n2 <= reach[2] && dot(k, k) <= limit)
                    add_left_out(k, kernel.smearing * kernel.smearing, prefactor, sums);
            }
        }
    }
}

/// Modes beyond the cutoff: summed where they are few, else by the integral.
void add_modes_beyond_cutoff(const MeshKernel& kernel, const Matrix3& cell, double reciprocal_constant,
                             LeftOutModes& sums) {
    const Matrix3 reciprocal = reciprocal_of(cell);
    const double sigma_sq = kernel.smearing * kernel.smearing, kc = kernel.k_cutoff;
    const double prefactor = reciprocal_constant / volume_of(cell);
    std::array<int, 3> reach{};
    bool few = true;
    const double inner = kc * kc * (1.0 + 1e-9), outer = inner + 40.0 / sigma_sq;
    for (std::size_t a = 0; a < 3; ++a) {
        reach[a] = static_cast<int>(std::floor(std::sqrt(outer) * length(cell[a]) / (2.0 * pi)));
        few = few && reach[a] <= 12;
    }
    if (!few) {
        // (2 pi)^-3 integrals of A and of A (1 - k^2 (2/k^2 + sigma^2) / 3) from the cutoff on; k^2 times the latter
        // has the primitive k exp(-sigma^2 k^2/2) / 3
        sums.energy += reciprocal_constant / (2.0 * pi * pi) * std::sqrt(0.5 * pi / sigma_sq) *
                       std::erfc(std::sqrt(0.5 * sigma_sq) * kc);
        sums.crossing = -reciprocal_constant / (6.0 * pi * pi) * kc * std::exp(-0.5 * sigma_sq * kc * kc);
        return;
    }
    for (int n0 = -reach[0]; n0 <= reach[0]; ++n0) {
        for (int n1 = -reach[1]; n1 <= reach[1]; ++n1) {
            for (int n2 = -reach[2]; n2 <= reach[2]; ++n2) {
                const Vector3 k = wave_vector(reciprocal, n0, n1, n2);
                const double k_sq = dot(k, k);
                if (k_sq > inner && k_sq <= outer) add_left_out(k, sigma_sq, prefactor, sums);
            }
        }
    }
}

}  // namespace

ModeRows mode_rows(const MeshKernel& kernel, const Matrix3& members, const std::array<int, 3>& mesh, int kept_modes,
                   const ModeRange& range) {
    const Matrix3 reciprocal = reciprocal_of(members);
    ModeRows found;
    const double limit = kernel.k_cutoff * kernel.k_cutoff * (1.0 + 1e-9);
    const int highest = (mesh[2] - 1) / 2;
    found.rows.reserve(static_cast<std::size_t>(mesh[0]) * static_cast<std::size_t>(range.panels[1] - range.panels[0]));
    found.first_row.assign(1, 0);
    found.kept_of_panel.assign(static_cast<std::size_t>(mesh[1]), 0);
    for (int i1 = 0; i1 < mesh[1]; ++i1) {
        if (i1 < range.panels[0] || i1 >= range.panels[1]) {
            found.first_row.push_back(found.rows.size());
            continue;
        }
        int& kept = found.kept_of_panel[static_cast<std::size_t>(i1)];
        const int n1 = mode_of(i1, mesh[1]);
        for (int i0 = 0; i0 < mesh[0] && 2 * n1 != -mesh[1]; ++i0) {
            const int n0 = mode_of(i0, mesh[0]);
            if (2 * n0 == -mesh[0]) continue;
            ModeRow row;
            const Vector3 start = wave_vector(reciprocal, n0, n1, 0);
            row.waves.a = dot(reciprocal[2], reciprocal[2]);
            row.waves.b = dot(start, reciprocal[2]);
            row.waves.c = dot(start, start);
            row.waves.smearing_sq = kernel.smearing * kernel.smearing;
            row.waves.shell_sq = ModeRows::shell_radius * ModeRows::shell_radius * kernel.k_cutoff * kernel.k_cutoff;
            clip_row(row.waves, limit, highest);
            if (n0 == 0 && n1 == 0 && row.waves.count > 0 && row.waves.lowest == 0) {
                row.waves.lowest = 1;
                --row.waves.count;
            }
            const int low = std::max(row.waves.lowest, range.third[0]);
            const int high = std::min(row.waves.lowest + row.waves.count, range.third[1]);
            row.waves.lowest = low;
            row.waves.count = high - low;
            if (row.waves.count <= 0) continue;
            row.n0 = n0;
            row.first = found.n_modes;
            found.n_modes += static_cast<std::size_t>(row.waves.count);
            found.rows.push_back(row);
            kept = std::max(kept, row.waves.lowest + row.waves.count);
        }
        found.first_row.push_back(found.rows.size());
        // few different widths mean few plans of the transform
        if (kept > 0) kept = std::min((kept + 3) / 4 * 4, kept_modes);
    }
    return found;
}

LeftOutModes left_out_modes(const MeshKernel& kernel, const Matrix3& cell, const std::array<int, 3>& mesh,
                            double reciprocal_constant) {
    LeftOutModes sums;
    add_modes_beyond_mesh(kernel, cell, mesh, reciprocal_constant / volume_of(cell), sums);
    add_modes_beyond_cutoff(kernel, cell, reciprocal_constant, sums);
    return sums;
}

}  // namespace les
