// `understudy arbiter serve`: one server of the arbiter.
#include "tools/command/arbiter_serve.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "arbiter/server/server.hpp"
#include "common/address.hpp"
#include "common/descriptor_limit.hpp"
#include "common/ending_signals.hpp"
#include "common/error.hpp"
#include "tools/command/sandbox_options.hpp"
#include "tools/command/transport_options.hpp"
#include "tools/output/event_writer.hpp"
#include "tools/output/patient_log.hpp"
#include "tools/output/patient_output.hpp"

namespace understudy::tools {
namespace {

using std::chrono::milliseconds;

struct Options {
    bool json = false;
    std::uint64_t id = 0;
    std::string data;
    std::string listen;
    std::vector<std::string> peers;
    bool bootstrap = false;
    bool join = false;
    std::optional<TransportOptions> transport;
    std::optional<SandboxOptions> sandbox;
    std::string metrics;
    std::string cluster = "understudy";
    unsigned heartbeat_ms = 0;
    unsigned election_ms = 0;
    std::uint64_t snapshot_after = 0;
};

std::map<std::uint64_t, Address> parse_peers(const std::vector<std::string>& texts) {
    std::map<std::uint64_t, Address> peers;
    for (const auto& text : texts) {
        const auto equals = text.find('=');
        std::uint64_t id = 0;
        try {
            id = std::stoull(text.substr(0, equals));
        } catch (const std::exception&) {
            id = 0;
        }
        if (equals == std::string::npos || id == 0) {
            throw Error::format("'{}' is not a peer; write ID=HOST:PORT, for example 1=127.0.0.1:7001", text);
        }
        if (!peers.emplace(id, parse_address(text.substr(equals + 1))).second) {
            throw Error::format("peer {} is given twice", id);
        }
    }
    return peers;
}

std::uint64_t random_number() {
    std::random_device device;
    return (std::uint64_t{device()} << 32U) | device();
}

arbiter::ServerOptions server_options(const Options& options) {
    arbiter::ServerOptions server;
    const auto peers = parse_peers(options.peers);
    if (options.bootstrap && (options.join || peers.empty())) {
        throw Error("--bootstrap starts a server of a new cluster: give each of them as --peer ID=HOST:PORT");
    }
    if (options.join && !peers.empty()) {
        throw Error("--join starts a server that the cluster will tell who the others are: leave out --peer");
    }
    if (!peers.empty() && !peers.contains(options.id)) {
        throw Error::format("server {} is not among its --peer options", options.id);
    }
    server.tls = options.transport->credentials(tls::Role::arbiter, true);
    if (server.tls && server.tls->self().name != tls::arbiter_name(options.id)) {
        throw Error::format("these are the credentials of {}, and this is server {}", server.tls->self().name,
                            options.id);
    }
    if (options.listen.empty() && peers.empty()) {
        throw Error("without --peer a server needs --listen HOST:PORT");
    }
    if (options.bootstrap || options.join) {
        server.core.bootstrap.emplace();
        server.core.incarnation = random_number();
    }
    for (const auto& [id, address] : peers) {
        if (options.bootstrap) {
            server.core.bootstrap->members[id] = {address.text(), true};
        }
        if (!server.tls && !address.loopback()) {
            throw Error::format("plain text is for loopback only, and {} is not; give --tls", address.text());
        }
    }
    if (peers.size() > raft::kMaxMembers) {
        throw Error::format("a cluster has at most {} servers; three or five are usual", raft::kMaxMembers);
    }
    server.listen = options.listen.empty() ? peers.at(options.id) : parse_address(options.listen);
    server.data = options.data;
    server.cluster = options.cluster;
    server.core.cluster = options.cluster;
    if (!options.metrics.empty()) {
        server.metrics = parse_address(options.metrics);
    }
    auto& raft = server.core.raft;
    raft.id = options.id;
    raft.seed = static_cast<std::uint64_t>(std::time(nullptr)) ^ (options.id << 32U);
    if (options.heartbeat_ms != 0) {
        raft.heartbeat_interval = milliseconds(options.heartbeat_ms);
    }
    if (options.election_ms != 0) {
        raft.election_timeout = milliseconds(options.election_ms);
    }
    if (raft.election_timeout < 3 * raft.heartbeat_interval) {
        throw Error("the election timeout must be at least three heartbeats");
    }
    if (options.snapshot_after != 0) {
        server.core.snapshot_after = options.snapshot_after;
        server.core.trailing = std::min(server.core.trailing, options.snapshot_after);
    }
    return server;
}

// A later start changes nothing of the cluster: whoever gives other addresses then, and believes in them, is to know.
void tell_of_other_addresses(const Options& options, const raft::Configuration& configuration) {
    for (const auto& [id, address] : parse_peers(options.peers)) {
        const auto member = configuration.members.find(id);
        if (member != configuration.members.end() && member->second.address != address.text()) {
            spdlog::warn(
                "--peer {}={} is not what the cluster knows: to it server {} is at {}, and --peer changes that at no "
                "start but the first. A server that moves is removed, and added under another number",
                id, address.text(), id, member->second.address);
        }
    }
}

// Ends the server on one of the ending_signals(), from a thread that waits for them.
class StopOnSignal {
  public:
    StopOnSignal() {
        sigemptyset(&signals_);
        for (const int signal : ending_signals()) {
            sigaddset(&signals_, signal);
        }
        pthread_sigmask(SIG_BLOCK, &signals_, nullptr);  // inherited by every thread made from here on
        std::signal(SIGPIPE, SIG_IGN);
    }
    void watch(arbiter::Server& server) {
        thread_ = std::jthread([this, &server](const std::stop_token& done) {
            const timespec slice{0, 100'000'000};
            while (!done.stop_requested()) {
                if (sigtimedwait(&signals_, nullptr, &slice) > 0) {
                    server.stop();
                    return;
                }
            }
        });
    }

  private:
    sigset_t signals_{};
    std::jthread thread_;
};

int serve(const Options& options) {
    auto settings = server_options(options);
    raise_descriptor_limit(settings.max_connections + arbiter::kReservedDescriptors);
    StopOnSignal signals;
    std::filesystem::create_directories(settings.data);
    sandbox::Walls walls{.profile = sandbox::Profile::arbiter,
                         .paths = {{settings.data, sandbox::Use::keep}},
                         .makes_taps = false,
                         .ports = {settings.listen.port}};
    if (settings.metrics) {
        walls.ports.push_back(settings.metrics->port);
    }
    options.sandbox->enter_and_tell(std::move(walls));
    log_patiently("arbiter", STDERR_FILENO);  // standard output is for events
    PatientOutput output(STDOUT_FILENO);
    arbiter::Server server(settings);
    if (settings.core.bootstrap && !server.was_empty()) {
        throw Error::format(
            "server {} has been started before, with data in {}: leave out {} now and for ever. Left in a command that "
            "is run again, it would start the server as if it were new if its data were lost",
            options.id, options.data, options.join ? "--join" : "--bootstrap");
    }
    signals.watch(server);
    EventWriter events(stdout, options.json ? EventWriter::Form::json : EventWriter::Form::text,
                       [&output](std::string_view bytes) { output.write(bytes); });
    if (server.torn_bytes() > 0) {
        spdlog::info("cut {} bytes off the log's end that were not wholly written", server.torn_bytes());
    }
    tell_of_other_addresses(options, server.configuration());
    auto endpoint = settings.listen;
    endpoint.port = server.port();
    std::vector<Event::Field> fields{{"id", options.id}, {"endpoint", endpoint.text()}, {"new", server.was_empty()}};
    if (settings.metrics) {
        settings.metrics->port = server.metrics_port();
        fields.emplace_back("metrics", settings.metrics->text());
    }
    events.write(Event("listening", fields));
    server.run();
    events.write(Event("stopped", {{"id", options.id}}));
    return 0;
}

}  // namespace

Command add_arbiter_serve(CLI::App& arbiter) {
    CLI::App* app = arbiter.add_subcommand("serve", "Run one server");
    auto options = std::make_shared<Options>();
    app->add_flag("--json", options->json, "Events as JSON, one object a line");
    app->add_option("--id", options->id, "This server's number, from 1, its own for ever")
        ->required()
        ->check(CLI::PositiveNumber);
    app->add_option("--data", options->data, "Directory for its log and snapshots")->required();
    app->add_option("--peer", options->peers, "A server of the new cluster, this one included: ID=HOST:PORT");
    app->add_flag("--bootstrap", options->bootstrap, "Its first start, as a server of a new cluster");
    app->add_flag("--join", options->join, "Its first start, to be added to a running cluster");
    app->add_option("--listen", options->listen, "Where to listen (default: its --peer address)");
    options->transport.emplace(*app, "certificates/arbiter-1");
    options->sandbox.emplace(*app);
    app->add_option("--metrics", options->metrics, "Serve Prometheus metrics at HOST:PORT; with --tls by HTTPS");
    app->add_option("--cluster", options->cluster, "The cluster's name; others are refused")->capture_default_str();
    app->add_option("--heartbeat", options->heartbeat_ms, "Milliseconds between heartbeats (default 40)");
    app->add_option("--election-timeout", options->election_ms,
                    "Milliseconds of silence after which a leader may be replaced (default 200)");
    app->add_option("--snapshot-after", options->snapshot_after, "Log entries between snapshots (default 50000)");
    app->footer(
        "Example:\n"
        "  understudy arbiter serve --id 1 --data a1 --peer 1=127.0.0.1:7001 \\\n"
        "      --peer 2=127.0.0.1:7002 --peer 3=127.0.0.1:7003 --insecure --bootstrap\n"
        "Later starts are the same without --bootstrap.");
    return {.app = app, .run = [options] { return serve(*options); }};
}

}  // namespace understudy::tools
