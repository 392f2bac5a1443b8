// The one exception type that leaves the engine. Its text is a single line made for the user of a host program.
#pragma once

#include <stdexcept>
#include <string>

namespace les {

class Error : public std::runtime_error {
public:
    explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace les
