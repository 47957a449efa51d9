// One child process of ours: started, signalled, waited for, and never left behind. Whatever else the project does with
// processes (Child, run_to_end) stands on this.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/file_descriptor.hpp"

namespace understudy::tools {

struct ProcessConfig {
    std::vector<std::string> command;        // the executable's path, or its name to be found in PATH; its arguments
    std::filesystem::path directory{};       // where it runs, a relative path of the command is below; empty: here
    std::vector<std::string> environment{};  // "NAME=VALUE", added to this process's own or in place of it
};

// Runs while the object lives: the destructor kills (SIGKILL) and reaps it. Should the thread that made the object end
// first, by whatever signal, the kernel kills the process (PR_SET_PDEATHSIG). Not for several threads.
class Process {
  public:
    // `output` and `errors` become standard output and standard error; they may be closed once this has returned.
    // Standard input is empty, other descriptors are not inherited. Throws understudy::Error when the command cannot be
    // executed.
    Process(const ProcessConfig& config, int output, int errors);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    [[nodiscard]] pid_t pid() const { return pid_; }
    // A pidfd: readable once the process has ended.
    [[nodiscard]] int descriptor() const { return pidfd_.get(); }

    // The exit status once it has ended, 128 + signal if a signal ended it; nothing while it runs.
    [[nodiscard]] std::optional<int> exit_status();
    // The same, when it has ended or `timeout` has passed.
    std::optional<int> wait_for(std::chrono::milliseconds timeout);
    // The same, however long it takes.
    int wait();

    // To a process that has ended: nothing happens.
    void signal(int number);
    // SIGKILL; returns when the process is gone.
    void kill();

  private:
    pid_t pid_;
    FileDescriptor pidfd_;
    std::optional<int> status_;
};

struct Pipe {
    FileDescriptor read;
    FileDescriptor write;
};
// Neither end is inherited. Throws understudy::Error.
[[nodiscard]] Pipe make_pipe();

// A file for a process's output, which is appended to it. Throws understudy::Error.
[[nodiscard]] FileDescriptor open_log(const std::filesystem::path& file);

}  // namespace understudy::tools
