// Internal fix of pair style les: sums the polarization current when a step is complete. During the force evaluation
// LAMMPS has velocities of half a step before, which would make the current of fast vibrations too large.
#pragma once

#include "fix.h"

namespace LAMMPS_NS {

class PairLES;

class FixLESCurrent : public Fix {
public:
    static constexpr const char* style_name = "LES/CURRENT";

    /// Makes the style known to this LAMMPS and adds the fix that serves `pair`.
    static FixLESCurrent* add(LAMMPS* lmp, PairLES* pair);

    FixLESCurrent(LAMMPS* lmp, int narg, char** arg);

    int setmask() override;
    void init() override;
    void setup(int) override;
    void min_setup(int) override;
    void end_of_step() override;
    void min_post_force(int) override;

private:
    PairLES* pair_ = nullptr;
};

}  // namespace LAMMPS_NS
