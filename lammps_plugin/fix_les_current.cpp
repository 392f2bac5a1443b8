#include "fix_les_current.h"

#include <string>

#include "comm.h"
#include "error.h"
#include "modify.h"
#include "pair_les.h"
#include "utils.h"

namespace LAMMPS_NS {

FixLESCurrent* FixLESCurrent::add(LAMMPS* lmp, PairLES* pair) {
    (*lmp->modify->fix_map)[style_name] = [](LAMMPS* lammps, int narg, char** arg) -> Fix* {
        return new FixLESCurrent(lammps, narg, arg);
    };
    int number = 1;
    while (lmp->modify->get_fix_by_id(fmt::format("LES_CURRENT_{}", number)) != nullptr) ++number;
    auto* fix =
        static_cast<FixLESCurrent*>(lmp->modify->add_fix(fmt::format("LES_CURRENT_{} all {}", number, style_name)));
    fix->pair_ = pair;
    return fix;
}

FixLESCurrent::FixLESCurrent(LAMMPS* lmp, int narg, char** arg) : Fix(lmp, narg, arg) {}

int FixLESCurrent::setmask() { return FixConst::END_OF_STEP | FixConst::MIN_POST_FORCE; }

/// Fixes act in the order of their definition: one that came before would read the current of an earlier step.
void FixLESCurrent::init() {
    if (comm->me != 0) return;
    for (const Fix* fix : modify->get_fix_list()) {
        if (fix == this) return;
        if (utils::strmatch(fix->style, "^ave/") || utils::strmatch(fix->style, "^print") ||
            utils::strmatch(fix->style, "^vector"))
            error->warning(FLERR, std::string("pair_style les: fix ") + fix->id +
                                      " was defined before pair_coeff; a current it reads is that of the step before, "
                                      "define it after pair_coeff");
    }
}

void FixLESCurrent::setup(int) { pair_->sum_current(); }
void FixLESCurrent::min_setup(int) { pair_->sum_current(); }
void FixLESCurrent::end_of_step() { pair_->sum_current(); }
void FixLESCurrent::min_post_force(int) { pair_->sum_current(); }

}  // namespace LAMMPS_NS
