// `understudy replay`: a recorded log, checked record by record.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>

#include "common/tell.hpp"
#include "hypervisor/replication/loop/lone_guest.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/sandbox_options.hpp"

namespace understudy::tools {
namespace {

struct Options {
    explicit Options(CLI::App& app) : sandbox(app) {}
    SandboxOptions sandbox;
    std::string log;
    std::string image;
    std::string memory;
    std::optional<std::uint64_t> memory_at;
    bool quiet = false;
    bool json = false;
};

replication::ReplayConfig config_of(const Options& options) {
    replication::ReplayConfig config{options.log, options.image};
    config.on_open = [&options](const std::filesystem::path& image) {
        static_cast<void>(options.sandbox.enter(
            walls_for({.read = {image}, .record = options.memory, .console_socket = {}, .keep = {}, .network = {}})));
    };
    if (!options.memory.empty()) {
        config.memory = options.memory;
    }
    if (options.memory_at) {
        config.memory_at = StopNumber{*options.memory_at};
    }
    return config;
}

int report(const replication::ReplayResult& result, const Options& options) {
    const bool equal = result.divergence.empty();
    if (options.json) {
        fmt::print(
            "{{\"event\":\"replayed\",\"records\":{},\"equal\":{},\"complete\":{},\"memory_digest\":\"{:016x}\"}}\n",
            result.records, equal, equal && result.log_end.empty(), result.memory_digest);
    } else if (!options.quiet) {
        fmt::print("{}", result.console);
    }
    if (!result.fault_report.empty()) {
        tell("{}", result.fault_report);
    }
    if (!equal) {
        throw Error::format("{}: {}", options.log, result.divergence);
    }
    if (!result.log_end.empty()) {
        throw Error::format("{}: {}; the {} records before are equal", options.log, result.log_end, result.records);
    }
    if (!options.json) {
        tell("{}: {} records, all equal; final memory digest {:016x}\n", options.log, result.records,
             result.memory_digest);
    }
    return 0;
}

}  // namespace

Command add_replay(CLI::App& root) {
    CLI::App* app = root.add_subcommand("replay", "Replay a recorded log and check it record by record");
    auto options = std::make_shared<Options>(*app);
    app->add_option("log", options->log, "The file that `understudy run --record` wrote")->required();
    app->add_option("--image", options->image, "The guest's disk [where the recording host had it]");
    auto* memory = app->add_option("--memory", options->memory,
                                   "Write the guest's memory to this file: where the log disagrees, or at its end");
    app->add_option("--memory-at", options->memory_at, "Write it at the stop of this number instead")->needs(memory);
    app->add_flag("--quiet", options->quiet, "Leave out what the guest prints");
    app->add_flag("--json", options->json, "Print one JSON object instead of what the guest prints");
    app->footer(
        "The exit status is 0 only if the whole log was replayed and every record agreed. Where one does not, the "
        "first is\n"
        "named, and what differs.\n\nExample:\n  understudy replay spin.log");
    return {app, [options] { return report(replication::replay_log(config_of(*options)), *options); }};
}

}  // namespace understudy::tools
