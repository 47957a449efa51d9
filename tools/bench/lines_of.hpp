// A command that is run to its end while the stage's other processes are watched.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tools/demo/stage.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {

// The lines of its standard output. Throws understudy::Error when that takes longer than `timeout`, or when its exit
// status is not 0.
[[nodiscard]] std::vector<std::string> lines_of(Stage& stage, const std::vector<std::string>& command,
                                                std::chrono::milliseconds timeout);

// The number that `pattern`'s first group matches in the first line that has it: "calls_ns ([0-9.]+)". Throws
// understudy::Error where no line has.
[[nodiscard]] double figure_of(const std::vector<std::string>& lines, const std::string& pattern);

}  // namespace understudy::tools
