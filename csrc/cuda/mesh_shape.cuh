// What one evaluation knows besides its atoms: mesh and tiles, the cell, self terms. Plain structures that host and
// device share; those of the cell lie in device memory, so that a captured graph stays valid when the cell changes.
#pragma once

#include "block.cuh"

namespace les::cuda {

/// Mesh points along each axis of a tile: the unit of sorting and of a block's work.
template <class Real, int nodes>
LES_CONSTEXPR int tile_edge() {
    return sizeof(Real) == 8 && nodes > 10 ? 4 : 8;  // larger ones would not fit into the shared memory of a block
}

/// Points whose weights a block holds at the same time.
template <class Real, int nodes>
LES_CONSTEXPR int batch_of() {
    return static_cast<int>(sizeof(Real)) * nodes > 80 ? 32 : 64;
}

/// A mesh; the brick of a domain, with the margin that windows reach; or the modes that a domain filters, where
/// `points` are those of the mesh.
struct MeshShape {
    std::int32_t points[3];
    std::int32_t tiles[3];
    std::int32_t edge;      // of a tile
    std::int32_t channels;  // one mesh each
    std::int32_t half;      // complex numbers along the third axis, points[2] / 2 + 1

    // of a part of a mesh; else all of it
    std::int32_t whole[3], origin[3];    // points of the mesh, and where a brick begins in it
    std::int32_t panels, first_mode[2];  // number of second modes; first second and third mode
    std::int32_t third_modes;            // of all domains; `half` are those of this one

    LES_CONSTEXPR std::int64_t row() const {
        return 2 * static_cast<std::int64_t>(half);
    }  // reals, transforms in place
    LES_CONSTEXPR std::int64_t plane() const { return row() * points[1]; }
    LES_CONSTEXPR std::int64_t channel() const { return plane() * points[0]; }
    LES_CONSTEXPR std::int32_t n_tiles() const { return tiles[0] * tiles[1] * tiles[2]; }
    LES_CONSTEXPR std::int32_t n_modes() const { return points[0] * panels * half; }
};

/// Symmetric 3 x 3 matrices as 00 11 22 12 02 01.
struct Symmetric {
    double v[6];
};

struct CellTerms {
    double inverse[3][3];     // fractional = position @ inverse
    double reciprocal[3][3];  // rows, 1/angstrom
    Symmetric metric;         // products of reciprocal vectors
    Symmetric member_metric;  // ... of the cell that decides which modes belong to the sum
    double smearing_sq, prefactor;
    double limit;           // largest k^2 of the sum
    double outer_limit;     // modes up to here enter the self terms of a converged kernel one by one
    double shell_sq;        // k^2 beyond is the outer shell of a converged kernel
    double beyond;          // self correction from the integral over modes that are not summed one by one, eV/e^2
    double crossing;        // virial per unit of sum q^2 from beyond the cutoff, if modes were uncorrelated
    double shell_needs;     // number of modes from which the shell is taken seriously
    double removed_self;    // eV/e^2
    double sign;            // cos(2 pi u) = sign cos(2 pi t)
    std::int32_t reach[3];  // modes -reach ... reach hold all that count
    std::int32_t converged;
};

/// Self terms of unit charges: their values and -d/d(strain), see csrc/src/kspace_filter.h.
struct SelfTerms {
    double correction, ripple[3];
    double correction_virial[6], ripple_virial[3][6];
    double shell_reference;
    std::int32_t use_shell;
};

/// Tables along the axes, of window and mesh alone: 1 / W^2, sum of the squared aliases, mean nearest alias.
struct AxisTables {
    const double *deconvolution[3], *alias[3], *nearest[3];
};

/// Numbers of a whole evaluation on the device.
struct Summary {
    double energy;        // eV
    double virial[3][3];  // eV
    double net_force[3];  // eV/angstrom, before it was taken out
    double status;        // 0: everything was finite
};
static_assert(sizeof(Summary) == 14 * sizeof(double), "hosts read it as 14 numbers");

}  // namespace les::cuda
