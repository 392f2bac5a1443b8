// Choosing window, spacing and mesh for an accuracy asked for. Depends on kernel, cell, number of atoms and options
// only, never on the number of domains.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "les/long_range.h"
#include "mesh_error.h"
#include "window.h"

namespace les {

/// What stays the same while the cell changes.
struct MeshScheme {
    MeshKernel kernel;
    WindowShape window;
    double spacing = 0.0;  // angstrom, largest along a cell vector
};

/// Throws les::Error for an option out of range.
void check_options(const LongRangeParameters& parameters, const LongRangeOptions& options);

/// The scheme expected to be fastest among those whose estimated error is half of the accuracy; where mesh, spacing or
/// nodes are given, what is left is chosen.
MeshScheme choose_scheme(const LongRangeParameters& parameters, const LongRangeOptions& options, const Matrix3& cell,
                         std::int64_t n_atoms);

/// Whether choices for one cell and number of atoms should be made anew for another: no dynamics changes them as much.
bool is_other_system(const Matrix3& cell, double n_atoms, const Matrix3& other_cell, double other_n_atoms);

/// Mesh points along the cell vectors. Throws les::Error for a given mesh that the window or the model's k_cutoff
/// does not fit.
std::array<int, 3> choose_mesh(const MeshScheme& scheme, const LongRangeOptions& options, const Matrix3& cell);

/// Third modes 0 ... kept_modes - 1 hold every mode of the sum; a multiple of 4 where the mesh allows, for few plans.
/// `members` is the cell that decides which integer modes belong to the sum.
int kept_modes(const MeshKernel& kernel, const Matrix3& members, const std::array<int, 3>& mesh);

/// What the user should know of settings whose estimated error is too near the accuracy asked for; else empty.
std::string warning_of_error(const MeshReport& report);

/// A length of at least `least` with factors 2, 3, 5, 7 only, that transforms fast; even for the axis of the real
/// transform.
int fast_length(int least, bool real_axis);

/// Seconds that one evaluation is expected to take on one core, for choices between schemes and solvers.
double mesh_cost(const MeshScheme& scheme, const std::array<int, 3>& mesh, std::int64_t n_atoms, bool single);
double direct_cost(const LongRangeParameters& parameters, const Matrix3& cell, std::int64_t n_atoms);

}  // namespace les
