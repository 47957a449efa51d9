#include "tools/bench/sentinel_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/redis_link.hpp"
#include "tools/bench/sentinel.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kRedisPort = 6379;
constexpr std::uint16_t kSentinelPort = 26379;
constexpr auto kLook = 20ms;
constexpr auto kAnswerTime = 1s;
constexpr auto kSettleTime = 60s;
// A failover that fails is tried again after twice that time.
constexpr auto kFailoverTimeout = 10s;

template <typename Result, typename Take>
Result ask(const Address& server, const std::string& request, Result otherwise, Take take) {
    try {
        RedisLink link(server, kAnswerTime);
        link.send(request);
        return take(link.receive_list());
    } catch (const Error&) {
        return otherwise;  // it does not serve yet
    }
}

std::string text_of(const std::vector<Reply>& answer) {
    return answer.empty() ? std::string() : answer.front().text;
}

}  // namespace

SentinelStore::SentinelStore(Stage& stage, std::chrono::milliseconds down_after)
    : stage_(stage), takeover_time_(down_after + 6 * kFailoverTimeout) {
    servers_ = {add("redis1", "10.79.0.11", kRedisPort), add("redis2", "10.79.0.12", kRedisPort)};
    sentinels_ = {add("sentinel1", "10.79.0.21", kSentinelPort), add("sentinel2", "10.79.0.22", kSentinelPort),
                  add("sentinel3", "10.79.0.23", kSentinelPort)};
    start_redis(0, false);
    start_redis(1, true);
    await_redundancy();  // of the two; Sentinels that come later know the replica at once
    for (std::size_t i = 0; i < sentinels_.size(); ++i) {
        start_sentinel(i, down_after);
    }
    await_redundancy();
}

std::vector<Address> SentinelStore::sentinels() const {
    std::vector<Address> addresses;
    std::ranges::transform(sentinels_, std::back_inserter(addresses), &Server::address);
    return addresses;
}

SentinelStore::Server SentinelStore::add(const std::string& name, const std::string& host, std::uint16_t port) {
    return {.station = Lan::add_station(stage_, name, host), .address = {host, port}};
}

void SentinelStore::start(const std::string& name, Server& server, std::vector<std::string> command) {
    command.insert(command.begin(), server.station.command.begin(), server.station.command.end());
    server.process = stage_.start(name, std::move(command), [](std::string_view) {});
}

// Nothing on disk, as in the guest.
void SentinelStore::start_redis(std::size_t index, bool is_replica) {
    const std::string name = servers_.at(index).station.name;
    const auto directory = stage_.directory().path() / name;
    std::filesystem::create_directories(directory);
    std::vector<std::string> command = {"redis-server",
                                        "--bind",
                                        servers_.at(index).address.host,
                                        "--port",
                                        std::to_string(kRedisPort),
                                        "--protected-mode",
                                        "no",
                                        "--save",
                                        "",
                                        "--appendonly",
                                        "no",
                                        "--dir",
                                        directory.string(),
                                        "--repl-diskless-sync-delay",
                                        "0"};
    if (is_replica) {
        const Address& from = servers_.at(1 - index).address;
        command.insert(command.end(), {"--replicaof", from.host, std::to_string(from.port)});
    }
    start(name, servers_.at(index), std::move(command));
}

// A Sentinel keeps what it knows in its configuration.
void SentinelStore::start_sentinel(std::size_t index, std::chrono::milliseconds down_after) {
    Server& sentinel = sentinels_.at(index);
    const auto directory = stage_.directory().path() / sentinel.station.name;
    std::filesystem::create_directories(directory);
    const auto file = directory / "sentinel.conf";
    std::ofstream out(file);
    out << fmt::format(
        "port {}\nbind {}\nprotected-mode no\ndir {}\nsentinel monitor {name} {} {} 2\n"
        "sentinel down-after-milliseconds {name} {}\nsentinel failover-timeout {name} {}\n"
        "sentinel parallel-syncs {name} 1\n",
        kSentinelPort, sentinel.address.host, directory.string(), master().address.host, master().address.port,
        down_after.count(), std::chrono::milliseconds(kFailoverTimeout).count(), fmt::arg("name", kMasterName));
    out.close();
    if (!out) {
        throw Error::format("cannot write {}: make room there, or name another $TMPDIR", file.string());
    }
    start(sentinel.station.name, sentinel, {"redis-server", file.string(), "--sentinel"});
}

void SentinelStore::kill() {
    master().process->signal(SIGKILL);
    master().process.reset();
}

// All Sentinels have to know: to one that does not, what was killed and comes back is still the master.
void SentinelStore::await_takeover() {
    const auto deadline = Stage::Clock::now() + takeover_time_;
    while (!(serves_as_master(other()) && all_say(other()))) {
        if (Stage::Clock::now() >= deadline) {
            throw Error::format("the Sentinels made nobody the master within {} s",
                                std::chrono::duration_cast<std::chrono::seconds>(takeover_time_).count());
        }
        stage_.pause(kLook);
    }
    master_ = 1 - master_;
}

// As a replica at once, as who administrates it would: a Sentinel waits some seconds before it makes a master that
// comes back one. Never before another leads: empty as it is, it would be taken for the master that was there.
void SentinelStore::restart() {
    start_redis(1 - master_, true);
}

// Of a process that ought to run: how it ended.
void SentinelStore::expect_running() const {
    const auto expect = [](const Server& server) {
        if (server.process && !server.process->running()) {
            throw Error::format("{} ended with status {}: {}", server.station.name, server.process->exit_status(),
                                server.process->last_words());
        }
    };
    std::ranges::for_each(servers_, expect);
    std::ranges::for_each(sentinels_, expect);
}

bool SentinelStore::all_say(const Server& server) const {
    return std::ranges::all_of(sentinels_, [&](const Server& sentinel) {
        return sentinel.process && ask(sentinel.address, ask_for_master(), false,
                                       [&](const auto& answer) { return master_of(answer) == server.address; });
    });
}

bool SentinelStore::serves_as_master(const Server& server) {
    return ask(server.address, ask_for_role(), false, [](const auto& answer) { return is_master(answer); });
}

// They may have taken a master for gone that was not. They make it a replica some seconds later.
void SentinelStore::follow_sentinels() {
    if (all_say(other()) && serves_as_master(other())) {
        master_ = 1 - master_;
        note_unplanned();
    }
}

std::string SentinelStore::missing_for_redundancy() {
    if (!ask(master().address, ask_for_replication(), false,
             [](const auto& answer) { return replicas_in_sync(text_of(answer)) == 1; })) {
        return "the replica to have what the master has";
    }
    for (const Server& sentinel : sentinels_) {
        const auto says = [&](const std::string& request, auto what) {
            return !sentinel.process || ask(sentinel.address, request, false, what);
        };
        if (!says(ask_for_master(), [this](const auto& answer) { return master_of(answer) == master().address; })) {
            return sentinel.station.name + " to know the master";
        }
        if (!says(ask_for_replicas(), [](const auto& answer) { return usable_replicas(answer) == 1; })) {
            return sentinel.station.name + " to know a replica that is up";
        }
        if (!says(ask_for_sentinels(),
                  [this](const auto& answer) { return known_sentinels(text_of(answer)) == sentinels_.size(); })) {
            return sentinel.station.name + " to know the other Sentinels";
        }
    }
    return {};
}

void SentinelStore::await_redundancy() {
    const auto deadline = Stage::Clock::now() + kSettleTime;
    for (std::string missing; !(missing = missing_for_redundancy()).empty(); stage_.pause(kLook)) {
        expect_running();
        follow_sentinels();
        if (Stage::Clock::now() >= deadline) {
            throw Error::format("waited {} s for {}", std::chrono::seconds(kSettleTime).count(), missing);
        }
    }
}

}  // namespace understudy::tools
