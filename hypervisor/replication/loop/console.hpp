// The guest's console as people reach it: on this process's standard input, and on a Unix socket to which terminals
// connect (`understudy console`). The socket carries the console's bytes in both directions and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "hypervisor/replication/loop/input_queue.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::replication {

struct ConsoleConfig {
    // What comes in on standard input is typed. Its end is typed as Ctrl-D, as at a terminal.
    bool standard_input = false;
    // Standard input is a terminal: Ctrl-] is not typed, but ends.
    bool escape = false;
    std::string socket;  // path; empty: none
};

// What a terminal's user types to leave a guest's console.
constexpr char kConsoleEscape = 0x1d;  // Ctrl-]

// Everything is called on the io_context's thread.
class Console {
  public:
    struct Handlers {
        std::function<void()> typed;    // there is something new in the queue
        std::function<void()> escaped;  // Ctrl-] on standard input
        std::function<void(const std::string& line)> warn;
    };
    Console(boost::asio::io_context& io, InputQueue& queue, ConsoleConfig config, Handlers handlers);
    ~Console();
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    // The guest lives here from now on: reads standard input, listens on the socket. What of it is not possible is a
    // warning.
    void open();
    // To all who are connected. Who does not read is disconnected once much has gathered.
    void print(std::string_view text);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::replication
