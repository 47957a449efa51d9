// A command, run to its end.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tools/process/process.hpp"

namespace understudy::tools {

struct Finished {
    int exit_status = -1;  // 128 + signal if a signal ended it
    std::string output;    // standard output
    std::string errors;    // standard error
};

// Of either kind; a command that writes more is killed, and that is an error.
constexpr std::size_t kMaxCapturedBytes = std::size_t{64} << 20U;

// Returns when the command has ended, with all that it had written by then. Throws understudy::Error when it cannot be
// executed, or has not ended after `timeout` and was killed.
[[nodiscard]] Finished run_to_end(const ProcessConfig& config,
                                  std::chrono::milliseconds timeout = std::chrono::minutes(2));
[[nodiscard]] inline Finished run_to_end(std::vector<std::string> command) {
    return run_to_end(ProcessConfig{.command = std::move(command)});
}

}  // namespace understudy::tools
