// How a command that serves, or works for long, is told to end.
#pragma once

#include <stop_token>
#include <thread>

#include "common/file_descriptor.hpp"

namespace understudy::tools {

// The ending_signals() as a descriptor that becomes readable; from now on none ends the process by itself. Call it
// before there is a second thread, which would take them. Throws understudy::Error.
[[nodiscard]] FileDescriptor stop_signals();

// The same for work that looks at a token now and then. One signal asks for its end. Where it does not come, another
// one, a second later or more, ends the process as if nobody had waited for it.
class StopOnSignals {
  public:
    StopOnSignals();
    [[nodiscard]] std::stop_token token() const { return asked_.get_token(); }

  private:
    void watch(const std::stop_token& done);

    FileDescriptor signals_;
    std::stop_source asked_;
    std::jthread thread_;
};

}  // namespace understudy::tools
