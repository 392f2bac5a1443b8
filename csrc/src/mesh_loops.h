// The inner loops of the mesh: charges to mesh points, mesh points to charges, rows of the k-space filter. They are
// compiled once for each instruction set (mesh_loops.cpp) and chosen when the program runs; everything around them is
// ordinary code. Window and influence function arrive as tables.
#pragma once

#include <cstdint>
#include <vector>

#include "window.h"

namespace les {

/// Window coefficients padded with zero pieces to a whole number of vectors.
template <class Real>
struct WindowTable {
    int nodes = 0, padded_nodes = 0, degree = 0;
    std::vector<Real> coefficients;  // (degree + 1, padded_nodes), highest power first, in x = 2t - 1
};

template <class Real>
WindowTable<Real> window_table(const Window& window);

/// Points sorted along the mesh: first node and place within it along each axis (see window.h), charges of all
/// channels.
template <class Real>
struct SortedPoints {
    const std::int32_t* first = nullptr;  // (n, 3)
    const Real* t = nullptr;              // (n, 3)
    const Real* charges = nullptr;        // (n, n_channels)
};

/// One mesh per channel with strides in reals; rows may be written padded_nodes - 1 points beyond their end.
template <class Real>
struct MeshView {
    Real* data = nullptr;
    std::int64_t channel_stride = 0, plane_stride = 0, row_stride = 0;
    int n_channels = 0;
};

/// One row of wave vectors n = lowest ... lowest + count - 1 along the third axis; k^2 = (a n + 2 b) n + c.
struct WaveRow {
    int lowest = 0, count = 0;
    double a = 0.0, b = 0.0, c = 0.0;
    double smearing_sq = 0.0;
    double shell_sq = 0.0;  // modes beyond are the outer shell
};

/// Sums of some e over one row, in float64: e and e (2/k^2 + sigma^2) n^m, m = 0, 1, 2, of which energy and virial are
/// made.
struct RowSums {
    double energy = 0.0;
    double slope[3] = {0.0, 0.0, 0.0};
    double shell[3] = {0.0, 0.0, 0.0};  // e / k^2 n^m of the outer shell
};

/// Tables of one row, entry i for n = lowest + i: exp(-sigma^2 k^2/2) = factor * first * second; G = influence_factor *
/// A * deconvolution; the window's aliases give 1 - S0 S1 S2 = -(alias01 + (1 + alias01) alias2).
struct InfluenceRow {
    double factor = 1.0, influence_factor = 1.0, alias01 = 0.0;
    const double *first = nullptr, *second = nullptr, *deconvolution = nullptr, *alias2 = nullptr, *nearest2 = nullptr;
};

/// Sums of A (1 - S0 S1 S2), of A, and of A times the nearest alias along the third axis.
struct InfluenceSums {
    RowSums alias, kernel, nearest2;
};

template <class Real>
struct MeshLoops {
    /// Adds points begin ... end to the meshes of all channels.
    void (*points_to_mesh)(const WindowTable<Real>&, const SortedPoints<Real>&, const MeshView<Real>&,
                           std::int64_t begin, std::int64_t end);
    /// Reads potential and its derivatives with respect to the mesh coordinates: (n, n_channels, 4) at begin ... end.
    void (*mesh_to_points)(const WindowTable<Real>&, const SortedPoints<Real>&, const MeshView<Real>&,
                           std::int64_t begin, std::int64_t end, Real* out);
    /// cos(2 pi t) and its derivative for `count` numbers t in [0, 1), to 4e-6: a factor of small corrections.
    void (*ripple)(const Real* t, std::int64_t count, Real* value, Real* slope);
    /// Multiplies a row of complex numbers by `influence`; sums of e = G |rho|^2.
    void (*filter_row)(Real* row, const Real* influence, const WaveRow&, RowSums& sums);
    /// Writes G of a row.
    void (*influence_row)(Real* influence, const WaveRow&, const InfluenceRow&, InfluenceSums& sums);
};

/// The loops for a window of `nodes` on this processor: AVX-512, AVX2 or the baseline the library was built for. The
/// environment variable LES_SIMD=baseline|avx2|avx512 asks for a lesser one.
template <class Real>
const MeshLoops<Real>& mesh_loops(int nodes);

/// Name of that instruction set.
const char* mesh_instruction_set();

}  // namespace les
