// A process that is listened to: what it says is read line by line, by a thread that waits for it.
#pragma once

#include <utility>

#include "tools/process/lines.hpp"
#include "tools/process/process.hpp"

namespace understudy::tools {

// Standard output and standard error come in one stream, as on a terminal. What nobody reads waits in a pipe, and the
// process with it once that is full.
class LineProcess {
  public:
    // Throws understudy::Error when the command cannot be executed.
    explicit LineProcess(const ProcessConfig& config) : LineProcess(config, make_pipe()) {}

    [[nodiscard]] Process& process() { return process_; }
    [[nodiscard]] LineReader& lines() { return lines_; }

  private:
    LineProcess(const ProcessConfig& config, Pipe pipe)
        : process_(config, pipe.write.get(), pipe.write.get()), lines_(std::move(pipe.read)) {}

    Process process_;
    LineReader lines_;
};

}  // namespace understudy::tools
