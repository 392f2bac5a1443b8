// Inner loops of the mesh for one instruction set; see mesh_loops.h. LES_INSTRUCTION_SET names it and LES_VECTOR_BYTES
// is its register width; both come from the build. Rows along the third axis are whole vectors of the compiler's own
// vector type, so that one source serves every processor.
#include "mesh_loops.h"

#include <array>
#include <utility>

namespace les {

namespace LES_INSTRUCTION_SET {

namespace {

template <class Real, int width>
struct VectorOf {
    typedef Real type __attribute__((vector_size(width * sizeof(Real)), aligned(sizeof(Real)), may_alias));
};

/// Lanes in one register for rows of `padded` nodes: the widest that divides the row.
template <class Real>
constexpr int lanes_for(int padded) {
    int lanes = LES_VECTOR_BYTES / static_cast<int>(sizeof(Real));
    while (padded % lanes != 0) lanes /= 2;
    return lanes;
}

/// A padded row of nodes in registers.
template <class Real, int padded>
struct Row {
    static constexpr int lanes = lanes_for<Real>(padded), n = padded / lanes;
    using Vector = typename VectorOf<Real, lanes>::type;
    Vector v[n];

    static Row load(const Real* from) {
        Row row;
        for (int i = 0; i < n; ++i) row.v[i] = *reinterpret_cast<const Vector*>(from + i * lanes);
        return row;
    }
    static Row zero() {
        Row row;
        for (int i = 0; i < n; ++i) row.v[i] = Vector{};
        return row;
    }
    void store(Real* to) const {
        for (int i = 0; i < n; ++i) *reinterpret_cast<Vector*>(to + i * lanes) = v[i];
    }
    void add_product(Real factor, const Row& other) {
        for (int i = 0; i < n; ++i) v[i] += factor * other.v[i];
    }
    Row times(Real factor) const {
        Row row;
        for (int i = 0; i < n; ++i) row.v[i] = factor * v[i];
        return row;
    }
    Real dot(const Row& other) const {
        Vector products = v[0] * other.v[0];
        for (int i = 1; i < n; ++i) products += v[i] * other.v[i];
        Real sum = 0;
        for (int lane = 0; lane < lanes; ++lane) sum += products[lane];
        return sum;
    }
};

/// Keeps a row in registers where the compiler would rather read it twice: unaligned reads across cache lines are what
/// limits the loops.
template <class RowType>
inline __attribute__((always_inline)) void pin([[maybe_unused]] RowType& row) {
#ifdef __x86_64__
    for (int i = 0; i < RowType::n; ++i) __asm__("" : "+v"(row.v[i]));
#endif
}

/// Weights of all nodes along three axes.
template <class Real, int padded>
inline __attribute__((always_inline)) void weights(const WindowTable<Real>& table, const Real* t,
                                                   Row<Real, padded>* value) {
    using R = Row<Real, padded>;
    const Real x[3] = {2 * t[0] - 1, 2 * t[1] - 1, 2 * t[2] - 1};
    const Real* coefficients = table.coefficients.data();
    const R highest = R::load(coefficients);
    for (int axis = 0; axis < 3; ++axis) value[axis] = highest;
    for (int power = 1; power <= table.degree; ++power) {
        const R next = R::load(coefficients + power * padded);
        for (int axis = 0; axis < 3; ++axis) {
            for (int i = 0; i < R::n; ++i) value[axis].v[i] = value[axis].v[i] * x[axis] + next.v[i];
        }
    }
}

/// Weights and their derivatives with respect to the mesh coordinate (dx/dt = 2).
template <class Real, int padded>
inline __attribute__((always_inline)) void weights_and_slopes(const WindowTable<Real>& table, const Real* t,
                                                              Row<Real, padded>* value, Row<Real, padded>* slope) {
    using R = Row<Real, padded>;
    const Real x[3] = {2 * t[0] - 1, 2 * t[1] - 1, 2 * t[2] - 1};
    const Real* coefficients = table.coefficients.data();
    const R highest = R::load(coefficients);
    for (int axis = 0; axis < 3; ++axis) {
        value[axis] = highest;
        slope[axis] = R::zero();
    }
    for (int power = 1; power <= table.degree; ++power) {
        const R next = R::load(coefficients + power * padded);
        for (int axis = 0; axis < 3; ++axis) {
            for (int i = 0; i < R::n; ++i) {
                slope[axis].v[i] = slope[axis].v[i] * x[axis] + value[axis].v[i];
                value[axis].v[i] = value[axis].v[i] * x[axis] + next.v[i];
            }
        }
    }
    for (int axis = 0; axis < 3; ++axis) {
        for (int i = 0; i < R::n; ++i) slope[axis].v[i] += slope[axis].v[i];
    }
}

template <class Real, int nodes, int padded>
void points_to_mesh(const WindowTable<Real>& table, const SortedPoints<Real>& points, const MeshView<Real>& mesh,
                    std::int64_t begin, std::int64_t end) {
    using R = Row<Real, padded>;
    // the two halves in turn: a point whose neighbour was spread just before would wait for its rows to be written
    const std::int64_t half = (end - begin + 1) / 2;
    for (std::int64_t count = begin; count < end; ++count) {
        const std::int64_t i = begin + (count - begin) / 2 + (count - begin) % 2 * half;
        R weight[3];
        weights<Real, padded>(table, points.t + 3 * i, weight);
        Real w0[padded], w1[padded];
        weight[0].store(w0);
        weight[1].store(w1);
        const std::int32_t* first = points.first + 3 * i;
        Real* corner = mesh.data + first[0] * mesh.plane_stride + first[1] * mesh.row_stride + first[2];
        for (int channel = 0; channel < mesh.n_channels; ++channel, corner += mesh.channel_stride) {
            const R charged = weight[2].times(points.charges[i * mesh.n_channels + channel]);
            Real* plane = corner;
            for (int n0 = 0; n0 < nodes; ++n0, plane += mesh.plane_stride) {
                const R scaled = charged.times(w0[n0]);
                Real* row = plane;
#pragma GCC unroll 16
                for (int n1 = 0; n1 < nodes; ++n1, row += mesh.row_stride) {
                    R sum = R::load(row);
                    sum.add_product(w1[n1], scaled);
                    sum.store(row);
                }
            }
        }
    }
}

template <class Real, int nodes, int padded>
void mesh_to_points(const WindowTable<Real>& table, const SortedPoints<Real>& points, const MeshView<Real>& mesh,
                    std::int64_t begin, std::int64_t end, Real* out) {
    using R = Row<Real, padded>;
    for (std::int64_t i = begin; i < end; ++i) {
        R weight[3], slope[3];
        weights_and_slopes<Real, padded>(table, points.t + 3 * i, weight, slope);
        Real w0[padded], w1[padded], s0[padded], s1[padded];
        weight[0].store(w0);
        weight[1].store(w1);
        slope[0].store(s0);
        slope[1].store(s1);
        const std::int32_t* first = points.first + 3 * i;
        const Real* corner = mesh.data + first[0] * mesh.plane_stride + first[1] * mesh.row_stride + first[2];
        for (int channel = 0; channel < mesh.n_channels; ++channel, corner += mesh.channel_stride) {
            // sums over n0, n1 with (w0 w1), (s0 w1), (w0 s1); the third axis stays open until the end
            R values = R::zero(), slopes0 = R::zero(), slopes1 = R::zero();
            const Real* plane = corner;
            for (int n0 = 0; n0 < nodes; ++n0, plane += mesh.plane_stride) {
                R with_weight = R::zero(), with_slope = R::zero();
                const Real* from = plane;
#pragma GCC unroll 16
                for (int n1 = 0; n1 < nodes; ++n1, from += mesh.row_stride) {
                    R row = R::load(from);
                    pin(row);
                    with_weight.add_product(w1[n1], row);
                    with_slope.add_product(s1[n1], row);
                }
                values.add_product(w0[n0], with_weight);
                slopes0.add_product(s0[n0], with_weight);
                slopes1.add_product(w0[n0], with_slope);
            }
            Real* result = out + 4 * (i * mesh.n_channels + channel);
            result[0] = values.dot(weight[2]);
            result[1] = slopes0.dot(weight[2]);
            result[2] = slopes1.dot(weight[2]);
            result[3] = values.dot(slope[2]);
        }
    }
}

template <class Real>
void ripple(const Real* t, std::int64_t count, Real* value, Real* slope) {
    // -cos(x) = -sum (-y)^m / (2m)! with x = 2 pi (t - 1/2), y = x^2, and its derivative
    constexpr Real pi = static_cast<Real>(3.14159265358979323846);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const Real x = 2 * pi * (t[i] - Real(0.5)), y = x * x;
        Real sum = Real(1.0 / 87178291200.0), by_y = 0;
        for (const Real coefficient : {Real(-1.0 / 479001600.0), Real(1.0 / 3628800.0), Real(-1.0 / 40320.0),
                                       Real(1.0 / 720.0), Real(-1.0 / 24.0), Real(1.0 / 2.0), Real(-1.0)}) {
            by_y = by_y * y + sum;
            sum = sum * y + coefficient;
        }
        value[i] = sum;
        slope[i] = 4 * pi * x * by_y;
    }
}

template <class Real>
void filter_row(Real* row, const Real* influence, const WaveRow& waves, RowSums& sums) {
    double energy = 0.0, slope0 = 0.0, slope1 = 0.0, slope2 = 0.0, shell0 = 0.0, shell1 = 0.0, shell2 = 0.0;
    const double a = waves.a, b = waves.b, c = waves.c, smearing_sq = waves.smearing_sq, shell_sq = waves.shell_sq;
#pragma omp simd reduction(+ : energy, slope0, slope1, slope2, shell0, shell1, shell2)
    for (int i = 0; i < waves.count; ++i) {
        const double n = waves.lowest + i;
        const double k_sq = (a * n + 2.0 * b) * n + c;
        const Real re = row[2 * i], im = row[2 * i + 1], g = influence[i];
        const double e = static_cast<double>(g) * static_cast<double>(re * re + im * im);
        const double by_k_sq = e / k_sq, s = 2.0 * by_k_sq + e * smearing_sq;
        const double shell = k_sq > shell_sq ? by_k_sq : 0.0;
        shell0 += shell;
        shell1 += shell * n;
        shell2 += shell * n * n;
        energy += e;
        slope0 += s;
        slope1 += s * n;
        slope2 += s * n * n;
        row[2 * i] = g * re;
        row[2 * i + 1] = g * im;
    }
    sums.energy += energy;
    sums.slope[0] += slope0;
    sums.slope[1] += slope1;
    sums.slope[2] += slope2;
    sums.shell[0] += shell0;
    sums.shell[1] += shell1;
    sums.shell[2] += shell2;
}

template <class Real>
void influence_row(Real* influence, const WaveRow& waves, const InfluenceRow& tables, InfluenceSums& sums) {
    double alias = 0.0, alias0 = 0.0, alias1 = 0.0, alias2 = 0.0, kernel = 0.0, kernel0 = 0.0, kernel1 = 0.0,
           kernel2 = 0.0, nearest = 0.0, nearest0 = 0.0, nearest1 = 0.0, nearest2 = 0.0, shell = 0.0;
    const double a = waves.a, b = waves.b, c = waves.c, smearing_sq = waves.smearing_sq, shell_sq = waves.shell_sq;
    const double factor = tables.factor, influence_factor = tables.influence_factor, alias01 = tables.alias01;
    const double *first = tables.first, *second = tables.second, *deconvolution = tables.deconvolution,
                 *alias_of = tables.alias2, *nearest_of = tables.nearest2;
#pragma omp simd reduction(+ : alias, alias0, alias1, alias2, kernel, kernel0, kernel1, kernel2, nearest, nearest0, \
                               nearest1, nearest2, shell)
    for (int i = 0; i < waves.count; ++i) {
        const double n = waves.lowest + i;
        const double inverse_sq = 1.0 / ((a * n + 2.0 * b) * n + c);
        const double amplitude = factor * first[i] * second[i] * inverse_sq;
        influence[i] = static_cast<Real>(influence_factor * amplitude * deconvolution[i]);
        const double s = amplitude * (2.0 * inverse_sq + smearing_sq),
                     lack = -(alias01 + (1.0 + alias01) * alias_of[i]);
        alias += amplitude * lack;
        alias0 += s * lack;
        alias1 += s * lack * n;
        alias2 += s * lack * n * n;
        kernel += amplitude;
        shell += inverse_sq * shell_sq < 1.0 ? amplitude : 0.0;
        kernel0 += s;
        kernel1 += s * n;
        kernel2 += s * n * n;
        nearest += amplitude * nearest_of[i];
        nearest0 += s * nearest_of[i];
        nearest1 += s * nearest_of[i] * n;
        nearest2 += s * nearest_of[i] * n * n;
    }
    sums.alias = {alias, {alias0, alias1, alias2}, {}};
    sums.kernel = {kernel, {kernel0, kernel1, kernel2}, {shell, 0.0, 0.0}};
    sums.nearest2 = {nearest, {nearest0, nearest1, nearest2}, {}};
}

/// Nodes padded to vectors: float64 rows to multiples of 4, float32 rows to multiples of 8.
template <class Real>
constexpr int padded_nodes(int nodes) {
    const int unit = 32 / static_cast<int>(sizeof(Real));
    return (nodes + unit - 1) / unit * unit;
}

template <class Real, int... offsets>
constexpr auto loops_for_all_windows(std::integer_sequence<int, offsets...>) {
    return std::array<MeshLoops<Real>, sizeof...(offsets)>{
        MeshLoops<Real>{&points_to_mesh<Real, smallest_window + offsets, padded_nodes<Real>(smallest_window + offsets)>,
                        &mesh_to_points<Real, smallest_window + offsets, padded_nodes<Real>(smallest_window + offsets)>,
                        &ripple<Real>, &filter_row<Real>, &influence_row<Real>}...};
}

}  // namespace

template <class Real>
const MeshLoops<Real>& loops(int nodes) {
    static constexpr auto all =
        loops_for_all_windows<Real>(std::make_integer_sequence<int, largest_window - smallest_window + 1>{});
    return all[static_cast<std::size_t>(nodes - smallest_window)];
}

template const MeshLoops<float>& loops<float>(int);
template const MeshLoops<double>& loops<double>(int);

}  // namespace LES_INSTRUCTION_SET

}  // namespace les
