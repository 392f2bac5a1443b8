// The one symbol the loader asks for. It is apart from the style, which could move into LAMMPS as it is.

#include <exception>

#include "collective.h"
#include "error.h"
#include "exceptions.h"
#include "les/version.h"
#include "pair_les.h"

extern "C" __attribute__((visibility("default"))) void* les_lammps_create_pair(void* lammps) {
    auto* lmp = static_cast<LAMMPS_NS::LAMMPS*>(lammps);
    les_lammps::run_on_all_ranks(lmp, [] { les::check_torch_version(); });
    return static_cast<LAMMPS_NS::Pair*>(new LAMMPS_NS::PairLES(lmp));
}
