// `understudy arbiter`: run a server of the arbiter, and operate a cluster of them.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/client/client.hpp"
#include "arbiter/client/engines.hpp"
#include "arbiter/client/operate.hpp"
#include "arbiter/server/server.hpp"
#include "common/address.hpp"
#include "common/descriptor_limit.hpp"
#include "common/error.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/sandbox_options.hpp"
#include "tools/command/transport_options.hpp"
#include "tools/output/event_writer.hpp"
#include "tools/output/json.hpp"

namespace understudy::tools {
namespace {

using arbiter::ParsedUrl;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{10'000};

struct Options {
    bool json = false;
    std::string url;

    std::uint64_t id = 0;
    std::string data;
    std::string listen;
    std::vector<std::string> peers;
    bool bootstrap = false;
    std::optional<TransportOptions> transport;
    std::optional<SandboxOptions> sandbox;
    bool join = false;
    std::string metrics;
    std::string cluster = "understudy";
    unsigned heartbeat_ms = 0;
    unsigned election_ms = 0;
    std::uint64_t snapshot_after = 0;

    std::string address;
    std::uint64_t target = 0;

    std::string vm;
    std::uint64_t generation = 0;
    bool no_replica_runs = false;
};

EventWriter::Form form(const Options& options) {
    return options.json ? EventWriter::Form::json : EventWriter::Form::text;
}

// ---------------------------------------------------------------------------------------------------------------------
// serve
// ---------------------------------------------------------------------------------------------------------------------

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

// Ends the server on SIGTERM and SIGINT, from a thread that waits for them.
class StopOnSignal {
  public:
    StopOnSignal() {
        sigemptyset(&signals_);
        sigaddset(&signals_, SIGTERM);
        sigaddset(&signals_, SIGINT);
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
    spdlog::set_default_logger(spdlog::stderr_color_mt("arbiter"));  // standard output is for events
    StopOnSignal signals;
    std::filesystem::create_directories(settings.data);
    options.sandbox->enter_and_tell(
        {.profile = sandbox::Profile::arbiter, .paths = {{settings.data, sandbox::Use::keep}}, .makes_taps = false});
    arbiter::Server server(settings);
    if (settings.core.bootstrap && !server.was_empty()) {
        throw Error::format(
            "server {} has been started before, with data in {}: leave out {} now and for ever. Left in a command that "
            "is run again, it would start the server as if it were new if its data were lost",
            options.id, options.data, options.join ? "--join" : "--bootstrap");
    }
    signals.watch(server);
    EventWriter events(stdout, form(options));
    if (server.torn_bytes() > 0) {
        spdlog::info("cut {} bytes off the log's end that were not wholly written", server.torn_bytes());
    }
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

// ---------------------------------------------------------------------------------------------------------------------
// status, dump
// ---------------------------------------------------------------------------------------------------------------------

ParsedUrl raft_url(const Options& options) {
    auto url = arbiter::parse_url(options.url);
    if (url.scheme != "raft") {
        throw Error("this works on our own servers (raft://); an etcd cluster has etcdctl");
    }
    return url;
}

std::string status_json(const arbiter::StatusReply& status) {
    std::string members;
    for (const auto& member : status.raft.members) {
        members += fmt::format(R"({}{{"id":{},"address":{},"voting":{},"match_index":{},"active":{}}})",
                               members.empty() ? "" : ",", member.id, json_string(member.member.address),
                               member.member.voting, member.match_index, member.active);
    }
    const auto& raft = status.raft;
    return fmt::format(
        R"({{"id":{},"role":"{}","term":{},"leader":{},"commit_index":{},"applied_index":{},"last_index":{},)"
        R"("snapshot_index":{},"vms":{},"sessions":{},"wal_bytes":{},"snapshot_bytes":{},"members":[{}]}})",
        raft.id, name(raft.role), raft.term, raft.leader, raft.commit_index, raft.applied_index, raft.last_index,
        raft.snapshot_index, status.vms, status.sessions, status.wal_bytes, status.snapshot_bytes, members);
}

void print_status(const Address& address, const arbiter::StatusReply& status) {
    const auto& raft = status.raft;
    fmt::print("server {} at {}: {}, term {}, {}\n", raft.id, address.text(), name(raft.role), raft.term,
               raft.leader == 0 ? std::string("no leader") : fmt::format("leader {}", raft.leader));
    fmt::print("  committed {}, applied {}, last {}, snapshot at {}; {} VMs, {} clients; log {} KiB, snapshot {} KiB\n",
               raft.commit_index, raft.applied_index, raft.last_index, raft.snapshot_index, status.vms, status.sessions,
               status.wal_bytes / 1024, status.snapshot_bytes / 1024);
    if (raft.role != raft::Role::leader) {
        return;
    }
    for (const auto& member : raft.members) {
        const auto lag = raft.last_index - std::min(raft.last_index, member.match_index);
        fmt::print("  member {} at {}: {}{}, {} behind\n", member.id, member.member.address,
                   member.member.voting ? "voting" : "catching up", member.active ? "" : ", silent", lag);
    }
}

int status(const Options& options) {
    const auto url = raft_url(options);
    bool leader_seen = false;
    std::size_t unreachable = 0;
    std::string json;
    for (const auto& address : url.servers) {
        const auto answer = arbiter::server_status(url, address, milliseconds(2000));
        if (const auto* why = std::get_if<std::string>(&answer)) {
            ++unreachable;
            json += fmt::format(R"({}{{"address":{},"error":{}}})", json.empty() ? "" : ",",
                                json_string(address.text()), json_string(*why));
            if (!options.json) {
                fmt::print("server at {}: {}\n", address.text(), *why);
            }
            continue;
        }
        const auto& found = std::get<arbiter::StatusReply>(answer);
        leader_seen = leader_seen || found.raft.role == raft::Role::leader;
        json += (json.empty() ? "" : ",") + status_json(found);
        if (!options.json) {
            print_status(address, found);
        }
    }
    if (options.json) {
        fmt::print("{{\"servers\":[{}]}}\n", json);
    }
    return leader_seen && unreachable == 0 ? 0 : 1;
}

int dump(const Options& options) {
    boost::asio::io_context io;
    const auto client = arbiter::connect(io, options.url);
    int result = 1;
    std::string trouble;
    client->list(kPatience, [&](arbiter::Verdict verdict, const auto& vms, const std::string& explanation) {
        if (verdict != arbiter::Verdict::yes) {
            trouble = explanation;
            return;
        }
        result = 0;
        for (const auto& [vm, state] : vms) {
            if (options.json) {
                std::string members;
                for (const auto& member : state.members) {
                    members += (members.empty() ? "" : ",") + json_string(member);
                }
                fmt::print("{{\"vm\":{},\"generation\":{},\"members\":[{}],\"winner\":{}}}\n", json_string(vm),
                           state.generation.value, members, state.winner ? json_string(*state.winner) : "null");
            } else {
                fmt::print("{}  generation {}  {}{}  winner {}\n", vm, state.generation.value,
                           state.ended() ? "ended" : "members ", fmt::join(state.members, " "),
                           state.winner.value_or("-"));
            }
        }
    });
    io.run_for(kPatience + milliseconds(1000));
    if (result != 0) {
        throw Error(trouble.empty() ? "the arbiter did not answer" : trouble);
    }
    return result;
}

// ---------------------------------------------------------------------------------------------------------------------
// forget
// ---------------------------------------------------------------------------------------------------------------------

// A VM whose guest has ended has said so itself, as a rule. Where its last replica could not, only people know.
int forget(const Options& options) {
    if (!options.no_replica_runs) {
        throw Error::format(
            "make sure that no replica of {} runs any more, on any host, and say so with --no-replica-runs: one that "
            "does would go on beside the next",
            options.vm);
    }
    boost::asio::io_context io;
    const auto client = arbiter::connect(io, options.url);
    arbiter::Outcome outcome;
    client->end({options.vm, {options.generation}, {}}, kPatience, [&](arbiter::Outcome answer) {
        outcome = std::move(answer);
        io.stop();
    });
    io.run_for(kPatience + milliseconds(1000));
    if (outcome.verdict != arbiter::Verdict::yes) {
        throw Error(outcome.explanation.empty() ? "the arbiter did not answer" : outcome.explanation);
    }
    EventWriter(stdout, form(options))
        .write(Event("forgotten", {{"vm", options.vm}, {"generation", options.generation}}));
    return 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// add, remove, transfer, snapshot
// ---------------------------------------------------------------------------------------------------------------------

void expect_done(const arbiter::Reply& reply) {
    const auto* done = std::get_if<arbiter::DoneReply>(&reply.body);
    if (done == nullptr) {
        throw Error("the arbiter gave an unexpected answer; is it of another version?");
    }
    if (!done->done) {
        throw Error(done->text);
    }
}

std::optional<arbiter::StatusReply> leader_status(const ParsedUrl& url) {
    for (const auto& address : url.servers) {
        const auto answer = arbiter::server_status(url, address, milliseconds(1000));
        const auto* found = std::get_if<arbiter::StatusReply>(&answer);
        if (found != nullptr && found->raft.role == raft::Role::leader) {
            return *found;
        }
    }
    return std::nullopt;
}

int add(const Options& options) {
    const auto url = raft_url(options);
    const auto address = parse_address(options.address).text();
    expect_done(arbiter::ask_leader(url, arbiter::AddServerRequest{options.target, address}, kPatience));
    // It is a member without a vote until it has caught up.
    const auto deadline = std::chrono::steady_clock::now() + 6 * kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
        if (const auto found = leader_status(url)) {
            for (const auto& member : found->raft.members) {
                if (member.id == options.target && member.member.voting) {
                    EventWriter(stdout, form(options)).write(Event("added", {{"id", options.target}}));
                    return 0;
                }
                if (member.id == options.target && !options.json && ::isatty(STDERR_FILENO) == 1) {
                    fmt::print(stderr, "\rserver {} catches up: {} of {} entries ", member.id, member.match_index,
                               found->raft.last_index);
                }
            }
        }
        std::this_thread::sleep_for(milliseconds(200));
    }
    throw Error::format("server {} is a member but has not caught up; is it running at {} with --join?", options.target,
                        address);
}

int remove(const Options& options) {
    expect_done(arbiter::ask_leader(raft_url(options), arbiter::RemoveServerRequest{options.target}, kPatience));
    EventWriter(stdout, form(options)).write(Event("removed", {{"id", options.target}}));
    return 0;
}

int transfer(const Options& options) {
    const auto url = raft_url(options);
    const auto before = leader_status(url);
    expect_done(arbiter::ask_leader(url, arbiter::TransferRequest{options.target}, kPatience));
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
        const auto now = leader_status(url);
        const bool changed = now && (!before || now->raft.term > before->raft.term);
        const bool wanted = now && options.target != 0 && now->raft.id == options.target;  // it may have led before
        if (changed || wanted) {
            EventWriter(stdout, form(options)).write(Event("leader", {{"id", now->raft.id}, {"term", now->raft.term}}));
            return options.target == 0 || wanted ? 0 : 1;
        }
        std::this_thread::sleep_for(milliseconds(20));
    }
    throw Error("leadership did not change hands in time");
}

int snapshot(const Options& options) {
    const auto url = raft_url(options);
    EventWriter events(stdout, form(options));
    for (const auto& address : url.servers) {
        const auto answer = arbiter::ask_server(url, address, arbiter::SnapshotNowRequest{}, kPatience);
        if (const auto* trouble = std::get_if<std::string>(&answer)) {
            throw Error::format("{}: {}", address.text(), *trouble);
        }
        expect_done(std::get<arbiter::Reply>(answer));
        events.write(Event("snapshot", {{"endpoint", address.text()}}));
    }
    return 0;
}

CLI::App* subcommand(CLI::App& parent, const std::string& name, const std::string& text,
                     const std::shared_ptr<Options>& options, const std::string& example) {
    CLI::App* app = parent.add_subcommand(name, text);
    app->add_flag("--json", options->json, "Events and results as JSON, one object a line");
    app->footer("Example:\n  " + example);
    return app;
}

}  // namespace

Command add_arbiter(CLI::App& root) {
    auto options = std::make_shared<Options>();
    CLI::App* app =
        root.add_subcommand("arbiter", "One server of the arbiter; and the commands that operate a cluster");
    app->require_subcommand(1);
    std::map<CLI::App*, int (*)(const Options&)> actions;
    const std::string three = "raft://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003";

    CLI::App* one = subcommand(*app, "serve", "Run one server", options,
                               "understudy arbiter serve --id 1 --data a1 --peer 1=127.0.0.1:7001 \\\n"
                               "      --peer 2=127.0.0.1:7002 --peer 3=127.0.0.1:7003 --insecure --bootstrap\n"
                               "Later starts are the same without --bootstrap.");
    one->add_option("--id", options->id, "This server's number, from 1, its own for ever")
        ->required()
        ->check(CLI::PositiveNumber);
    one->add_option("--data", options->data, "Directory for its log and snapshots")->required();
    one->add_option("--peer", options->peers, "A server of the new cluster, this one included: ID=HOST:PORT");
    one->add_flag("--bootstrap", options->bootstrap, "Its first start, as a server of a new cluster");
    one->add_flag("--join", options->join, "Its first start, to be added to a running cluster");
    one->add_option("--listen", options->listen, "Where to listen (default: its --peer address)");
    options->transport.emplace(*one, "certificates/arbiter-1");
    options->sandbox.emplace(*one);
    one->add_option("--metrics", options->metrics, "Serve Prometheus metrics at HOST:PORT; with --tls by HTTPS");
    one->add_option("--cluster", options->cluster, "The cluster's name; others are refused")->capture_default_str();
    one->add_option("--heartbeat", options->heartbeat_ms, "Milliseconds between heartbeats (default 40)");
    one->add_option("--election-timeout", options->election_ms,
                    "Milliseconds of silence after which a leader may be replaced (default 200)");
    one->add_option("--snapshot-after", options->snapshot_after, "Log entries between snapshots (default 50000)");
    actions[one] = serve;

    const auto on_cluster = [&](const std::string& name, const std::string& text, const std::string& more,
                                int (*action)(const Options&)) {
        one = subcommand(*app, name, text, options, "understudy arbiter " + name + " --arbiter " + three + more);
        one->add_option("--arbiter", options->url, "The cluster: raft://HOST:PORT,…[?tls=certificates/operator-me]")
            ->required();
        actions[one] = action;
        return one;
    };
    on_cluster("status", "Term, leader, indexes, members and their lag, size on disk", "", status);
    on_cluster("dump", "The decided generations of all VMs", "", dump);
    on_cluster("forget", "Let a name be claimed again whose guest has ended without saying so",
               " \\\n      --vm shop --generation 3 --no-replica-runs", forget);
    one->add_option("--vm", options->vm, "The VM")->required();
    one->add_option("--generation", options->generation,
                    "Its newest, as `arbiter dump` shows it: nothing is done in another")
        ->required();
    one->add_flag("--no-replica-runs", options->no_replica_runs,
                  "You made sure that no replica of it runs, on any host");
    on_cluster("snapshot", "Write a snapshot on every server now", "", snapshot);
    on_cluster("add", "Add a server that runs with --join", " --id 4 --address 127.0.0.1:7004", add);
    one->add_option("--id", options->target, "Its number")->required()->check(CLI::PositiveNumber);
    one->add_option("--address", options->address, "Where the other servers reach it: HOST:PORT")->required();
    on_cluster("remove", "Remove a server", " --id 3", remove);
    one->add_option("--id", options->target, "Its number")->required()->check(CLI::PositiveNumber);
    on_cluster("transfer", "Hand leadership over", " --id 2", transfer);
    one->add_option("--id", options->target, "To which server (default: the most up to date)");

    app->footer("Example:\n  understudy arbiter status --arbiter " + three);
    return {app, [actions, options] {
                for (const auto& [chosen, action] : actions) {
                    if (chosen->parsed()) {
                        return action(*options);
                    }
                }
                return 2;
            }};
}

}  // namespace understudy::tools
