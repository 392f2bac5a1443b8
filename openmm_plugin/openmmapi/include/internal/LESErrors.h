// Where the engine's errors become OpenMM's: programs that use OpenMM expect OpenMMException with the same one line.
#pragma once

#include <utility>

#include "les/error.h"
#include "openmm/OpenMMException.h"

namespace LESPlugin {

/// Returns action(); a les::Error leaves it as an OpenMMException.
template <class Action>
decltype(auto) withOpenMMErrors(Action&& action) {
    try {
        return std::forward<Action>(action)();
    } catch (const les::Error& error) {
        throw OpenMM::OpenMMException(error.what());
    }
}

}  // namespace LESPlugin
