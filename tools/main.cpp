// The `understudy` command: one table of subcommands, one way to report an error, one meaning of the exit status.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "common/error.hpp"
#include "tools/commands.hpp"

namespace {

using understudy::tools::Command;

// What scripts may rely on; docs/operating.md lists the same values.
constexpr int kFailure = 1;
constexpr int kUsageError = 2;

using AddCommand = Command (*)(CLI::App&);

std::vector<AddCommand> command_table() {
    return {
#define UNDERSTUDY_COMMAND(name) &understudy::tools::add_##name,
#include "tools/command_table.inc"
#undef UNDERSTUDY_COMMAND
    };
}

// Whatever went wrong, the user reads one line.
void print_error(std::string message) {
    while (!message.empty() && (message.back() == '\n' || message.back() == '.')) {
        message.pop_back();
    }
    std::ranges::replace(message, '\n', ' ');
    std::fflush(stdout);
    fmt::print(stderr, "understudy: {}\n", message);
}

// The option parser knows the command's usage; the reader of a failed line wants to know where it stands.
std::string usage_hint(const CLI::App& root) {
    const auto chosen = root.get_subcommands();
    return chosen.empty() ? "understudy --help" : fmt::format("understudy {} --help", chosen.front()->get_name());
}

int run_chosen(const std::vector<Command>& commands) {
    for (const Command& command : commands) {
        if (command.app->parsed()) {
            return command.run();
        }
    }
    return kUsageError;  // unreachable: the root requires a subcommand
}

int parse_and_run(int argc, char** argv) {
    CLI::App root{
        "Understudy: fault tolerance for virtual machines. A backup replays the primary's guest, instruction for\n"
        "instruction, and takes over within milliseconds when the primary fails.",
        "understudy"};
    root.set_version_flag("--version", std::string("understudy ") + UNDERSTUDY_VERSION);
    root.require_subcommand(1);

    std::vector<Command> commands;
    for (const AddCommand add : command_table()) {
        commands.push_back(add(root));
    }
    // Set last: a subcommand takes its parent's footer at the time it is added.
    root.footer(
        "Start here:\n"
        "  understudy doctor    what this host can do\n"
        "  understudy demo      all of it, on this machine");

    try {
        root.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            return root.exit(error);  // --help and --version
        }
        print_error(fmt::format("{} (see {})", error.what(), usage_hint(root)));
        return kUsageError;
    }
    return run_chosen(commands);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return parse_and_run(argc, argv);
    } catch (const std::bad_alloc&) {
        print_error("out of memory");
    } catch (const std::exception& error) {
        print_error(error.what());
    }
    return kFailure;
}
