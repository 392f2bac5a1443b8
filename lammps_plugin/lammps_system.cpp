#include "lammps_system.h"

#include "atom.h"
#include "domain.h"
#include "lmptype.h"
#include "neigh_list.h"

namespace les_lammps {

void LammpsSystem::update(const LAMMPS_NS::Atom& atom, const LAMMPS_NS::Domain& domain,
                          const LAMMPS_NS::NeighList& list, const std::vector<int>& type_map, const ModelRange& range,
                          double angstrom_per_length) {
    select_atoms(atom, type_map);
    copy_positions(atom, angstrom_per_length);
    copy_cell(domain, angstrom_per_length);
    select_centres(list, range);
    copy_edges(list);
}

void LammpsSystem::select_atoms(const LAMMPS_NS::Atom& atom, const std::vector<int>& type_map) {
    const int n_lammps = atom.nlocal + atom.nghost;
    atoms_.clear();
    types_.clear();
    index_.assign(static_cast<std::size_t>(n_lammps), -1);
    system_.n_local = 0;
    for (int a = 0; a < n_lammps; ++a) {
        const int type = type_map[static_cast<std::size_t>(atom.type[a])];
        if (type < 0) continue;
        index_[static_cast<std::size_t>(a)] = static_cast<std::int64_t>(atoms_.size());
        atoms_.push_back(a);
        types_.push_back(type);
        if (a < atom.nlocal) ++system_.n_local;
    }
    system_.n_all = static_cast<std::int64_t>(atoms_.size());
    system_.types = types_.data();
}

void LammpsSystem::copy_positions(const LAMMPS_NS::Atom& atom, double angstrom_per_length) {
    positions_.resize(3 * atoms_.size());
    for (std::size_t i = 0; i < atoms_.size(); ++i)
        for (int axis = 0; axis < 3; ++axis)
            positions_[3 * i + static_cast<std::size_t>(axis)] = atom.x[atoms_[i]][axis] * angstrom_per_length;
    system_.positions = positions_.data();
}

void LammpsSystem::unwrap_positions(const LAMMPS_NS::Atom& atom, LAMMPS_NS::Domain& domain,
                                    double angstrom_per_length) {
    unwrapped_positions_.resize(3 * static_cast<std::size_t>(system_.n_local));
    for (std::size_t i = 0; i < static_cast<std::size_t>(system_.n_local); ++i) {
        double* unwrapped = unwrapped_positions_.data() + 3 * i;
        domain.unmap(atom.x[atoms_[i]], atom.image[atoms_[i]], unwrapped);
        for (std::size_t axis = 0; axis < 3; ++axis) unwrapped[axis] *= angstrom_per_length;
    }
    system_.unwrapped_positions = unwrapped_positions_.data();
}

const std::vector<double>& LammpsSystem::velocities(const LAMMPS_NS::Atom& atom, double angstrom_per_ps_per_velocity) {
    velocities_.resize(3 * static_cast<std::size_t>(system_.n_local));
    for (std::size_t i = 0; i < static_cast<std::size_t>(system_.n_local); ++i)
        for (std::size_t axis = 0; axis < 3; ++axis)
            velocities_[3 * i + axis] = atom.v[atoms_[i]][axis] * angstrom_per_ps_per_velocity;
    return velocities_;
}

void LammpsSystem::copy_cell(const LAMMPS_NS::Domain& domain, double angstrom_per_length) {
    system_.periodic = domain.xperiodic != 0;  // the pair style refuses mixed periodicity
    system_.cell = {{{domain.xprd, 0.0, 0.0}, {0.0, domain.yprd, 0.0}, {0.0, 0.0, domain.zprd}}};
    if (domain.triclinic) {
        system_.cell[1][0] = domain.xy;
        system_.cell[2][0] = domain.xz;
        system_.cell[2][1] = domain.yz;
    }
    for (auto& row : system_.cell)
        for (double& component : row) component *= angstrom_per_length;
}

bool LammpsSystem::within(std::int64_t i, std::int64_t j, double distance) const {
    const double* a = positions_.data() + 3 * i;
    const double* b = positions_.data() + 3 * j;
    const double x = b[0] - a[0], y = b[1] - a[1], z = b[2] - a[2];
    return x * x + y * y + z * z < distance * distance;
}

void LammpsSystem::select_centres(const LAMMPS_NS::NeighList& list, const ModelRange& range) {
    const std::size_t n_all = atoms_.size();
    is_centre_.assign(n_all, 0);
    for (std::int64_t i = 0; i < system_.n_local; ++i) is_centre_[static_cast<std::size_t>(i)] = 1;

    list_row_.assign(n_all, -1);
    const int rows = range.edge_layers > 1 ? list.inum + list.gnum : list.inum;
    for (int row = 0; row < rows; ++row) {
        const std::int64_t i = index_[static_cast<std::size_t>(list.ilist[row])];
        if (i >= 0) list_row_[static_cast<std::size_t>(i)] = row;
    }

    // Layer by layer outwards: the features of an atom need those of its neighbours one layer earlier.
    std::vector<std::int64_t> shell;
    if (range.edge_layers > 1)
        for (std::int64_t i = 0; i < system_.n_local; ++i) shell.push_back(i);
    for (int layer = 1; layer < range.edge_layers; ++layer) {
        std::vector<std::int64_t> next;
        for (const std::int64_t i : shell) {
            const int row = list_row_[static_cast<std::size_t>(i)];
            if (row < 0) continue;
            const int* neighbours = list.firstneigh[list.ilist[row]];
            for (int n = 0; n < list.numneigh[list.ilist[row]]; ++n) {
                const std::int64_t j = index_[static_cast<std::size_t>(neighbours[n] & NEIGHMASK)];
                if (j < 0 || is_centre_[static_cast<std::size_t>(j)] || !within(i, j, range.cutoff)) continue;
                is_centre_[static_cast<std::size_t>(j)] = 1;
                next.push_back(j);
            }
        }
        shell.swap(next);
    }
}

void LammpsSystem::copy_edges(const LAMMPS_NS::NeighList& list) {
    std::size_t most = 0;
    for (std::size_t i = 0; i < atoms_.size(); ++i)
        if (is_centre_[i] && list_row_[i] >= 0)
            most += static_cast<std::size_t>(list.numneigh[list.ilist[list_row_[i]]]);
    if (centres_.size() < most) {
        centres_.resize(most);
        neighbours_.resize(most);
    }
    // Over the model's atoms, not over the rows of the list, so that centres ascend whatever the order of the list.
    std::size_t n_edges = 0;
    for (std::size_t i = 0; i < atoms_.size(); ++i) {
        if (!is_centre_[i] || list_row_[i] < 0) continue;
        const int a = list.ilist[list_row_[i]];
        for (int n = 0; n < list.numneigh[a]; ++n) {
            const std::int64_t j = index_[static_cast<std::size_t>(list.firstneigh[a][n] & NEIGHMASK)];
            if (j < 0) continue;
            centres_[n_edges] = static_cast<std::int64_t>(i);
            neighbours_[n_edges] = j;
            ++n_edges;
        }
    }
    edges_.n_edges = static_cast<std::int64_t>(n_edges);
    edges_.centres = centres_.data();
    edges_.neighbours = neighbours_.data();
    edges_.cell_shifts = nullptr;  // ghosts carry them
}

double LammpsSystem::memory_usage() const {
    const auto bytes = [](const auto& buffer) { return static_cast<double>(buffer.capacity() * sizeof(buffer[0])); };
    return bytes(atoms_) + bytes(index_) + bytes(types_) + bytes(positions_) + bytes(is_centre_) + bytes(list_row_) +
           bytes(centres_) + bytes(neighbours_) + bytes(unwrapped_positions_) + bytes(velocities_);
}

}  // namespace les_lammps
