// A-priori force error of the mesh for uncorrelated charges, from the Fourier transform of the window alone: no fitted
// constant. Relative to the rms force of the same charges placed at random, so that the charges themselves drop out.
// The functional is that of Hockney and Eastwood for analytic derivatives (Ballenegger, Cerda & Holm, J. Chem. Theory
// Comput. 8, 936 (2012)) with plain deconvolution G = A/W^2 and A = 0 beyond the cutoff; then its numerator is
// sum A^2 (sum_b W_b^2 sum_b |D_b|^2 - k^2) with W_b, D_b the transforms of window and slope at k + b relative to W(k).
// A charge also feels its own copy on the mesh; what the solver does not take out of that counts too, and matters where
// charges are few.
#pragma once

#include <array>
#include <vector>

#include "lattice.h"
#include "window.h"

namespace les {

/// Kernel exp(-sigma^2 k^2 / 2) / k^2 summed up to `k_cutoff`. If it is `converged`, what lies beyond counts as an
/// error.
struct MeshKernel {
    double smearing = 1.0;
    double k_cutoff = 0.0;
    bool converged = true;
    double density = 0.1;       // charges per cubic angstrom
    double box_length = 100.0;  // angstrom, cube root of the volume: the longest waves, whose potentials are largest
};

/// Relative force error of leaving out everything beyond `k_cutoff`.
double truncation_error(double smearing, double k_cutoff);

/// The smallest k_cutoff with a truncation error of at most `force_error` and sigma^2 k^2 exp(-sigma^2 k^2/2), the
/// weight of one mode in the virial over its weight in the energy of long waves, of at most `virial_error`, 1/angstrom.
/// Virials of crystals need the latter: single modes are strong there.
double converged_k_cutoff(double smearing, double force_error, double virial_error);

/// Alias error in a large cubic cell as a function of the window and the mesh spacing; the kernel's part is tabulated
/// once, for searches over windows.
class AliasError {
public:
    explicit AliasError(const MeshKernel& kernel);
    /// Modes beyond pi / spacing along an axis have no place on the mesh and count as left out.
    double operator()(const WindowShape& window, double spacing) const;

private:
    struct Slice {  // of the sphere, at k_z
        double kz, force_weight, potential_weight, kernel_weight;
    };
    std::vector<Slice> slices_;
    double norm_ = 0.0, density_ = 0.1;
};

/// Alias and truncation error of one cell and mesh. Large cells are represented by a smaller one with equal spacings.
double mesh_error(const MeshKernel& kernel, const WindowShape& window, const Matrix3& cell,
                  const std::array<int, 3>& mesh);

}  // namespace les
