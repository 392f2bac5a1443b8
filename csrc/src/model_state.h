// Total charge and spin multiplicity as inputs of a model: what a host gave, what the file says, or the neutral
// singlet. They belong to a whole system, so an engine has one state.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "les/engine.h"
#include "les/model_file.h"

namespace les {

/// Total charge (e) and spin multiplicity (2S + 1) that the network of a model with such inputs is evaluated for;
/// a sentence in `warnings` for what nobody gave. Throws les::Error for an option that the model has no use for.
std::array<double, 2> model_state(const Metadata& metadata, const EngineOptions& options,
                                  std::vector<std::string>& warnings);

/// Total charge per channel that charges are shifted to, e; empty for models that leave them as predicted.
std::vector<double> neutral_charges(const Metadata& metadata, const EngineOptions& options);

}  // namespace les
