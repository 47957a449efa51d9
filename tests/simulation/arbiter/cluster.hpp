// The simulated cluster: virtual time, chance, servers, clients, the network between them, and everything that goes
// wrong. All of it follows from the seed.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arbiter/server/server_core.hpp"
#include "tests/simulation/arbiter/linearizability.hpp"
#include "tests/simulation/arbiter/memory_directory.hpp"
#include "tests/simulation/arbiter/simulation.hpp"

namespace understudy::arbiter::simulation {

using raft::Index;
using raft::NodeId;
using raft::Term;
using raft::Time;

constexpr std::size_t kClients = 4;
constexpr std::size_t kOperationsPerClient = 12;
constexpr std::size_t kVms = 2;
constexpr std::size_t kReplicas = 3;

struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Server {
    NodeId id = 0;
    std::unique_ptr<MemoryDirectory> disk;
    std::unique_ptr<ServerCore> core;  // null: down
    std::uint64_t life = 0;            // events of an earlier life are void
    bool ever_started = false;
    bool joins = false;
    bool disk_was_lost = false;
    bool syncing = false;
    bool turn_scheduled = false;
    // Invariants: what was true at the last step
    Index commit = 0;
    Index verified = 0;
    Term verified_term = 0;
    Term led_term = 0;
    Index led_last = 0;
};

struct Client {
    std::size_t number = 0;
    std::uint64_t sequence = 0;
    std::uint64_t attempt = 0;  // distinguishes replies and timeouts of earlier attempts
    int attempts = 0;
    NodeId target = 1;
    std::size_t done = 0;
    bool waiting = false;
    bool final_reads = false;
    Operation operation;
    std::map<VmId, std::optional<VmState>> seen;
};

class Cluster {
  public:
    Cluster(std::uint64_t seed, bool trace) : random_(seed * 0x9E3779B97F4A7C15ULL + 1), trace_(trace) {}

    [[nodiscard]] Verdict run();

  private:
    struct Event {
        Time at;
        std::uint64_t order;
        std::function<void()> action;
        bool operator<(const Event& other) const {
            return std::tie(at, order) > std::tie(other.at, other.order);  // earliest first
        }
    };

    // --- Chance and time
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    bool chance(double probability) { return static_cast<double>(random_() >> 11U) * 0x1.0p-53 < probability; }
    Time between(Time low, Time high) {
        return low + Time(static_cast<Time::rep>(below(static_cast<std::uint64_t>((high - low).count()) + 1)));
    }
    void at(Time when, std::function<void()> action) { events_.push({when, order_++, std::move(action)}); }
    void after(Time delay, std::function<void()> action) { at(now_ + delay, std::move(action)); }

    template <typename... Args>
    void say(fmt::format_string<Args...> text, Args&&... args) {
        if (trace_) {
            fmt::print(stderr, "{:>9} {}\n", now_.count(), fmt::format(text, std::forward<Args>(args)...));
        }
    }
    void check(bool holds, const std::string& what) const {
        if (!holds) {
            throw Violation(fmt::format("at {} us: {}", now_.count(), what));
        }
    }

    // --- The course of a schedule (cluster.cpp)
    void set_up();
    [[nodiscard]] bool finished() const;
    void judge();

    // --- Servers (servers.cpp). What is scheduled for a server is for one of its lives, and void after it.
    [[nodiscard]] ServerCoreOptions options(const Server& server);
    void start(Server& server);
    void tick(NodeId id, std::uint64_t life);
    template <typename Action>
    void guarded(Server& server, Action action);
    void crashed(Server& server);
    void crash_soon(Server& server, Time within);
    void with_server(NodeId id, std::uint64_t life, const std::function<void(ServerCore&)>& action);
    void turn(Server& server);
    void synced(NodeId id, std::uint64_t life);
    void dispatch(Server& server, const Outgoing& outgoing);
    void introduce(Server& server);
    [[nodiscard]] bool is_leader(NodeId id);
    [[nodiscard]] std::optional<NodeId> some_leader();

    // --- Clients (clients.cpp)
    // The last client mostly reads, often, and from wherever it likes.
    [[nodiscard]] static bool reads(const Client& client) { return client.number + 1 == kClients; }
    [[nodiscard]] static std::size_t quota(const Client& client) {
        return kOperationsPerClient * (reads(client) ? 2 : 1);
    }
    VmId some_vm() { return fmt::format("vm{}", below(kVms)); }
    ReplicaId some_replica() { return fmt::format("r{}", below(kReplicas)); }
    void invent(Client& client);
    void next_operation(Client& client);
    void attempt(Client& client);
    void take_reply(Client& client, const Reply& reply, NodeId from);
    void finish(Client& client, const Reply* reply);

    // --- What goes wrong (faults.cpp)
    [[nodiscard]] double loss_now() const { return healed_ ? 0 : loss_; }
    [[nodiscard]] double repeat_now() const { return healed_ ? 0 : repeat_; }
    [[nodiscard]] bool cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }
    void turmoil();
    void operate();
    void lose_a_disk();
    void partition();
    void heal();

    // --- What must hold (invariants.cpp)
    void note_vote(const raft::Message& message);
    void note_applied(Index index, const Command& command, const Applied& applied);
    void check_invariants(Server& server);
    void check_log(Server& server);
    void check_completeness(const Server& server) const;

    std::mt19937_64 random_;
    bool trace_;
    Time now_{0};
    std::uint64_t order_ = 0;
    std::priority_queue<Event> events_;
    Verdict verdict_;

    // What kind of schedule this is.
    raft::Configuration bootstrap_;
    std::size_t spares_ = 0;
    double loss_ = 0;
    double repeat_ = 0;
    double crash_rate_ = 0;
    Time slowest_{0};
    bool slow_disks_ = false;
    bool one_entry_ = false;
    bool kills_leaders_ = false;
    bool kills_voters_ = false;
    bool busy_operator_ = false;
    bool loses_a_disk_ = false;
    Index snapshot_after_ = 0;
    Index trailing_ = 0;

    std::map<NodeId, Server> servers_;
    std::deque<Client> clients_;
    std::set<std::pair<NodeId, NodeId>> cuts_;
    bool healed_ = false;

    // What was ever seen, for the invariants.
    std::map<Term, NodeId> leaders_;
    std::map<std::pair<Term, NodeId>, NodeId> votes_;
    struct Committed {
        Term term = 0;     // the entry's
        Term seen_in = 0;  // the term in which a server first knew it committed
    };
    std::map<Index, Committed> committed_;
    std::map<std::pair<Index, Term>, std::pair<std::uint64_t, Term>> entries_;
    std::map<Index, std::uint64_t> applied_;
    std::map<std::pair<std::uint64_t, std::uint64_t>, Index> executed_;
    std::map<std::pair<VmId, Generation>, ReplicaId> winners_;
    std::map<VmId, std::vector<Operation>> history_;
};

}  // namespace understudy::arbiter::simulation
