// The long-range stage: charges in, energy, potentials, explicit forces and virial at fixed charges out. The direct
// sums are two implementations of one interface; a mesh solver is a third.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "les/communicator.h"
#include "les/model_file.h"
#include "les/system.h"

namespace les {

/// Shares of this domain; see Results.
struct LongRangeResult {
    double energy = 0.0;             ///< eV, sum over owned atoms of charge * potential / 2
    std::vector<double> potentials;  ///< (n_local, n_channels), V, dE_lr/dq
    std::vector<double> forces;      ///< (n_local, 3), eV/angstrom, -dE_lr/dr at fixed charges
    Matrix3 virial{};                ///< eV, -dE_lr/d(strain) at fixed charges
};

class LongRangeSolver {
public:
    virtual ~LongRangeSolver() = default;
    /// Collective over the domains of `communicator`. `charges` is (n_local, n_channels), e.
    virtual const LongRangeResult& compute(const System& system, const std::vector<double>& charges,
                                           Communicator& communicator) = 0;
    /// What was summed, for the host to print.
    virtual std::string description() const = 0;
};

/// Reciprocal-space sum over all |k| <= k_cutoff (ewald.cpp), any cell; the converged kernel is cut where
/// exp(-smearing^2 k^2 / 2) falls below 1e-9.
std::unique_ptr<LongRangeSolver> make_ewald_solver(const LongRangeParameters& parameters, int n_channels);

/// Sum over all pairs of an isolated system (isolated_sum.cpp).
std::unique_ptr<LongRangeSolver> make_isolated_solver(const LongRangeParameters& parameters, int n_channels);

/// N_F / (sigma (2 pi)^{3/2}): energy of a unit charge with its own smeared image, eV/e^2.
double self_energy_of_unit_charge(const LongRangeParameters& parameters);

}  // namespace les
