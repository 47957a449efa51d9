// A process of ours in an event loop: its output is read line by line as it comes.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tools/process/lines.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::tools {

// A Process (tools/process/process.hpp) that ends with the object. One thread, the one that runs the io_context and
// that made the child; handlers run there, never from inside a member function, and do not end the object.
class Child {
  public:
    struct Config {
        std::vector<std::string> command;  // the executable's path, or its name to be found in PATH, and its arguments
        std::filesystem::path log;         // standard output is appended here
        std::filesystem::path errors;      // and standard error here
    };
    // One line of standard output, as LineCutter cuts them.
    using LineHandler = LineCutter::Handler;

    // Throws understudy::Error when the command cannot be executed.
    Child(boost::asio::io_context& io, Config config, LineHandler on_line);
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    // False once the process has ended and all of its output was handled.
    [[nodiscard]] bool running() const;
    // The exit status of an ended process, 128 + signal if a signal ended it; -1 while it runs, or where the kernel
    // did not say (SIGCHLD is ignored).
    [[nodiscard]] int exit_status() const;
    [[nodiscard]] pid_t pid() const;

    // To a process that has ended: nothing happens.
    void signal(int number);

    // What an ended process had to say for itself: the last line on standard error, or else the last message or console
    // text that an event on standard output brought.
    [[nodiscard]] std::string last_words() const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace understudy::tools
