// What `run`, `primary` and `backup` have in common: where the guest's console is offered.
#pragma once

#include <optional>
#include <string>

#include "hypervisor/replication/loop/console.hpp"
#include "tools/command/terminal.hpp"

namespace CLI {
class App;
}

namespace understudy::tools {

// Keep it alive while the guest runs: the App refers to its members, and its end gives the terminal back.
class ConsoleOptions {
  public:
    enum class Input { standard_input, none };
    // Input::none: standard input is never the console's.
    ConsoleOptions(CLI::App& app, Input input);
    ConsoleOptions(const ConsoleOptions&) = delete;
    ConsoleOptions& operator=(const ConsoleOptions&) = delete;

    // Once. `offered`: the guest has a console to type into. `quiet`: not unless the user says so. Throws
    // understudy::Error when the user asks for what is not offered.
    [[nodiscard]] replication::ConsoleConfig config(bool offered, bool quiet);

    // Where its socket will be; empty: nowhere.
    [[nodiscard]] const std::string& socket() const { return socket_; }

  private:
    std::string console_;  // "-", "none" or empty: as is_interactive() says
    std::string socket_;
    std::optional<RawTerminal> terminal_;
};

}  // namespace understudy::tools
