// The one exception type of the project: what failed and what the user can do about it, in one sentence each.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace understudy {

// Thrown for failures that the current operation cannot mend: bad input, a missing device, an I/O error. what() is one
// line without a trailing period and says what to do where there is something to do. Programmer errors abort instead;
// expected outcomes (end of log, "no" from the arbiter) are values.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;

    template <typename... Args>
    static Error format(fmt::format_string<Args...> text, Args&&... args) {
        return Error(fmt::format(text, std::forward<Args>(args)...));
    }
    // "<context>: <strerror(errno_value)>"
    static Error from_errno(const std::string& context, int errno_value) {
        return Error(context + ": " + std::generic_category().message(errno_value));
    }
};

}  // namespace understudy
