#include "tools/command/console_options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "common/error.hpp"
#include "common/tell.hpp"

namespace understudy::tools {

ConsoleOptions::ConsoleOptions(CLI::App& app, Input input) {
    if (input == Input::standard_input) {
        app.add_option("--console", console_,
                       "-: standard input is typed into the guest's console, Ctrl-] at a terminal ends; none [- at a "
                       "terminal]")
            ->check(CLI::IsMember({"-", "none"}));
    }
    app.add_option("--console-socket", socket_,
                   "A Unix socket for `understudy console`, there while the guest lives here")
        ->type_name("PATH");
}

replication::ConsoleConfig ConsoleOptions::config(bool offered, bool quiet) {
    if (!offered) {
        if (console_ == "-" || !socket_.empty()) {
            throw Error("a guest of --program has no console to type into: leave --console and --console-socket out");
        }
        return {};
    }
    const bool interactive = is_interactive();
    replication::ConsoleConfig config;
    config.standard_input = console_ == "-" || (console_.empty() && interactive && !quiet);
    config.escape = config.standard_input && ::isatty(STDIN_FILENO) == 1;
    config.socket = socket_;
    if (config.escape) {
        tell("understudy: this terminal is the guest's console; Ctrl-] ends\n");
        terminal_.emplace();
    }
    return config;
}

}  // namespace understudy::tools
