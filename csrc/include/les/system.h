// What goes into an evaluation and what comes out. Plain views and vectors: no host type, no tensor, so that every
// host (LAMMPS, OpenMM, ASE) and every device can fill and read them. Shapes, units and meanings are fixed here.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace les {

using Matrix3 = std::array<std::array<double, 3>, 3>;

/// Atoms of one domain; the arrays belong to the host and stay valid during Engine::compute.
struct System {
    std::int64_t n_local = 0;           ///< atoms owned by this domain; they come first in every array
    std::int64_t n_all = 0;             ///< owned atoms and ghosts (copies of atoms owned elsewhere or periodic images)
    const double* positions = nullptr;  ///< (n_all, 3), angstrom, need not be wrapped into the cell
    const std::int32_t* types = nullptr;          ///< (n_all,), index into Metadata::symbols, from 0
    Matrix3 cell{};                               ///< rows are lattice vectors, angstrom; ignored unless periodic
    bool periodic = false;                        ///< periodic in all three directions, or isolated
    std::array<double, 3> field{};                ///< external electric field, V/angstrom
    const double* unwrapped_positions = nullptr;  ///< (n_local, 3), angstrom, followed through periodic boundaries;
                                                  ///< null: `positions`. Read for the polarization alone
    const double* velocities = nullptr;           ///< (n_local, 3), angstrom/ps; read for the current alone
    /// Fixed charges outside the model, as of a classical force field, which act on its charges and are acted on by
    /// them, not by each other. Hosts of one domain only.
    std::int64_t n_external = 0;
    const double* external_positions = nullptr;  ///< (n_external, 3), angstrom
    const double* external_charges = nullptr;    ///< (n_external,), e
    bool atom_virials = false;                   ///< Results::atom_virials is wanted
    bool polarization_current = false;           ///< Results::polarization_current is wanted; needs `velocities`
    bool born_charges = false;                   ///< Results::born_charges is wanted
};

/// Full neighbour list of a host, each pair twice. Pairs beyond the cutoff are allowed and dropped.
/// edge_vector = positions[neighbour] - positions[centre] + cell_shift @ cell.
struct EdgeList {
    std::int64_t n_edges = 0;
    const std::int64_t* centres = nullptr;     ///< (n_edges,), not decreasing
    const std::int64_t* neighbours = nullptr;  ///< (n_edges,)
    const std::int32_t* cell_shifts =
        nullptr;  ///< (n_edges, 3) multiples of the cell rows, or null where ghosts carry them
};

/// Shares of this domain; sums over all domains give the whole system. One domain: the totals.
struct Results {
    double short_range_energy = 0.0;     ///< eV, network energies and element offsets of the owned atoms
    double long_range_energy = 0.0;      ///< eV, sum over owned atoms and channels of charge * potential / 2
    double field_energy = 0.0;           ///< eV, -field . polarization where that is defined, else 0
    double embedding_energy = 0.0;       ///< eV, latent charges in the potential of the external ones; in no other term
    Matrix3 virial{};                    ///< eV, -dE/d(strain), all of `energy()`, symmetric
    std::vector<double> node_energies;   ///< (n_local,), eV, short-range energy with element offsets
    std::vector<double> forces;          ///< (n_all, 3), eV/angstrom; entries of ghosts belong to their owners
    std::vector<double> latent_charges;  ///< (n_local, n_channels), e, after the neutrality option
    std::vector<double> potentials;      ///< (n_local, n_channels), V, dE_lr/dq of those charges
    std::vector<double> external_potentials;  ///< (n_local,), V, of the external charges; empty without any
    std::vector<double> external_forces;      ///< (n_external, 3), eV/angstrom, on the external charges
    /// (n_all, 3, 3), eV, each symmetric, empty unless asked for; entries of ghosts belong to their owners. Only the
    /// sum is physical; over all domains it is that of `virial`. Each edge gives half of its virial to either end, the
    /// long-range virial of the whole system is shared among owned atoms as the sum over channels of charge^2.
    std::vector<double> atom_virials;
    /// e angstrom, of the physical charges: exact with charge transfers and for isolated systems. Else 0: a periodic
    /// cell with charges that come and go has none.
    std::array<double, 3> polarization{};
    std::array<double, 3> polarization_current{};  ///< e angstrom/ps, sum over atoms of Z* . v; 0 unless asked for
    std::vector<double> born_charges;    ///< (n_local, 3, 3), e, Z*_{i,a,b} = dP_a/dr_ib; empty unless asked for
    std::vector<double> field_energies;  ///< (n_local,), eV, shares of `field_energy`; empty without a field
    int n_channels = 0;

    double energy() const { return short_range_energy + long_range_energy + field_energy + embedding_energy; }
    /// Energy of owned atom `i`: e_i + sum over channels of q_i phi_i / 2 + its field energy + sum over channels of q_i
    /// times its external potential. These sum to `energy()`.
    double atom_energy(std::int64_t i) const;
    /// Current sum_i Z*_i . v_i (3,) of this domain, e angstrom/ps, from `born_charges` and velocities (n_local, 3) in
    /// angstrom/ps: for hosts that know the velocities after the forces only.
    std::array<double, 3> current_of(const double* velocities) const;
    /// The number a host writes as the charge of owned atom `i`: sum over channels times Metadata::atomic_charge_scale.
    double atomic_charge(std::int64_t i, double atomic_charge_scale) const;
};

}  // namespace les
