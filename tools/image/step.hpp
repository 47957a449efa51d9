// One command of a build, which its user can interrupt.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/process/interrupted.hpp"
#include "tools/process/process.hpp"

namespace understudy::tools {

// What is done with a line that a command wrote, to either output.
using LineHandler = std::function<void(std::string_view)>;

// Throws understudy::Error, which names Debian's `package`, when there is no such program in PATH.
void require_program(const std::string& program, const std::string& package);

struct StepResult {
    int exit_status = -1;                 // 128 + signal if a signal ended it
    std::vector<std::string> last_lines;  // of both outputs, 50 at the most
};

// Returns when the command has ended. `stop` is a descriptor that is readable when the user wants an end (negative:
// none); then the command is killed and Interrupted is thrown. A process that the command leaves behind is waited for
// until it ends or has closed its outputs, or for ten seconds. Throws understudy::Error when the command cannot be
// executed.
[[nodiscard]] StepResult run_step(const ProcessConfig& config, int stop, const LineHandler& on_line);

// The lines that say what went wrong ("E: ...", or else the first ones), in one.
[[nodiscard]] std::string complaint_of(const StepResult& result);

}  // namespace understudy::tools
