#include "tools/bench/arbiter_clusters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "arbiter/client/engines.hpp"
#include "arbiter/client/operate.hpp"
#include "common/error.hpp"
#include "tools/bench/process_usage.hpp"
#include "tools/demo/services.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::tools {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

// A server, its output appended to a file.
std::unique_ptr<Process> start_server(std::vector<std::string> command, const fs::path& output) {
    const FileDescriptor log = open_log(output);
    return std::make_unique<Process>(ProcessConfig{.command = std::move(command)}, log.get(), log.get());
}

}  // namespace

BenchedArbiter::BenchedArbiter(fs::path directory)
    : directory_(std::move(directory)), ports_(free_ports(kBenchedServers)) {
    for (std::size_t i = 0; i < kBenchedServers; ++i) {
        start(i);
    }
}

void BenchedArbiter::start(std::size_t i) {
    const fs::path data = directory_ / fmt::format("server{}", i + 1);
    servers_[i] =
        start_server(arbiter_command("/proc/self/exe", i + 1, data, ports_, {"--insecure"}), data.string() + ".log");
}

std::uint64_t BenchedArbiter::resident_kib(std::size_t i) const {
    return tools::resident_kib(servers_[i]->pid());
}

std::string BenchedArbiter::url() const {
    return server_url("raft", ports_);
}

std::optional<arbiter::StatusReply> BenchedArbiter::status(std::size_t i) const {
    const auto url = arbiter::parse_url(this->url());
    const auto answer = arbiter::ask_server(url, url.servers[i], arbiter::StatusRequest{}, milliseconds(1000));
    const auto* reply = std::get_if<arbiter::Reply>(&answer);
    const auto* found = reply == nullptr ? nullptr : std::get_if<arbiter::StatusReply>(&reply->body);
    return found == nullptr ? std::nullopt : std::optional(*found);
}

std::size_t BenchedArbiter::settled_leader() const {
    const auto deadline = Clock::now() + 2 * kBenchPatience;
    while (Clock::now() < deadline) {
        for (std::size_t i = 0; i < kBenchedServers; ++i) {
            const auto found = status(i);
            if (!found || found->raft.role != raft::Role::leader) {
                continue;
            }
            const auto& members = found->raft.members;
            if (std::all_of(members.begin(), members.end(), [&](const raft::MemberStatus& member) {
                    return member.active && member.match_index + 100 >= found->raft.commit_index;
                })) {
                return i;
            }
        }
        std::this_thread::sleep_for(milliseconds(20));
    }
    throw Error("the benchmark's servers do not settle on a leader; see their logs with --keep");
}

BenchedEtcd::BenchedEtcd(fs::path directory)
    : directory_(std::move(directory)), ports_(free_ports(2 * kBenchedServers)) {
    for (std::size_t i = 0; i < kBenchedServers; ++i) {
        start(i);
    }
}

void BenchedEtcd::start(std::size_t i) {
    const auto for_clients = [&](std::size_t k) { return fmt::format("http://127.0.0.1:{}", ports_[k]); };
    const auto for_peers = [&](std::size_t k) { return for_clients(kBenchedServers + k); };
    std::string members;
    for (std::size_t k = 0; k < kBenchedServers; ++k) {
        members += fmt::format("{}e{}={}", k == 0 ? "" : ",", k + 1, for_peers(k));
    }
    servers_[i] = start_server(
        {"etcd", "--name", fmt::format("e{}", i + 1), "--data-dir",
         (directory_ / fmt::format("etcd{}", i + 1)).string(), "--listen-client-urls", for_clients(i),
         "--advertise-client-urls", for_clients(i), "--listen-peer-urls", for_peers(i), "--initial-advertise-peer-urls",
         for_peers(i), "--initial-cluster", members, "--log-level", "error"},
        directory_ / fmt::format("etcd{}.log", i + 1));
}

std::string BenchedEtcd::url() const {
    return server_url("etcd", {ports_.begin(), ports_.begin() + kBenchedServers});
}

}  // namespace understudy::tools
