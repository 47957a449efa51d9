// `understudy checkpoints`: keeps what `understudy run --checkpoint-to` sends, so that checkpointing can be measured
// beside record and replay.
#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "hypervisor/replication/loop/checkpoint_stream.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/sandbox_options.hpp"
#include "tools/output/event_writer.hpp"
#include "tools/process/exit_status.hpp"

namespace understudy::tools {
namespace {

using replication::CheckpointKeeper;
constexpr std::chrono::seconds kReportInterval(1);

struct Options {
    explicit Options(CLI::App& app) : sandbox(app) {}
    SandboxOptions sandbox;
    std::string listen;
    bool json = false;
};

// Of one host: whoever comes after it finds nobody who listens.
FileDescriptor accept_one(network::ListeningSocket listener) {
    for (;;) {
        pollfd wait{.fd = listener.fd(), .events = POLLIN, .revents = 0};
        ::poll(&wait, 1, -1);
        if (FileDescriptor connection = listener.accept()) {
            return connection;
        }
    }
}

Event report(const CheckpointKeeper::Figures& figures) {
    return {"checkpoints",
            {{"checkpoints", figures.checkpoints}, {"pages", figures.pages}, {"bytes_received", figures.bytes}}};
}

int run(const Options& options) {
    const network::Endpoint endpoint = network::parse_endpoint(options.listen);
    if (!endpoint.is_local()) {
        throw Error::format(
            "checkpoints come in plain text, and from this machine alone: listen at unix:PATH or at "
            "127.0.0.1:PORT, not at {}",
            options.listen);
    }
    EventWriter writer(stdout, options.json ? EventWriter::Form::json : EventWriter::Form::text);
    constexpr mode_t kOwner = 0600;
    network::ListeningSocket listener(endpoint, kOwner);
    sandbox::Walls walls;
    add_memory_figures(walls);
    if (endpoint.is_unix()) {
        walls.paths.push_back({folder_of(endpoint.unix_path()), sandbox::Use::sockets});
    }
    options.sandbox.enter_and_tell(std::move(walls));
    writer.write({"listening", {{"endpoint", listener.text()}}});
    CheckpointKeeper keeper(accept_one(std::move(listener)));
    auto next_report = std::chrono::steady_clock::now();
    while (keeper.take_next()) {
        if (const auto now = std::chrono::steady_clock::now(); now >= next_report) {
            writer.write(report(keeper.figures()));
            next_report = now + kReportInterval;
        }
    }
    writer.write(report(keeper.figures()));
    return kSuccess;
}

}  // namespace

Command add_checkpoints(CLI::App& root) {
    CLI::App* app = root.add_subcommand(
        "checkpoints", "Keep the checkpoints of `run --checkpoint-to`: for comparison, nobody takes over from them");
    auto options = std::make_shared<Options>(*app);
    app->add_option("--listen", options->listen, "Where: unix:PATH, or HOST:PORT of this machine")->required();
    app->add_flag("--json", options->json, "Print events as JSON lines");
    app->footer(
        "Example:\n"
        "  understudy checkpoints --listen unix:/tmp/keeper &\n"
        "  understudy run --image redis.img --checkpoint-to unix:/tmp/keeper -- redis-server");
    return {.app = app, .run = [options] { return run(*options); }};
}

}  // namespace understudy::tools
