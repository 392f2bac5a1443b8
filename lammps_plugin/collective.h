// Steps that all ranks take together while a model is read and an engine is made: a failure on any rank stops every
// rank with the same text, and the model file is read once. It is separate because it is about MPI, not about pairs.
#pragma once

#include <functional>
#include <string>

#include "lammps.h"

namespace les_lammps {

/// One line without the backtrace that exceptions of libtorch carry.
std::string first_line(const std::string& text);

/// Runs `step` on every rank; if it throws anywhere, all ranks stop with the text of the lowest such rank.
void run_on_all_ranks(LAMMPS_NS::LAMMPS* lammps, const std::function<void()>& step);

/// The bytes of `path`, read by rank 0.
std::string read_on_first_rank(LAMMPS_NS::LAMMPS* lammps, const std::string& path);

}  // namespace les_lammps
