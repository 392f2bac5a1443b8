// LAMMPS atoms, box and neighbour list as the engine's input, and rows of its output back onto LAMMPS arrays. Units,
// type mapping and atoms left out of the model (NULL types of a hybrid style) are dealt with here and nowhere else.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "les/system.h"

namespace LAMMPS_NS {
class Atom;
class Domain;
class NeighList;
}  // namespace LAMMPS_NS

namespace les_lammps {

/// What a model asks of the neighbour list; lengths in angstrom.
struct ModelRange {
    double cutoff = 0.0;
    int edge_layers = 1;  ///< 1: centres of edges are owned atoms; 2: their neighbours too, and so on
};

class LammpsSystem {
public:
    /// Takes over the present state. `type_map[t]` is the model's type of LAMMPS type t, or -1 to leave its atoms out.
    void update(const LAMMPS_NS::Atom& atom, const LAMMPS_NS::Domain& domain, const LAMMPS_NS::NeighList& list,
                const std::vector<int>& type_map, const ModelRange& range, double angstrom_per_length);

    /// Whether the next evaluation is to share out the virial among atoms.
    void want_atom_virials(bool wanted) { system_.atom_virials = wanted; }
    /// Whether the next evaluation is to compute Born effective charges.
    void want_born_charges(bool wanted) { system_.born_charges = wanted; }
    /// V/angstrom; call after `update`. Polarizations are of positions followed through periodic boundaries.
    void set_field(const std::array<double, 3>& field) { system_.field = field; }
    void unwrap_positions(const LAMMPS_NS::Atom& atom, LAMMPS_NS::Domain& domain, double angstrom_per_length);
    /// Velocities (n_local, 3) in angstrom/ps of the atoms of the last `update`.
    const std::vector<double>& velocities(const LAMMPS_NS::Atom& atom, double angstrom_per_ps_per_velocity);

    const les::System& system() const { return system_; }
    const les::EdgeList& edges() const { return edges_; }
    /// LAMMPS index of every atom of the model, owned atoms first.
    const std::vector<int>& atoms() const { return atoms_; }

    /// Bytes held by the buffers, which are kept between steps and never shrink.
    double memory_usage() const;

private:
    void select_atoms(const LAMMPS_NS::Atom& atom, const std::vector<int>& type_map);
    void copy_positions(const LAMMPS_NS::Atom& atom, double angstrom_per_length);
    void copy_cell(const LAMMPS_NS::Domain& domain, double angstrom_per_length);
    void select_centres(const LAMMPS_NS::NeighList& list, const ModelRange& range);
    void copy_edges(const LAMMPS_NS::NeighList& list);
    bool within(std::int64_t i, std::int64_t j, double distance) const;

    les::System system_;
    les::EdgeList edges_;
    std::vector<int> atoms_;                          // (n_all,)
    std::vector<std::int64_t> index_;                 // (all LAMMPS atoms,) position in atoms_, -1 for atoms left out
    std::vector<std::int32_t> types_;                 // (n_all,)
    std::vector<double> positions_;                   // (n_all, 3) angstrom
    std::vector<double> unwrapped_positions_;         // (n_local, 3) angstrom
    std::vector<double> velocities_;                  // (n_local, 3) angstrom/ps
    std::vector<char> is_centre_;                     // (n_all,)
    std::vector<int> list_row_;                       // (n_all,) row of the neighbour list, -1 if it has none
    std::vector<std::int64_t> centres_, neighbours_;  // at least n_edges
};

}  // namespace les_lammps
