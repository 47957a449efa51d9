// `understudy torture`: random programs in Linux guests, recorded and replayed until one diverges.
#include "tools/torture/torture.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "common/error.hpp"
#include "common/tell.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/stop_signals.hpp"
#include "tools/process/interrupted.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

struct Options {
    TortureOptions torture;
    std::string memory = "96M";
    std::uint64_t duration_s = 0;
    bool json = false;
};

void report(const TortureRound& round, bool json) {
    if (json) {
        fmt::print(
            "{{\"event\":\"round\",\"seed\":{},\"stops\":{},\"interrupts\":{},\"counted\":{},\"log_bytes\":{},\"ms\":{}"
            ",\"equal\":{}}}\n",
            round.seed, round.stops, round.interrupts, round.counts, round.log_bytes, round.took.count(),
            round.failure.empty());
    } else {
        fmt::print("seed {}: {} stops, {} interrupts, {} million counts, {:.1f} s: {}\n", round.seed, round.stops,
                   round.interrupts, round.counts / 1'000'000, static_cast<double>(round.took.count()) / 1000,
                   round.failure.empty() ? "equal" : "FAILED");
    }
    std::fflush(stdout);
    if (!round.failure.empty()) {
        tell("seed {}: {}\n", round.seed, round.failure);
    }
}

int run(Options options) {
    options.torture.memory = parse_size(options.memory);
    if (options.duration_s != 0) {
        options.torture.duration = std::chrono::seconds(options.duration_s);
    }
    if (options.torture.image.empty() != options.torture.command.empty()) {
        throw Error("--image and a command behind '--' go together: without both the torture's own program runs");
    }
    const StopOnSignals signals;
    const TortureResult result =
        torture(options.torture, signals.token(), [&](const TortureRound& round) { report(round, options.json); });
    if (signals.token().stop_requested()) {
        throw Interrupted();
    }
    if (result.failed != 0) {
        throw Error::format("{} of {} rounds failed; --seed N --rounds 1 repeats one", result.failed, result.rounds);
    }
    if (!options.json) {
        fmt::print("{} rounds, {} stops, {} interrupts, every replay equal\n", result.rounds, result.stops,
                   result.interrupts);
    }
    return 0;
}

}  // namespace

Command add_torture(CLI::App& root) {
    CLI::App* app = root.add_subcommand(
        "torture", "Random programs in Linux guests, recorded and replayed, memory compared at every stop");
    auto options = std::make_shared<Options>();
    TortureOptions& torture = options->torture;
    app->add_option("--seed", torture.seed, "Of the first round; each has the next")->capture_default_str();
    CLI::Option* rounds = app->add_option("--rounds", torture.rounds, "How many")
                              ->check(CLI::Range(1, 1'000'000'000))
                              ->capture_default_str();
    app->add_option("--duration", options->duration_s, "Seconds for which rounds begin, instead of a number of them")
        ->check(CLI::Range(1, 1'000'000'000))
        ->excludes(rounds);
    app->add_option("--operations", torture.operations, "Of the guest's program, in a round")->capture_default_str();
    app->add_option("--only", torture.only, "Only these operations, as NAME,NAME");
    app->add_flag("--hostile", torture.hostile,
                  "With what no program should do: privileged and undefined instructions");
    app->add_option("--replays", torture.replays, "Of each round")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    app->add_option("--memory", options->memory, "Of the guest")->capture_default_str();
    app->add_option("--keep", torture.keep, "A folder for the logs of rounds that failed");
    app->add_option("--image", torture.image,
                    "Run the command behind '--' in this image, instead of the torture's program");
    app->add_flag("--json", options->json, "Print JSON objects, one a round");
    app->footer(
        "A round's seed decides what its guest does and how it is disturbed; when things happen is the host's. A\n"
        "divergence names the first stop that differs and what differs there.\n\n"
        "Example:\n  understudy torture --duration 600 --keep /tmp/diverged");
    Command command{app, [options] { return run(*options); }};
    command.program_arguments = &torture.command;
    return command;
}

}  // namespace understudy::tools
