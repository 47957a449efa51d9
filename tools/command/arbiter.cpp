// `understudy arbiter`: the commands that operate a cluster of the arbiter's servers.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/client/client.hpp"
#include "arbiter/client/engines.hpp"
#include "arbiter/client/operate.hpp"
#include "common/address.hpp"
#include "common/error.hpp"
#include "common/tell.hpp"
#include "tools/command/arbiter_serve.hpp"
#include "tools/command/commands.hpp"
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
        io.stop();
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
                    tell("\rserver {} catches up: {} of {} entries ", member.id, member.match_index,
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

}  // namespace

Command add_arbiter(CLI::App& root) {
    auto options = std::make_shared<Options>();
    CLI::App* app =
        root.add_subcommand("arbiter", "One server of the arbiter; and the commands that operate a cluster");
    app->require_subcommand(1);
    std::map<CLI::App*, int (*)(const Options&)> actions;
    const std::string three = "raft://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003";

    const Command server = add_arbiter_serve(*app);
    CLI::App* one = nullptr;
    const auto on_cluster = [&](const std::string& name, const std::string& text, const std::string& more,
                                int (*action)(const Options&)) {
        one = app->add_subcommand(name, text);
        one->add_flag("--json", options->json, "Events and results as JSON, one object a line");
        one->footer("Example:\n  understudy arbiter " + name + " --arbiter " + three + more);
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
    return {app, [actions, options, server] {
                if (server.app->parsed()) {
                    return server.run();
                }
                for (const auto& [chosen, action] : actions) {
                    if (chosen->parsed()) {
                        return action(*options);
                    }
                }
                return 2;
            }};
}

}  // namespace understudy::tools
