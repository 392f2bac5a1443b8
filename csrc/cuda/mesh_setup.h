// What the CPU decides for the mesh on the device, with the code of the CPU solver (csrc/src/mesh_plan.h, window.h,
// mesh_error.h), so that both choose the same mesh and window: scheme, mesh, window pieces, tables along the axes and
// the terms of a cell. Plain C++, no CUDA.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../src/mesh_plan.h"
#include "les/long_range.h"
#include "mesh_shape.cuh"
#include "window.cuh"

namespace les::cuda {

class MeshSetup {
public:
    /// Throws les::Error for an option out of range.
    MeshSetup(const LongRangeParameters& parameters, int n_channels, const LongRangeOptions& options);

    /// Takes a cell, angstrom; true if mesh or window are others than before. The atoms are those of all domains among
    /// which the mesh is divided. Throws les::Error as the CPU solver would.
    bool set_cell(const Matrix3& cell, std::int64_t n_atoms, int n_domains = 1);

    const MeshShape& shape() const { return shape_; }
    /// A brick of `length` points from `origin`, as a mesh whose ends no window crosses.
    MeshShape brick(const std::array<int, 3>& origin, const std::array<int, 3>& length) const;
    /// The second modes (panels) and third modes that a domain filters, first and last + 1.
    MeshShape modes(const std::array<int, 2>& panels, const std::array<int, 2>& thirds) const;
    /// Third modes 0 ... kept() - 1 hold the sum.
    int kept() const { return kept_; }
    const CellTerms& cell_terms() const { return terms_; }
    int nodes() const { return scheme_.window.nodes; }
    int n_channels() const { return n_channels_; }
    bool single() const { return options_.dtype == "float32"; }
    const MeshReport& report() const { return report_; }
    std::string description() const;

    /// Window pieces for the kernels; `nodes` is nodes().
    template <class Real, int nodes>
    WindowPieces<Real, nodes> pieces() const;

    /// 1 / W^2, squared aliases and nearest alias of all modes of axis 0, then 1, then 2: table_size() numbers.
    std::vector<double> tables() const;
    std::int64_t table_size() const { return 3 * (std::int64_t{report_.mesh[0]} + report_.mesh[1] + report_.mesh[2]); }
    /// Pointers into a copy of `tables()` at `data`, on host or device.
    AxisTables axis_tables(const double* data) const;

private:
    LongRangeParameters parameters_;
    LongRangeOptions options_;
    int n_channels_;
    bool have_scheme_ = false;
    MeshScheme scheme_;
    std::optional<Window> window_;
    Matrix3 first_cell_{};
    double n_atoms_ = 0.0;
    MeshReport report_;
    MeshShape shape_{};
    CellTerms terms_{};
    int kept_ = 0;

    void set_shape();
    void set_terms(const Matrix3& cell);
};

/// Calls f.template operator()<nodes>() for the number of nodes at hand.
template <class Function>
void for_nodes(int nodes, const Function& f) {
    switch (nodes) {
        case 4:
            return f.template operator()<4>();
        case 5:
            return f.template operator()<5>();
        case 6:
            return f.template operator()<6>();
        case 7:
            return f.template operator()<7>();
        case 8:
            return f.template operator()<8>();
        case 9:
            return f.template operator()<9>();
        case 10:
            return f.template operator()<10>();
        case 11:
            return f.template operator()<11>();
        case 12:
            return f.template operator()<12>();
        case 13:
            return f.template operator()<13>();
        case 14:
            return f.template operator()<14>();
        case 15:
            return f.template operator()<15>();
        default:
            return f.template operator()<16>();
    }
}

template <class Real, int nodes>
WindowPieces<Real, nodes> MeshSetup::pieces() const {
    WindowPieces<Real, nodes> pieces{};
    const Window& window = *window_;
    constexpr int degree = WindowPieces<Real, nodes>::degree;
    for (int power = 0; power <= window.degree(); ++power) {
        for (int node = 0; node < nodes; ++node)
            pieces.coefficients[degree - power][node] = static_cast<Real>(window.coefficient(power, node));
    }
    return pieces;
}

}  // namespace les::cuda
