// Exceptions of torch and of the library to one sentence each; see one_line_errors.h.
#include "one_line_errors.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

#include "les/error.h"

namespace les {

namespace {

constexpr const char* out_of_memory = "out of memory in the evaluation; use more MPI ranks or fewer atoms";

/// First line of a library's message; the rest is a stack trace that helps no user.
std::string first_line(const std::string& message) { return message.substr(0, message.find('\n')); }

/// The line of a TorchScript message that says what went wrong.
std::string last_line(std::string message) {
    while (!message.empty() && message.back() == '\n') message.pop_back();
    return message.substr(message.rfind('\n') + 1);
}

}  // namespace

bool tells_of_memory(const std::string& message) {
    return message.find("can't allocate memory") != std::string::npos ||
           message.find("out of memory") != std::string::npos;
}

void with_one_line_errors(const std::function<void()>& evaluation) {
    try {
        evaluation();
    } catch (const Error&) {
        throw;
    } catch (const c10::Error& error) {
        if (tells_of_memory(error.what_without_backtrace())) throw Error(out_of_memory);
        throw Error("network evaluation failed: " + first_line(error.what_without_backtrace()));
    } catch (const std::bad_alloc&) {
        throw Error(out_of_memory);
    } catch (const std::exception& error) {
        if (tells_of_memory(error.what())) throw Error(out_of_memory);
        throw Error("network evaluation failed: " + last_line(error.what()));
    }
}

}  // namespace les
