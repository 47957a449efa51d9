// How a command notices that its user wants an end.
#pragma once

#include <exception>

namespace understudy::tools {

// The user has interrupted the command (by one of the ending_signals()), which ends with kInterrupted: no error, so that nobody who
// makes do without what failed takes it for one.
class Interrupted : public std::exception {
  public:
    [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};

}  // namespace understudy::tools
