// `understudy run`: a guest alone, unprotected; --record keeps its log.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "common/tell.hpp"
#include "hypervisor/replication/loop/lone_guest.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/console_options.hpp"
#include "tools/command/guest_status.hpp"
#include "tools/command/replica_options.hpp"
#include "tools/command/sandbox_options.hpp"
#include "tools/command/transport_options.hpp"
#include "tools/command/vm_options.hpp"
#include "tools/output/milliseconds.hpp"
#include "tools/process/exit_status.hpp"
#include "tools/vm/machine_config.hpp"

namespace understudy::tools {
namespace {

struct Options {
    explicit Options(CLI::App& app)
        : vm(app),
          transport(app, "certificates/host-alpha"),
          sandbox(app),
          console(app, ConsoleOptions::Input::standard_input) {}
    VmOptions vm;
    TransportOptions transport;
    SandboxOptions sandbox;
    ConsoleOptions console;
    std::string record;
    std::string checkpoint_to;
    unsigned checkpoint_interval_ms = 25;
    std::uint64_t quantum = replication::RecorderConfig{}.quantum.value;
    std::optional<std::uint64_t> digest_interval_ms;
    bool json = false;
};

std::string command_line_of(const VmDescription& vm) {
    std::string words = (vm.is_linux() ? vm.image : vm.program).string();
    for (const std::string& argument : vm.arguments) {
        words += " " + argument;
    }
    return words;
}

// {"idle":12,...}
std::string exits_json(const machine::ExitFigures& exits) {
    std::string members;
    for (const auto& [kind, count] : exits.figures) {
        members += fmt::format("{}\"{}\":{}", members.empty() ? "" : ",", kind, count);
    }
    return "{" + members + "}";
}

// {"checkpoints":{...}}, without the braces around it; empty where there were none.
std::string checkpoints_json(const std::optional<replication::CheckpointSink::Figures>& figures) {
    if (!figures) {
        return {};
    }
    const double checkpoints = static_cast<double>(std::max<std::uint64_t>(figures->checkpoints, 1));
    return fmt::format(
        ",\"checkpoints\":{{\"count\":{},\"pages\":{},\"bytes\":{},\"stood_ms\":{:.3f},\"longest_ms\":{:.3f}}}",
        figures->checkpoints, figures->pages, figures->bytes, in_milliseconds(figures->stood) / checkpoints,
        in_milliseconds(figures->longest));
}

// The exit status of `understudy run` is the command's own.
int report(const replication::LoneGuestResult& result, const Options& options) {
    using replication::Ending;
    if (options.json) {
        fmt::print(
            "{{\"event\":\"ended\",\"exit_status\":{},\"fault\":{},\"stops\":{},\"counted\":{},\"memory_digest\":\"{:"
            "016x}\","
            "\"log_bytes\":{},\"exits\":{}{}}}\n",
            result.loop.ending == Ending::exit ? result.loop.last.stop.argument : 0,
            result.loop.ending == Ending::fault, result.stops, result.counts, result.memory_digest, result.log_bytes,
            exits_json(result.exits), checkpoints_json(result.checkpoints));
    }
    if (result.loop.ending == Ending::fault) {
        tell("{}", result.fault_report);
        return kFailure;
    }
    if (!options.record.empty() && !options.json) {
        tell("recorded {} stops in {} KiB: {}\n", result.stops, result.log_bytes >> 10, options.record);
    }
    if (result.loop.ending != Ending::exit) {
        return kInterrupted;
    }
    return status_of_guest(result.loop.last.stop.argument);
}

}  // namespace

Command add_run(CLI::App& root) {
    CLI::App* app = root.add_subcommand("run", "Run a guest alone, unprotected; --record keeps its log");
    auto options = std::make_shared<Options>(*app);
    CLI::Option* record =
        app->add_option("--record", options->record, "Write the log that `understudy replay` reads to this file");
    app->add_option("--quantum", options->quantum, "Counted instructions after which a busy guest stops")
        ->check(CLI::Range(std::uint64_t{1000}, std::uint64_t{1} << 40))
        ->capture_default_str();
    app->add_option("--digest-interval", options->digest_interval_ms,
                    "Milliseconds of guest time between digests of all guest memory in the log; 0: none "
                    "[4 MiB by 4 MiB, for a hundredth of the guest's time]");
    app->add_option("--checkpoint-to", options->checkpoint_to,
                    "Send checkpoints to `understudy checkpoints` there, and hold back what the guest says until they "
                    "have arrived: unix:PATH, or HOST:PORT of this machine. For comparison with record and replay")
        ->excludes(record);
    app->add_option("--checkpoint-interval", options->checkpoint_interval_ms, "Milliseconds from one to the next")
        ->check(CLI::Range(1, 60'000))
        ->capture_default_str();
    app->add_flag("--json", options->json, "End with one JSON object");
    app->footer("Example:\n  understudy run --image redis.img -- redis-server --version");
    Command command{app, [options] {
                        replication::LoneGuestConfig config;
                        const VmDescription vm = options->vm.description();
                        config.guest = guest_config(vm);
                        config.link = link_config(vm);
                        config.link.tls =
                            options->transport.credentials(tls::Role::host, needs_credentials(config.link.endpoint));
                        // A guest alone is tried at once and often: doctor says what the sandbox lacks.
                        static_cast<void>(options->sandbox.enter(walls_for({.read = files_of(config.guest),
                                                                            .record = options->record,
                                                                            .console_socket = options->console.socket(),
                                                                            .keep = {},
                                                                            .network = vm.network.endpoint})));
                        config.on_guest_thread = options->sandbox.for_guest_thread();
                        config.console = options->console.config(vm.is_linux(), options->json);
                        config.recorder.quantum = {options->quantum};
                        set_digest_interval(config.recorder, options->digest_interval_ms);
                        if (!options->record.empty()) {
                            config.log = options->record;
                        }
                        config.checkpoint_keeper = options->checkpoint_to;
                        config.checkpoint_interval = std::chrono::milliseconds(options->checkpoint_interval_ms);
                        config.command_line = command_line_of(vm);
                        return report(replication::run_lone_guest(config), *options);
                    }};
    command.program_arguments = &options->vm.arguments();
    return command;
}

}  // namespace understudy::tools
