// The k-space side of the mesh on the device: influence function and self terms when the cell changes, the filter with
// its sums at every evaluation, and what closes an evaluation. The expressions are those of csrc/src/kspace_filter.cpp;
// sums are kept over products of integer modes, n_a n_b, and become tensors at the end.
#pragma once

#include "block.cuh"
#include "mesh_to_points.cuh"

namespace les::cuda {

constexpr int filter_threads = 256, influence_threads = 128, close_threads = 256;
constexpr int most_filter_blocks = 1024, most_influence_blocks = 1024, most_close_blocks = 512;

/// Positions of components 00 11 22 12 02 01.
LES_HOST_DEVICE int first_of(int component) { return component < 3 ? component : component == 3 ? 1 : 0; }
LES_HOST_DEVICE int second_of(int component) { return component < 3 ? component : component == 5 ? 1 : 2; }

LES_DEVICE double square_of(const Symmetric& metric, const double* n) {
    return metric.v[0] * n[0] * n[0] + metric.v[1] * n[1] * n[1] + metric.v[2] * n[2] * n[2] +
           2.0 * (metric.v[3] * n[1] * n[2] + metric.v[4] * n[0] * n[2] + metric.v[5] * n[0] * n[1]);
}

/// sum over c, d of b_c b_d T_cd for component ab of a tensor T over integer modes
LES_HOST_DEVICE double to_cartesian(const CellTerms& cell, const double* sums, int a, int b) {
    double sum = 0.0;
    for (int component = 0; component < 6; ++component) {
        const int c = first_of(component), d = second_of(component);
        double product = cell.reciprocal[c][a] * cell.reciprocal[d][b];
        if (c != d) product += cell.reciprocal[d][a] * cell.reciprocal[c][b];
        sum += product * sums[component];
    }
    return sum;
}

/// Sums of a mode with value e: e, then e (2/k^2 + sigma^2) n_a n_b.
LES_DEVICE void add_mode(double* sums, double e, double slope, const double* n) {
    sums[0] += e;
    const double s = e * slope;
    sums[1] += s * n[0] * n[0];
    sums[2] += s * n[1] * n[1];
    sums[3] += s * n[2] * n[2];
    sums[4] += s * n[1] * n[2];
    sums[5] += s * n[0] * n[2];
    sums[6] += s * n[0] * n[1];
}

// Sums over modes for the self terms: the correction, three ripples, shell and number of modes.
constexpr int shell_of_self = 28, modes_of_self = 29, n_self_sums = 30;

/// One mode, n2 >= 0, which stands for its conjugate where n2 > 0: G = (2 N_F / V) A / W^2 if it is in the sum and on
/// the mesh, and its share of the self terms.
template <class Real>
LES_DEVICE void influence_mode(const CellTerms& cell, const MeshShape& mesh, const AxisTables& tables, const int* mode,
                               Real* influence, double* sums) {
    if (mode[0] == 0 && mode[1] == 0 && mode[2] == 0) return;
    // each mode is of one domain: on the mesh, of that which filters it
    const int panel = (mode[1] % mesh.points[1] + mesh.points[1]) % mesh.points[1] - mesh.first_mode[0];
    const int third = mode[2] % mesh.third_modes - mesh.first_mode[1];
    if (panel < 0 || panel >= mesh.panels || third < 0 || third >= mesh.half) return;
    const double n[3] = {static_cast<double>(mode[0]), static_cast<double>(mode[1]), static_cast<double>(mode[2])};
    const double k_sq = square_of(cell.metric, n), both = mode[2] == 0 ? 1.0 : 2.0;
    const bool member = square_of(cell.member_metric, n) <= cell.limit;
    if (!member && !(cell.converged != 0 && k_sq <= cell.outer_limit)) return;
    const double amplitude = cell.prefactor * exp(-0.5 * cell.smearing_sq * k_sq) / k_sq;
    const double slope = 2.0 / k_sq + cell.smearing_sq;
    bool on_mesh = true;
    int index[3];
    LES_UNROLL
    for (int a = 0; a < 3; ++a) {
        const int highest = (mesh.points[a] - 1) / 2;
        on_mesh = on_mesh && mode[a] <= highest && mode[a] >= -highest;
        index[a] = mode[a] < 0 ? mode[a] + mesh.points[a] : mode[a];
    }
    if (!member || !on_mesh) {
        // left out of the converged kernel: what unit charges have from it on average
        if (cell.converged != 0) add_mode(sums, both * amplitude, slope, n);
        return;
    }
    const double alias0 = tables.alias[0][index[0]], alias1 = tables.alias[1][index[1]];
    const double alias01 = alias0 + alias1 + alias0 * alias1;
    const double deconvolution =
        tables.deconvolution[0][index[0]] * tables.deconvolution[1][index[1]] * tables.deconvolution[2][index[2]];
    influence[(static_cast<std::int64_t>(index[0]) * mesh.panels + panel) * mesh.half + third] =
        static_cast<Real>(2.0 * amplitude * deconvolution);
    add_mode(sums, -both * amplitude * (alias01 + (1.0 + alias01) * tables.alias[2][index[2]]), slope, n);
    for (int axis = 0; axis < 3; ++axis)
        add_mode(sums + 7 * (axis + 1), 4.0 * both * amplitude * tables.nearest[axis][index[axis]], slope, n);
    if (k_sq > cell.shell_sq) sums[shell_of_self] += both * amplitude;
    sums[modes_of_self] += 1.0;
}

/// All modes of the box `cell.reach`, a share for each block; influence was cleared before.
template <class Real>
LES_DEVICE void influence_modes(const Block<influence_threads>& block, double* scratch, const CellTerms& cell,
                                const MeshShape& mesh, const AxisTables& tables, Real* influence, double* totals) {
    PerThread<Sums<n_self_sums>, influence_threads> sums;
    const std::int64_t width[3] = {2 * cell.reach[0] + 1, 2 * cell.reach[1] + 1, cell.reach[2] + 1};
    block.each([&](int thread) {
        LES_UNROLL
        for (int s = 0; s < n_self_sums; ++s) sums[thread].v[s] = 0.0;
        const std::int64_t stride = static_cast<std::int64_t>(block.count) * influence_threads;
        for (std::int64_t i = static_cast<std::int64_t>(block.index) * influence_threads + thread;
             i < width[0] * width[1] * width[2]; i += stride) {
            const int mode[3] = {static_cast<int>(i / width[2] / width[1]) - cell.reach[0],
                                 static_cast<int>(i / width[2] % width[1]) - cell.reach[1],
                                 static_cast<int>(i % width[2])};
            influence_mode(cell, mesh, tables, mode, influence, sums[thread].v);
        }
    });
    block_sum(block, sums, scratch, totals);
}

/// Self terms from the sums of all blocks, by one block.
template <int n_threads>
LES_DEVICE void close_influence(const Block<n_threads>& block, double* shared, const CellTerms& cell,
                                const double* totals, int n_blocks, SelfTerms& self) {
    block.each([&](int thread) {
        if (thread >= n_self_sums) return;
        double sum = 0.0;
        for (int i = 0; i < n_blocks; ++i) sum += totals[static_cast<std::int64_t>(i) * n_self_sums + thread];
        shared[thread] = sum;
    });
    block.each([&](int thread) {
        if (thread >= 6) return;
        const int a = first_of(thread), b = second_of(thread);
        for (int term = 0; term < 4; ++term) {
            const double* sums = shared + 7 * term;
            const double virial = (a == b ? sums[0] : 0.0) - to_cartesian(cell, sums + 1, a, b);
            (term == 0 ? self.correction_virial : self.ripple_virial[term - 1])[thread] = virial;
        }
        if (thread != 0) return;
        self.correction = shared[0] + cell.beyond;
        for (int axis = 0; axis < 3; ++axis) self.ripple[axis] = shared[7 * (axis + 1)];
        self.shell_reference = shared[shell_of_self];
        self.use_shell = self.shell_reference > 0.0 && shared[modes_of_self] > cell.shell_needs ? 1 : 0;
    });
}

// Sums of the filter: energy and its slopes as in add_mode, then e / k^2 n_a n_b of the outer shell.
constexpr int shell_of_filter = 7, n_filter_sums = 13;

/// Multiplies the modes of all channels by the influence function, a share for each block.
template <class Real>
LES_DEVICE void filter_modes(const Block<filter_threads>& block, double* scratch, const CellTerms& cell,
                             const MeshShape& mesh, const Real* influence, Real* data, double* totals) {
    PerThread<Sums<n_filter_sums>, filter_threads> sums;
    block.each([&](int thread) {
        double* of_thread = sums[thread].v;
        LES_UNROLL
        for (int s = 0; s < n_filter_sums; ++s) of_thread[s] = 0.0;
        const std::uint32_t n_modes = static_cast<std::uint32_t>(mesh.n_modes()),
                            stride = static_cast<std::uint32_t>(block.count) * filter_threads,
                            half = static_cast<std::uint32_t>(mesh.half),
                            columns = static_cast<std::uint32_t>(mesh.panels);
        for (std::uint32_t i = static_cast<std::uint32_t>(block.index * filter_threads + thread); i < n_modes;
             i += stride) {
            const Real g = influence[i];
            double squared = 0.0;
            for (int channel = 0; channel < mesh.channels; ++channel) {
                Real* value = data + channel * mesh.channel() + 2 * static_cast<std::int64_t>(i);
                if (g != Real(0)) {
                    const Real re = value[0], im = value[1];
                    squared += static_cast<double>(re * re + im * im);
                    value[0] = g * re;
                    value[1] = g * im;
                } else {
                    value[0] = 0;
                    value[1] = 0;
                }
            }
            if (g == Real(0)) continue;
            const int i2 = static_cast<int>(i % half) + mesh.first_mode[1];
            const int m0 = static_cast<int>(i / half / columns),
                      m1 = static_cast<int>(i / half % columns) + mesh.first_mode[0];
            const double n[3] = {static_cast<double>(2 * m0 < mesh.points[0] ? m0 : m0 - mesh.points[0]),
                                 static_cast<double>(2 * m1 < mesh.points[1] ? m1 : m1 - mesh.points[1]),
                                 static_cast<double>(i2)};
            const double inverse = 1.0 / square_of(cell.metric, n);
            // modes n2 = 0 have their conjugates in the sum, so each counts half
            const double e = (i2 == 0 ? 0.5 : 1.0) * static_cast<double>(g) * squared;
            add_mode(of_thread, e, 2.0 * inverse + cell.smearing_sq, n);
            if (inverse * cell.shell_sq < 1.0) {
                const double s = e * inverse;
                double* shell = of_thread + shell_of_filter;
                shell[0] += s * n[0] * n[0];
                shell[1] += s * n[1] * n[1];
                shell[2] += s * n[2] * n[2];
                shell[3] += s * n[1] * n[2];
                shell[4] += s * n[0] * n[2];
                shell[5] += s * n[0] * n[1];
            }
        }
    });
    block_sum(block, sums, scratch, totals);
}

struct CloseShared {
    double partial[close_threads], points[n_point_sums], modes[n_filter_sums];
};

/// Totals of `n_blocks` blocks in a fixed order: `lanes` threads share each sum.
template <int n_sums>
LES_DEVICE void add_blocks(const Block<close_threads>& block, double* partial, const double* of_blocks, int n_blocks,
                           double* totals) {
    constexpr int lanes = close_threads / n_sums;
    block.each([&](int thread) {
        if (thread >= lanes * n_sums) return;
        double sum = 0.0;
        for (int i = thread / n_sums; i < n_blocks; i += lanes) sum += of_blocks[i * n_sums + thread % n_sums];
        partial[thread] = sum;
    });
    block.each([&](int thread) {
        if (thread >= n_sums) return;
        double sum = 0.0;
        for (int lane = 0; lane < lanes; ++lane) sum += partial[lane * n_sums + thread];
        totals[thread] = sum;
    });
}

/// Component ab of the virial from the sums of an evaluation, see KspaceFilter::virial of the CPU.
LES_HOST_DEVICE double virial_of(const CellTerms& cell, const SelfTerms& self, const double* points,
                                 const double* modes, int component) {
    const int a = first_of(component), b = second_of(component);
    const double squares = points[square_sum];
    double sum = (a == b ? modes[0] : 0.0) - to_cartesian(cell, modes + 1, a, b);
    if (self.use_shell != 0) {
        // the flux of modes through the cutoff, 3 <e k_a k_b / k^2> of the shell over what uncorrelated charges have
        sum += cell.crossing * 3.0 * to_cartesian(cell, modes + shell_of_filter, a, b) / self.shell_reference;
    } else if (a == b) {
        sum += cell.crossing * squares;
    }
    sum += squares * self.correction_virial[component];
    for (int axis = 0; axis < 3; ++axis) sum -= points[ripple_sum + axis] * self.ripple_virial[axis][component];
    return sum;
}

/// Energy, virial and net force from the sums of all blocks; the net force is taken out of the atoms, a share for each
/// block. If an input was not finite, nothing that looks like a number is left.
LES_DEVICE void close_evaluation(const Block<close_threads>& block, CloseShared& shared, const CellTerms& cell,
                                 const SelfTerms& self, const double* point_totals, int n_point_blocks,
                                 const double* filter_totals, int n_filter_blocks, std::int64_t n_atoms,
                                 std::int32_t* status, double* forces, Summary* summary) {
    add_blocks<n_point_sums>(block, shared.partial, point_totals, n_point_blocks, shared.points);
    block.each([&](int thread) {
        const double by_n = 1.0 / static_cast<double>(n_atoms > 0 ? n_atoms : 1);
        const std::int64_t stride = static_cast<std::int64_t>(block.count) * close_threads;
        for (std::int64_t i = static_cast<std::int64_t>(block.index) * close_threads + thread; i < 3 * n_atoms;
             i += stride)
            forces[i] -= shared.points[force_sum + i % 3] * by_n;
    });
    if (block.index != 0) return;
    add_blocks<n_filter_sums>(block, shared.partial, filter_totals, n_filter_blocks, shared.modes);
    block.each([&](int thread) {
        const double poison = *status == 0 ? 0.0 : static_cast<double>(NAN);
        if (thread < 6) {
            const double value = virial_of(cell, self, shared.points, shared.modes, thread) + poison;
            summary->virial[first_of(thread)][second_of(thread)] = value;
            summary->virial[second_of(thread)][first_of(thread)] = value;
        }
        if (thread < 3) summary->net_force[thread] = shared.points[force_sum + thread] + poison;
        if (thread == 0) {
            summary->energy = shared.points[energy_sum] + poison;
            summary->status = *status;
        }
    });
    // after the barrier: every thread has read it
    block.each([&](int thread) {
        if (thread == 0) *status = 0;
    });
}

}  // namespace les::cuda
