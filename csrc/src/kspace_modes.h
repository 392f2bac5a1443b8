// Which modes belong to the sum over the mesh, and what those of a converged kernel give that do not. Modes are visited
// in panels: second mode fixed, all first modes, a row of third modes each.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "les/system.h"
#include "mesh_error.h"
#include "mesh_loops.h"

namespace les {

/// The modes of one domain: panels begin ... end - 1 and third modes begin ... end - 1.
struct ModeRange {
    std::array<int, 2> panels{}, third{};
};

/// The mode at a place of the transform.
inline int mode_of(int index, int points) { return index <= (points - 1) / 2 ? index : index - points; }

/// A row of third modes, with its first mode.
struct ModeRow {
    WaveRow waves;
    std::size_t first = 0;  // number of its first one among all modes
    int n0 = 0;
};

struct ModeRows {
    /// Inner radius, relative to the cutoff, of the outer shell of a converged kernel, from which the modes beyond the
    /// cutoff are guessed.
    static constexpr double shell_radius = 0.93;

    std::vector<ModeRow> rows;
    std::vector<std::size_t> first_row;  // (mesh 1 + 1): rows of a panel
    std::vector<int> kept_of_panel;      // (mesh 1): third modes that carry anything are below this; 0 if none does
    std::size_t n_modes = 0;
};

/// Rows inside the cutoff and `range`. `members` is the cell that decides which integer modes belong to the sum;
/// `kept_modes` are the third modes of the transform.
ModeRows mode_rows(const MeshKernel& kernel, const Matrix3& members, const std::array<int, 3>& mesh, int kept_modes,
                   const ModeRange& range);

/// Mean energy of unit charges from modes that are left out of a converged kernel.
struct LeftOutModes {
    double energy = 0.0;    // eV/e^2
    Matrix3 virial{};       // eV/e^2, -d(energy)/d(strain) of the modes that were summed one by one
    double crossing = 0.0;  // eV/e^2, virial of all others along each axis, if modes were uncorrelated
};

/// `reciprocal_constant` is N_F in eV angstrom / e^2.
LeftOutModes left_out_modes(const MeshKernel& kernel, const Matrix3& cell, const std::array<int, 3>& mesh,
                            double reciprocal_constant);

}  // namespace les
