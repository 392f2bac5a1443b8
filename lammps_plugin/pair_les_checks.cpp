// What pair style les refuses before the first step, because it would give a wrong number without a word: one sentence
// each, with the command that mends it.

#include <algorithm>
#include <string>

#include "atom.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "modify.h"
#include "neighbor.h"
#include "pair_les.h"
#include "pair_les_implementation.h"
#include "update.h"
#include "utils.h"

namespace LAMMPS_NS {

void PairLES::check_host() const {
    if (!les_lammps::units_of_style(update->unit_style))
        error->all(FLERR, std::string("pair_style les supports units metal and real, got ") + update->unit_style);
    if (!force->newton_pair)
        error->all(FLERR, "pair_style les needs newton on for pairs; use `newton on` before the box is made");
    if (domain->xperiodic != domain->yperiodic || domain->yperiodic != domain->zperiodic)
        error->all(FLERR,
                   std::string("pair_style les needs a box that is periodic in all directions or in none, got ") +
                       "periodic" + (domain->xperiodic ? " x" : "") + (domain->yperiodic ? " y" : "") +
                       (domain->zperiodic ? " z" : "") + "; use `boundary p p p` or `boundary f f f`");
    if (!modify->get_fix_by_style("^efield").empty())
        error->all(FLERR,
                   "pair_style les cannot be used with fix efield: its force q E leaves out dq/dr, the change of the "
                   "latent charges with the positions; remove the fix and use keyword field of the pair style");
    check_no_kspace();
    check_special_bonds();
    check_exclusions();
}

void PairLES::check_no_kspace() const {
    if (force->kspace && !is_hybrid())
        error->all(FLERR, std::string("pair_style les has its own long-range energy and cannot be used with "
                                      "kspace_style ") +
                              force->kspace_style + "; use `kspace_style none`");
}

void PairLES::check_special_bonds() const {
    // LAMMPS takes a bonded pair out of the list where both factors are zero, but never when a kspace style is there.
    bool removes = false;
    for (int k = 1; k <= 3; ++k) removes = removes || (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0);
    if (!removes || force->kspace || atom->molecular == Atom::ATOMIC) return;

    int mine = atom->molecular == Atom::TEMPLATE, any = 0;  // template molecules keep their bonds elsewhere
    for (int a = 0; a < atom->nlocal && !mine && atom->nspecial; ++a)
        mine = implementation_->type_map[static_cast<std::size_t>(atom->type[a])] >= 0 && atom->nspecial[a][2] > 0;
    MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, world);
    if (any)
        error->all(
            FLERR,
            "pair_style les needs every pair of atoms in its neighbour list and special_bonds takes bonded pairs "
            "out; use `special_bonds lj/coul 1.0 1.0 1.0`");
}

void PairLES::check_exclusions() const {
    const auto& map = implementation_->type_map;
    const auto in_model = [&map](int type) { return map[static_cast<std::size_t>(type)] >= 0; };
    bool removes = neighbor->nex_group > 0 || neighbor->nex_mol > 0;
    for (int n = 0; n < neighbor->nex_type; ++n)
        removes = removes || (in_model(neighbor->ex1_type[n]) && in_model(neighbor->ex2_type[n]));
    if (removes)
        error->all(
            FLERR,
            "pair_style les needs every pair of atoms in its neighbour list and neigh_modify exclude takes pairs "
            "out; use `neigh_modify exclude none`");
    if (neighbor->includegroup)
        error->all(FLERR,
                   "pair_style les needs every pair of atoms in its neighbour list and neigh_modify include keeps one "
                   "group only; use `neigh_modify include all`");
}

}  // namespace LAMMPS_NS
