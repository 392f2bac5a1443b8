// The long-range stage: charges in, energy, potentials, explicit forces and virial at fixed charges out. The direct
// sums are two implementations of one interface; a mesh solver is a third.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "les/communicator.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

/// How a periodic long-range sum is evaluated; what is summed is in LongRangeParameters.
struct LongRangeOptions {
    std::string solver =
        "auto";              ///< "mesh", "direct", or "auto": whichever is expected to be faster; mesh if one is given
    double accuracy = 1e-4;  ///< rms force error over the rms force of the same charges placed at random
    std::string window = "kaiser_bessel";    ///< "kaiser_bessel" or "b_spline"
    std::optional<int> interpolation_nodes;  ///< mesh points per axis that one charge touches; none: chosen
    std::optional<double> mesh_spacing;      ///< angstrom, largest spacing along a cell vector; none: chosen
    std::optional<std::array<int, 3>> mesh;  ///< mesh points along the cell vectors; none: chosen
    /// "float32" or "float64", of mesh and transforms; empty: that of the network (float64 without one, or if the
    /// accuracy needs it). Sums of energies are always float64.
    std::string dtype;
    bool freeze_k_set = false;  ///< models with a k_cutoff keep the wave vectors of the first cell

    bool operator==(const LongRangeOptions& other) const {
        return solver == other.solver && accuracy == other.accuracy && window == other.window &&
               interpolation_nodes == other.interpolation_nodes && mesh_spacing == other.mesh_spacing &&
               mesh == other.mesh && dtype == other.dtype && freeze_k_set == other.freeze_k_set;
    }
    bool operator!=(const LongRangeOptions& other) const { return !(*this == other); }
};

/// Shares of this domain; see Results.
struct LongRangeResult {
    double energy = 0.0;                ///< eV, sum over owned atoms of charge * potential / 2
    std::vector<double> potentials;     ///< (n_local, n_channels), V, dE_lr/dq
    std::vector<double> forces;         ///< (n_local, 3), eV/angstrom, -dE_lr/dr at fixed charges
    Matrix3 virial{};                   ///< eV, -dE_lr/d(strain) at fixed charges
    std::array<double, 3> net_force{};  ///< eV/angstrom, sum over all atoms before it was taken out (mesh only)
};

/// What a mesh solver has chosen, and where the time of its last evaluation went.
struct MeshReport {
    std::array<int, 3> mesh{};
    int interpolation_nodes = 0;
    std::string window, dtype;
    double shape = 0.0;               ///< of the Kaiser-Bessel window
    std::array<double, 3> spacing{};  ///< angstrom, along the cell vectors
    double k_cutoff = 0.0;            ///< 1/angstrom; of the model, or where the converged kernel is cut
    double asked_accuracy = 0.0, estimated_error = 0.0;
    double seconds_sorting = 0.0, seconds_points_to_mesh = 0.0, seconds_transform_and_filter = 0.0,
           seconds_mesh_to_points = 0.0;
};

class LongRangeSolver {
public:
    virtual ~LongRangeSolver() = default;
    /// Collective over the domains of `communicator`. `charges` is (n_local, n_channels), e.
    virtual const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                           Communicator& communicator) = 0;
    /// What was summed, how, and how accurately, for the host to print.
    virtual std::string description() const = 0;
    /// Sentences the user should see once; each is returned by one call only.
    virtual std::vector<std::string> take_warnings() { return {}; }
    /// Null unless this is a mesh solver that has evaluated something.
    virtual const MeshReport* mesh_report() const { return nullptr; }
};

/// The periodic solver that `options` ask for. The choice of "auto" is made in the first evaluation, from cell, number
/// of atoms and accuracy alone, and stays. Throws les::Error for an option that cannot be used.
std::unique_ptr<LongRangeSolver> make_periodic_solver(const LongRangeParameters& parameters, int n_channels,
                                                      const LongRangeOptions& options);

/// Particle mesh in O(N log N) (mesh_solver.cpp).
std::unique_ptr<LongRangeSolver> make_mesh_solver(const LongRangeParameters& parameters, int n_channels,
                                                  const LongRangeOptions& options);

/// The choice a mesh solver makes for `n_atoms` in a cell. Throws les::Error as that would.
MeshReport plan_mesh(const LongRangeParameters& parameters, const LongRangeOptions& options, const Matrix3& cell,
                     std::int64_t n_atoms);

/// Reciprocal-space sum over all |k| <= k_cutoff (ewald.cpp), any cell; the converged kernel is cut where
/// exp(-smearing^2 k^2 / 2) falls below 1e-9.
std::unique_ptr<LongRangeSolver> make_ewald_solver(const LongRangeParameters& parameters, int n_channels,
                                                   bool freeze_k_set = false);

/// Sum over all pairs of an isolated system (isolated_sum.cpp).
std::unique_ptr<LongRangeSolver> make_isolated_solver(const LongRangeParameters& parameters, int n_channels);

/// N_F / (sigma (2 pi)^{3/2}): energy of a unit charge with its own smeared image, eV/e^2.
double self_energy_of_unit_charge(const LongRangeParameters& parameters);

}  // namespace les
