// torch's exceptions carry stack traces; hosts get one line.
#pragma once

#include <functional>

namespace les {

/// Calls `evaluation` and throws what it throws as les::Error, one sentence.
void with_one_line_errors(const std::function<void()>& evaluation);

}  // namespace les
