// torch's exceptions carry stack traces; hosts get one line.
#pragma once

#include <functional>
#include <string>

namespace les {

/// Whether a message of torch is about memory, of the processor or of a device.
bool tells_of_memory(const std::string& message);

/// Calls `evaluation` and throws what it throws as les::Error, one sentence.
void with_one_line_errors(const std::function<void()>& evaluation);

}  // namespace les
