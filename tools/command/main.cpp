// The `understudy` command: one table of subcommands, one way to report an error, one meaning of the exit status.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <iterator>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/tell.hpp"
#include "tools/command/commands.hpp"
#include "tools/process/exit_status.hpp"
#include "tools/process/interrupted.hpp"
#include "tools/vm/vm_description.hpp"

namespace {

using understudy::tools::Command;
using understudy::tools::kFailure;
using understudy::tools::kSuccess;
using understudy::tools::kUsageError;

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
    understudy::tell("understudy: {}\n", message);
}

// The option parser knows the command's usage; the reader of a failed line wants to know where it stands.
std::string usage_hint(const CLI::App& root) {
    const auto chosen = root.get_subcommands();
    return chosen.empty() ? "understudy --help" : fmt::format("understudy {} --help", chosen.front()->get_name());
}

// The words behind the first "--" belong to the guest's program; the option parser sees only those before it.
struct Words {
    std::vector<std::string> reversed_options;  // as CLI::App::parse takes them
    std::vector<std::string> program_arguments;
};

Words split_words(int argc, char** argv) {
    Words words;
    const std::vector<std::string> all(argv + std::min(argc, 1), argv + argc);
    const auto mark = std::ranges::find(all, "--");
    words.reversed_options.assign(std::make_reverse_iterator(mark), all.rend());
    if (mark != all.end()) {
        words.program_arguments.assign(mark + 1, all.end());
    }
    return words;
}

int run_chosen(const std::vector<Command>& commands, std::vector<std::string> program_arguments) {
    for (const Command& command : commands) {
        if (!command.app->parsed()) {
            continue;
        }
        if (command.program_arguments != nullptr) {
            *command.program_arguments = std::move(program_arguments);
        } else if (!program_arguments.empty()) {
            throw CLI::ExtrasError({"-- " + program_arguments.front()});
        }
        return command.run();
    }
    return kUsageError;  // unreachable: the root requires a subcommand
}

std::string version() {
    const auto release = understudy::tools::linux_release(understudy::tools::default_linux_files());
    return fmt::format("understudy {} ({})", UNDERSTUDY_VERSION,
                       release ? "guests' kernel: Linux " + *release : "no kernel for Linux guests");
}

int parse_and_run(int argc, char** argv) {
    CLI::App root{
        "Understudy: fault tolerance for virtual machines. A backup replays the primary's guest, instruction for\n"
        "instruction, and takes over within milliseconds when the primary fails.",
        "understudy"};
    root.set_version_flag("--version", version);
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
        Words words = split_words(argc, argv);
        root.parse(std::move(words.reversed_options));
        return run_chosen(commands, std::move(words.program_arguments));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            return root.exit(error);  // --help and --version
        }
        const auto unknown = root.get_subcommands().empty() ? root.remaining() : std::vector<std::string>{};
        print_error(unknown.empty() ? fmt::format("{} (see {})", error.what(), usage_hint(root))
                                    : fmt::format("there is no '{}' (see {})", unknown.front(), usage_hint(root)));
        return kUsageError;
    }
}

// What a full disk or a closed pipe did not take was not said.
int close_output(int status) {
    std::cout.flush();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
        print_error("cannot write to standard output");
        return status == kSuccess ? kFailure : status;
    }
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGCHLD, SIG_DFL);  // ignored by whoever started us, the ends of our processes would be hidden from us
    try {
        spdlog::set_default_logger(spdlog::stderr_color_mt("understudy"));  // standard output is for results
        return close_output(parse_and_run(argc, argv));
    } catch (const understudy::tools::Interrupted&) {
        print_error("interrupted");
        return understudy::tools::kInterrupted;
    } catch (const std::bad_alloc&) {
        print_error("out of memory");
    } catch (const std::exception& error) {
        print_error(error.what());
    }
    return kFailure;
}
