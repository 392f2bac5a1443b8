// The k-space side of the mesh: the influence function G = (2 N_F / V) A(k) / W(k)^2 with A = exp(-sigma^2 k^2/2) / k^2
// of the modes that belong to the sum (kspace_modes.h), and energy and virial on the way. Tables are made anew only
// when the cell changes.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "kspace_modes.h"
#include "lattice.h"
#include "les/communicator.h"
#include "mesh_error.h"
#include "mesh_loops.h"

namespace les {

template <class Real>
class KspaceFilter {
public:
    /// Tables for a cell. `members` is the cell that decides which integer modes belong to the sum: the same cell, or
    /// the first one where the set is frozen. `reciprocal_constant` is N_F in eV angstrom / e^2.
    /// Collective; each domain of the communicator has its own range of modes, or one domain all of them.
    void set_cell(const MeshKernel& kernel, const WindowShape& window, const Matrix3& cell, const Matrix3& members,
                  const std::array<int, 3>& mesh, double reciprocal_constant, const ModeRange& range,
                  Communicator& communicator);

    int kept() const { return kept_; }
    /// Third modes of a panel that carry anything are below this; 0 if none does.
    int kept(int panel) const { return rows_.kept_of_panel[static_cast<std::size_t>(panel)]; }

    /// Filters a panel of one channel in place and leaves its energy and virial in the panel's share; `panel_data`
    /// points to first mode 0 and the first third mode of the range, rows are `plane_stride` reals apart; modes of the
    /// range below `end` that are not in the sum become zero. Panels may be filtered at the same time.
    void filter_panel(int panel, Real* panel_data, std::int64_t plane_stride, int end);

    /// Sums of the shares since `clear_sums`, in a fixed order: eV. The virial of a converged kernel includes what
    /// crosses the cutoff when the cell changes, with the structure factors of the outer shell; `sum_of_squares` is sum
    /// q^2.
    void clear_sums();
    double energy() const;
    Matrix3 virial(double sum_of_squares, bool first_domain) const;

    /// What the mean energy of a unit charge on the mesh lacks, eV/e^2: E += this sum q^2, phi += 2 this q.
    double self_correction() const { return self_correction_; }
    /// -d(self_correction)/d(strain).
    const Matrix3& self_virial() const { return self_virial_; }
    /// The energy of a unit charge with its own copy on the mesh varies with its place u between mesh points; the
    /// leading part is the sum over axes of self_ripple cos(2 pi u), eV/e^2 (Ballenegger, Cerda & Holm, Comput. Phys.
    /// Commun. 182, 1919 (2011) take such self-forces out).
    double self_ripple(int axis) const { return self_ripple_[static_cast<std::size_t>(axis)]; }
    /// -d(self_ripple)/d(strain).
    const Matrix3& ripple_virial(int axis) const { return ripple_virial_[static_cast<std::size_t>(axis)]; }

private:
    MeshKernel kernel_;
    std::array<int, 3> mesh_{};
    Matrix3 reciprocal_{};
    ModeRange range_;
    int kept_ = 0;
    double n_modes_ = 0.0;  // of all domains
    ModeRows rows_;
    std::vector<Real> influence_;  // of all rows in turn
    std::vector<double> first_table_, second_table_, deconvolution_[3], alias_[3], nearest_[3];
    const MeshLoops<Real>* loops_ = nullptr;
    double self_correction_ = 0.0;
    Matrix3 self_virial_{};
    std::array<double, 3> self_ripple_{};
    std::array<Matrix3, 3> ripple_virial_{};
    double crossing_ = 0.0;         // virial per unit of sum q^2 from beyond the cutoff, if modes were uncorrelated
    double shell_reference_ = 0.0;  // energy of the outer shell per unit of sum q^2, if they were
    struct Share {
        double energy = 0.0;
        Matrix3 virial{}, shell{};
    };
    std::vector<Share> shares_;  // one per panel

    void tabulate(const WindowShape& window);
    void make_influence(double reciprocal_constant, double volume);
    void sum_self_terms(Communicator& communicator);
    void add(Share& share, const ModeRow& row, int n1, const RowSums& sums, double factor) const;
};

}  // namespace les
