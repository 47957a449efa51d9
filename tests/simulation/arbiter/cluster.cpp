#include "tests/simulation/arbiter/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arbiter/service.hpp"
#include "common/digest.hpp"
#include "common/error.hpp"
#include "tests/simulation/arbiter/linearizability.hpp"
#include "tests/simulation/arbiter/memory_directory.hpp"

namespace understudy::arbiter::simulation {
namespace {

using raft::Index;
using raft::NodeId;
using raft::Term;
using raft::Time;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Time kTurmoil = milliseconds(2500);   // faults happen until then
constexpr Time kRecovery = milliseconds(6000);  // then everything heals, and by then all must be well
constexpr Time kTick = milliseconds(20);
constexpr std::size_t kClients = 4;
constexpr std::size_t kOperationsPerClient = 12;
constexpr std::size_t kVms = 2;
constexpr std::size_t kReplicas = 3;

struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::uint64_t digest_of(std::string_view bytes) {
    return digest(std::as_bytes(std::span(bytes)));
}

struct Server {
    NodeId id = 0;
    std::unique_ptr<MemoryDirectory> disk;
    std::unique_ptr<Service> service;  // null: down
    std::uint64_t life = 0;            // events of an earlier life are void
    bool ever_started = false;
    bool joins = false;
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

    Verdict run() {
        try {
            set_up();
            while (!events_.empty() && now_ < kRecovery && !finished()) {
                auto event = std::move(const_cast<Event&>(events_.top()));  // popped at once
                events_.pop();
                now_ = event.at;
                ++verdict_.steps;
                event.action();
            }
            judge();
        } catch (const Violation& violation) {
            verdict_.violation = violation.what();
        } catch (const std::logic_error& broken) {  // raft::require
            verdict_.violation = std::string("assertion: ") + broken.what();
        }
        return verdict_;
    }

  private:
    struct Event {
        Time at;
        std::uint64_t order;
        std::function<void()> action;
        bool operator<(const Event& other) const {
            return std::tie(at, order) > std::tie(other.at, other.order);  // earliest first
        }
    };

    // -- chance and time

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

    // -- setting up

    void set_up() {
        const std::size_t initial = chance(0.7) ? 3 : 5;
        spares_ = chance(0.4) ? 2 : 0;
        for (NodeId id = 1; id <= initial; ++id) {
            bootstrap_.members[id] = {fmt::format("s{}", id), true};
        }
        loss_ = chance(0.5) ? 0.0 : 0.15;
        repeat_ = chance(0.5) ? 0.0 : 0.1;
        slowest_ = chance(0.5) ? milliseconds(3) : milliseconds(60);
        crash_rate_ = std::array{0.05, 0.2, 0.4}[below(3)];
        snapshot_after_ = std::array<Index, 3>{4, 15, 1000}[below(3)];
        trailing_ = below(4);
        slow_disks_ = chance(0.3);
        // Some schedules dwell on what seldom happens by itself.
        one_entry_ = chance(0.5);
        kills_leaders_ = chance(0.4);
        kills_voters_ = chance(0.3);
        busy_operator_ = chance(0.5);
        for (NodeId id = 1; id <= initial + spares_; ++id) {
            auto& server = servers_[id];
            server.id = id;
            server.disk = std::make_unique<MemoryDirectory>(random_);
            server.joins = id > initial;
            at(between(Time{0}, milliseconds(30)), [this, id] { start(servers_[id]); });
        }
        for (std::size_t i = 0; i < kClients; ++i) {
            clients_.push_back({});
            clients_.back().number = i;
            at(between(milliseconds(100), milliseconds(500)), [this, i] { next_operation(clients_[i]); });
        }
        at(milliseconds(200), [this] { turmoil(); });
        at(kTurmoil, [this] { heal(); });
    }

    ServiceOptions options(const Server& server) {
        ServiceOptions options;
        options.raft.id = server.id;
        options.raft.seed = random_();
        options.raft.max_append_bytes = one_entry_ ? 1 : 600;
        options.raft.max_in_flight = 4;
        options.raft.snapshot_chunk = 300;
        options.bootstrap = server.joins ? raft::Configuration{} : bootstrap_;
        options.segment_bytes = 1500;
        options.snapshot_after = snapshot_after_;
        options.trailing = trailing_;
        return options;
    }

    // -- servers

    void start(Server& server) {
        if (server.service) {
            return;
        }
        ++server.life;
        server.syncing = server.turn_scheduled = false;
        try {
            server.service = std::make_unique<Service>(options(server), *server.disk, now_);
        } catch (const SimulatedCrash&) {
            crashed(server);
            return;
        } catch (const Error& error) {
            check(false, fmt::format("server {} refuses to start: {}", server.id, error.what()));
        }
        server.ever_started = true;
        server.commit = server.service->node().commit_index();
        server.verified = 0;
        server.led_term = 0;
        server.service->on_applied = [this](Index index, const Command& command, const Applied& applied) {
            note_applied(index, command, applied);
        };
        say("server {} starts, term {}, log {}..{}", server.id, server.service->node().term(),
            server.service->node().log().base_index(), server.service->node().log().last_index());
        tick(server.id, server.life);
    }

    void tick(NodeId id, std::uint64_t life) {
        auto& server = servers_[id];
        if (server.life != life || !server.service) {
            return;
        }
        guarded(server, [&] {
            server.service->tick(now_);
            turn(server);
        });
        after(kTick, [this, id, life] { tick(id, life); });
    }

    // Whatever a server does may end in its death or in a full disk.
    template <typename Action>
    void guarded(Server& server, Action action) {
        try {
            action();
        } catch (const SimulatedCrash&) {
            crashed(server);
        } catch (const Error& error) {
            say("server {} stops: {}", server.id, error.what());
            crashed(server);
        }
    }

    void crashed(Server& server) {
        ++server.life;
        ++verdict_.crashes;
        server.service.reset();
        server.disk->lose_unsynced();
        say("server {} is down", server.id);
        const auto id = server.id;
        const auto longest = chance(0.4) ? milliseconds(10) : milliseconds(700);
        after(healed_ ? milliseconds(50) : between(milliseconds(1), longest), [this, id] {
            if (!healed_ && chance(0.1)) {
                servers_[id].disk->crash_after(static_cast<int>(1 + below(6)));  // dies again while it recovers
            }
            start(servers_[id]);
        });
    }

    void crash_soon(Server& server, Time within) {
        after(between(microseconds(1), within), [this, id = server.id, life = server.life] {
            if (servers_[id].life == life && servers_[id].service && !healed_) {
                crashed(servers_[id]);
            }
        });
    }

    void with_server(NodeId id, std::uint64_t life, const std::function<void(Service&)>& action) {
        auto& server = servers_[id];
        if (server.life != life || !server.service) {
            return;
        }
        guarded(server, [&] {
            action(*server.service);
            // Often several events share one group commit.
            if (chance(0.5)) {
                turn(server);
            } else if (!server.turn_scheduled) {
                server.turn_scheduled = true;
                after(between(microseconds(1), microseconds(300)), [this, id, life] {
                    auto& same = servers_[id];
                    if (same.life == life && same.service) {
                        same.turn_scheduled = false;
                        guarded(same, [&] { turn(same); });
                    }
                });
            }
        });
    }

    void turn(Server& server) {
        auto& service = *server.service;
        dispatch(server, service.begin());
        check_invariants(server);
        if (service.write_pending() && !server.syncing) {
            service.write();
            server.syncing = true;
            const auto longest = slow_disks_ && chance(0.1) && !healed_ ? milliseconds(400) : milliseconds(2);
            after(between(microseconds(50), longest), [this, id = server.id, life = server.life] { synced(id, life); });
        }
        if (auto snapshot = service.take_snapshot_to_write()) {
            after(between(microseconds(100), milliseconds(50)), [this, snapshot, id = server.id, life = server.life] {
                auto& same = servers_[id];
                if (same.life == life && same.service) {
                    guarded(same, [&] {
                        write_snapshot(*same.disk, *snapshot);
                        same.service->snapshot_written(snapshot);
                        turn(same);
                    });
                }
            });
        }
    }

    void synced(NodeId id, std::uint64_t life) {
        auto& server = servers_[id];
        if (server.life != life || !server.service) {
            return;
        }
        guarded(server, [&] {
            server.syncing = false;
            dispatch(server, server.service->complete());
            turn(server);
        });
    }

    // -- network

    void dispatch(Server& server, Outgoing outgoing) {
        for (auto& message : outgoing.messages) {
            note_vote(message);
            if (cut(message.from, message.to) || chance(loss_now())) {
                continue;
            }
            const int copies = chance(repeat_now()) ? 2 : 1;
            for (int i = 0; i < copies; ++i) {
                const auto to = message.to;
                const auto shared = std::make_shared<raft::Message>(message);
                after(between(microseconds(50), slowest_), [this, to, shared] {
                    const auto it = servers_.find(to);
                    if (it != servers_.end()) {
                        with_server(to, it->second.life, [&](Service& service) { service.receive(*shared); });
                    }
                });
            }
        }
        for (auto& [connection, reply] : outgoing.replies) {
            if (connection >= kClients || chance(loss_now())) {
                continue;  // the operator does not wait
            }
            const auto shared = std::make_shared<Reply>(std::move(reply));
            after(between(microseconds(50), slowest_), [this, number = connection, shared, from = server.id] {
                take_reply(clients_[number], *shared, from);
            });
        }
    }

    [[nodiscard]] double loss_now() const { return healed_ ? 0 : loss_; }
    [[nodiscard]] double repeat_now() const { return healed_ ? 0 : repeat_; }
    [[nodiscard]] bool cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }

    void partition() {
        cuts_.clear();
        std::vector<NodeId> ids;
        for (const auto& [id, server] : servers_) {
            ids.push_back(id);
        }
        std::shuffle(ids.begin(), ids.end(), random_);
        const auto kind = below(5);
        const auto half = 1 + below(ids.size() - 1);
        for (std::size_t i = 0; i < ids.size(); ++i) {
            for (std::size_t k = 0; k < ids.size(); ++k) {
                const bool apart = (i < half) != (k < half);
                switch (kind) {
                    case 0:  // full
                        if (apart) {
                            cuts_.insert({ids[i], ids[k]});
                        }
                        break;
                    case 1:  // one way
                        if (apart && i < k) {
                            cuts_.insert({ids[i], ids[k]});
                        }
                        break;
                    case 2:  // bridging: both halves reach the first server
                        if (apart && i != 0 && k != 0) {
                            cuts_.insert({ids[i], ids[k]});
                        }
                        break;
                    case 3:  // the leader alone
                        if (i != k && (is_leader(ids[i]) || is_leader(ids[k]))) {
                            cuts_.insert({ids[i], ids[k]});
                        }
                        break;
                    default:  // single links
                        if (i != k && chance(0.3)) {
                            cuts_.insert({ids[i], ids[k]});
                        }
                }
            }
        }
        say("partition of kind {}", kind);
    }

    [[nodiscard]] bool is_leader(NodeId id) {
        return servers_[id].service && servers_[id].service->node().role() == raft::Role::leader;
    }
    std::optional<NodeId> some_leader() {
        std::optional<NodeId> found;
        for (auto& [id, server] : servers_) {
            if (is_leader(id) && (!found || server.service->node().term() > servers_[*found].service->node().term())) {
                found = id;
            }
        }
        return found;
    }

    // -- turmoil

    void turmoil() {
        if (healed_) {
            return;
        }
        const auto id = 1 + below(servers_.size());
        auto& server = servers_[id];
        if (chance(crash_rate_)) {
            auto& victim = chance(0.5) && some_leader() ? servers_[*some_leader()] : server;
            if (victim.service) {
                crashed(victim);
            }
        } else if (chance(crash_rate_)) {
            server.disk->crash_after(static_cast<int>(1 + below(12)));
        } else if (chance(0.03)) {
            if (server.service) {
                server.disk->fail_after(static_cast<int>(1 + below(12)));
            }
        } else if (chance(0.03)) {
            say("all servers die at once");
            for (auto& [each, one] : servers_) {
                if (one.service) {
                    crashed(one);
                }
            }
        } else if (chance(0.3)) {
            partition();
        } else if (chance(0.4)) {
            cuts_.clear();
        } else if (chance(busy_operator_ ? 0.8 : 0.3)) {
            operate();
            if (busy_operator_ && chance(0.5)) {
                operate();
            }
        }
        if (chance(0.15)) {  // connections break; followers stand for election together
            for (auto& [each, one] : servers_) {
                with_server(each, one.life, [&](Service& service) { service.peer_lost(service.node().leader()); });
            }
        }
        after(between(milliseconds(10), milliseconds(120)), [this] { turmoil(); });
    }

    // The operator adds, removes and transfers, through whichever leader it finds.
    void operate() {
        auto leader = some_leader();
        if (!leader) {
            return;
        }
        if (const auto other = 1 + below(servers_.size()); is_leader(other)) {
            leader = other;  // perhaps one that is deposed and does not know it
        }
        const auto target = 1 + below(servers_.size());
        const auto members = servers_[*leader].service->node().configuration();
        Request request{0, SnapshotNowRequest{}};
        if (spares_ > 0 && chance(0.8)) {
            if (members.contains(target)) {
                if (members.voters() > 3) {
                    request.body = RemoveServerRequest{target};
                    ++verdict_.membership_changes;
                }
            } else {
                request.body = AddServerRequest{target, fmt::format("s{}", target)};
                ++verdict_.membership_changes;
            }
        } else {
            request.body = TransferRequest{target};
        }
        with_server(*leader, servers_[*leader].life,
                    [&](Service& service) { service.request(kClients, std::move(request)); });
    }

    void heal() {
        say("everything heals");
        healed_ = true;
        cuts_.clear();
        slowest_ = std::min<Time>(slowest_, milliseconds(3));
        for (auto& [id, server] : servers_) {
            server.disk->crash_after(0);
            server.disk->fail_after(0);
            if (!server.service) {
                start(server);
            }
        }
    }

    // -- clients

    // The last client mostly reads, often, and from wherever it likes.
    static bool reads(const Client& client) { return client.number + 1 == kClients; }
    static std::size_t quota(const Client& client) { return kOperationsPerClient * (reads(client) ? 2 : 1); }

    VmId some_vm() { return fmt::format("vm{}", below(kVms)); }
    ReplicaId some_replica() { return fmt::format("r{}", below(kReplicas)); }

    // A request that stands a chance, made from what the client has seen of the VM.
    void invent(Client& client) {
        const auto vm = some_vm();
        const auto& seen = client.seen[vm];
        auto& operation = client.operation;
        operation = {};
        const auto members_with = [&](const ReplicaId& one) {
            std::vector<ReplicaId> members{one};
            const auto other = some_replica();
            if (other != one) {
                members.push_back(other);
            }
            return members;
        };
        if (chance(reads(client) ? 0.8 : 0.1)) {
            operation.request = ReadOperation{vm};
        } else if (!seen) {
            const auto replica = some_replica();
            operation.request = FormRequest{vm, {0}, {1}, replica, {replica}};
        } else if (chance(0.5) && (seen->winner || seen->members.size() == 1)) {
            const auto owner = seen->winner.value_or(seen->members.front());
            operation.request = FormRequest{vm, seen->generation, seen->generation.next(), owner, members_with(owner)};
        } else {
            operation.request = TestAndSetRequest{vm, seen->generation, seen->members[below(seen->members.size())]};
        }
    }

    void next_operation(Client& client) {
        if (client.waiting || (client.done >= quota(client) && !healed_)) {
            if (!client.waiting) {  // look again once all is well
                after(milliseconds(100), [this, &client] { next_operation(client); });
            }
            return;
        }
        if (healed_ && client.done >= quota(client)) {
            if (client.number >= kVms || client.final_reads) {
                return;
            }
            client.final_reads = true;  // the first clients read every VM at the end
            client.operation = {};
            client.operation.request = ReadOperation{fmt::format("vm{}", client.number)};
        } else {
            invent(client);
        }
        client.waiting = true;
        client.operation.called = now_.count();
        client.attempts = 0;
        if (!std::holds_alternative<ReadOperation>(client.operation.request)) {
            ++client.sequence;
        }
        attempt(client);
    }

    void attempt(Client& client) {
        ++client.attempt;
        ++client.attempts;
        // Seldom it gives up; the operation may then happen at any later time.
        if (client.attempts > 12 && !healed_ && chance(0.2)) {
            finish(client, nullptr);
            return;
        }
        Request request{client.attempt, {}};
        if (const auto* read = std::get_if<ReadOperation>(&client.operation.request)) {
            request.body = ReadRequest{read->vm};
        } else {
            Submit submit{{7, client.number}, client.sequence, client.sequence, {}};
            if (const auto* form = std::get_if<FormRequest>(&client.operation.request)) {
                submit.operation = *form;
            } else {
                submit.operation = std::get<TestAndSetRequest>(client.operation.request);
            }
            request.body = std::move(submit);
        }
        if (reads(client) && chance(0.5)) {
            client.target = 1 + below(servers_.size());
        }
        const auto to = client.target;
        if (servers_.contains(to) && !chance(loss_now())) {
            const int copies = chance(repeat_now()) ? 2 : 1;
            for (int i = 0; i < copies; ++i) {
                after(between(microseconds(50), slowest_), [this, to, request, number = client.number] {
                    with_server(to, servers_[to].life, [&](Service& service) { service.request(number, request); });
                });
            }
        }
        const auto waiting_for = client.attempt;
        after(between(milliseconds(60), milliseconds(200)), [this, &client, waiting_for] {
            if (client.waiting && client.attempt == waiting_for) {
                client.target = 1 + below(servers_.size());
                attempt(client);
            }
        });
    }

    void take_reply(Client& client, const Reply& reply, NodeId from) {
        if (!client.waiting || reply.id != client.attempt) {
            // An answer to an earlier attempt at this same operation counts as well.
            const bool earlier = client.waiting && reply.id < client.attempt &&
                                 reply.id + static_cast<std::uint64_t>(client.attempts) > client.attempt;
            if (!earlier || std::holds_alternative<Redirect>(reply.body)) {
                return;
            }
        }
        if (const auto* redirect = std::get_if<Redirect>(&reply.body)) {
            const auto leader = redirect->leader;
            ++client.attempt;  // the timeout of that attempt is void
            client.target = leader != 0 && leader != from ? leader : 1 + below(servers_.size());
            after(between(milliseconds(1), milliseconds(30)), [this, &client, current = client.attempt] {
                if (client.waiting && client.attempt == current) {
                    attempt(client);
                }
            });
            return;
        }
        client.target = from;
        finish(client, &reply);
    }

    void finish(Client& client, const Reply* reply) {
        client.waiting = false;
        ++client.attempt;
        client.attempts = 0;
        ++client.done;
        auto& operation = client.operation;
        if (reply != nullptr) {
            if (const auto* answer = std::get_if<Answer>(&reply->body)) {
                check(answer->reason != Reason::superseded, "a client was told that it has an answer that it has not");
                operation.answer = *answer;
            } else if (const auto* read = std::get_if<ReadReply>(&reply->body)) {
                operation.answer.granted = true;
                operation.answer.current = read->state;
            } else {
                return;
            }
            operation.answered = now_.count();
            ++verdict_.operations;
        }
        const auto vm = std::visit([](const auto& request) { return request.vm; }, operation.request);
        if (reply != nullptr) {
            client.seen[vm] = operation.answer.current;
        }
        say("client {} {}", client.number, describe(operation));
        history_[vm].push_back(operation);
        const auto pause = reads(client) ? milliseconds(60) : milliseconds(150);
        after(between(milliseconds(1), pause), [this, &client] { next_operation(client); });
    }

    // -- invariants (paper, figure 3)

    void note_vote(const raft::Message& message) {
        const auto* reply = std::get_if<raft::VoteReply>(&message.body);
        if (reply == nullptr || !reply->granted || reply->pre_vote) {
            return;
        }
        const auto [it, first] = votes_.emplace(std::pair(reply->for_term, message.from), message.to);
        check(it->second == message.to, fmt::format("server {} voted for {} and for {} in term {}", message.from,
                                                    it->second, message.to, reply->for_term));
        if (first && kills_voters_ && !healed_ && chance(0.4)) {
            crash_soon(servers_[message.from], milliseconds(5));
        }
    }

    void note_applied(Index index, const Command& command, const Applied& applied) {
        const auto digest = digest_of(command.encode());
        const auto [it, first] = applied_.emplace(index, digest);
        check(it->second == digest, fmt::format("State Machine Safety: two commands were applied at index {}", index));
        if (applied.repeated) {
            return;
        }
        const std::pair key(command.client.low, command.sequence);
        const auto [execution, only] = executed_.emplace(key, index);
        check(execution->second == index, fmt::format("command {} of client {} was executed at index {} and at {}",
                                                      key.second, key.first, execution->second, index));
        if (const auto* test = std::get_if<TestAndSetRequest>(&command.operation); test && applied.answer.granted) {
            const auto [winner, alone] = winners_.emplace(std::pair(test->vm, test->generation), test->candidate);
            check(winner->second == test->candidate,
                  fmt::format("generation {} of {} has two winners, {} and {}", test->generation.value, test->vm,
                              winner->second, test->candidate));
        }
    }

    void check_invariants(Server& server) {
        const auto& node = server.service->node();
        const auto& log = node.log();
        const bool leads = node.role() == raft::Role::leader;
        if (leads) {
            const auto [it, first] = leaders_.emplace(node.term(), server.id);
            check(it->second == server.id,
                  fmt::format("Election Safety: {} and {} lead term {}", it->second, server.id, node.term()));
            if (first) {
                ++verdict_.elections;
                say("server {} leads term {}", server.id, node.term());
                check_completeness(server);
                if (kills_leaders_ && !healed_ && chance(0.7)) {
                    crash_soon(server,
                               std::array<Time, 3>{milliseconds(2), milliseconds(20), milliseconds(100)}[below(3)]);
                }
            }
            if (server.led_term == node.term()) {
                check(log.last_index() >= server.led_last, "Leader Append-Only: a leader's log became shorter");
            }
            server.led_last = log.last_index();
        }
        server.led_term = leads ? node.term() : 0;
        check_log(server);
        check(node.commit_index() >= server.commit, "a commit index went back");
        for (Index i = std::max(server.commit, log.base_index()) + 1; i <= node.commit_index(); ++i) {
            const auto term = log.term_at(i);
            check(term.has_value(), "what is committed is in the log");
            const auto [it, first] = committed_.emplace(i, Committed{*term, node.term()});
            check(it->second.term == *term,
                  fmt::format("State Machine Safety: entries {} of terms {} and {} are committed", i, it->second.term,
                              *term));
        }
        server.commit = node.commit_index();
    }

    // Log Matching, by induction: wherever an entry of this index and term stands, it is the same and follows on an
    // entry of the same term.
    void check_log(Server& server) {
        const auto& log = server.service->node().log();
        if (server.verified > log.last_index() || log.term_at(server.verified) != server.verified_term) {
            server.verified = log.base_index();
        }
        for (const auto& entry : log.range(server.verified + 1, log.last_index())) {
            const auto previous = log.term_at(entry.index - 1).value_or(0);
            const std::pair content(digest_of(entry.data), previous);
            const auto [it, first] = entries_.emplace(std::pair(entry.index, entry.term), content);
            check(it->second == content,
                  fmt::format("Log Matching: two entries {} of term {}", entry.index, entry.term));
        }
        server.verified = log.last_index();
        server.verified_term = log.last_term();
    }

    void check_completeness(const Server& server) const {
        const auto& log = server.service->node().log();
        const auto term = server.service->node().term();
        for (const auto& [index, entry] : committed_) {
            // A leader of an older term that learns late of its election need not have it.
            if (index > log.base_index() && term > entry.seen_in) {
                check(log.term_at(index) == entry.term,
                      fmt::format("Leader Completeness: leader {} of term {} lacks the committed entry {} of term {}",
                                  server.id, term, index, entry.term));
            }
        }
    }

    // -- the end

    [[nodiscard]] bool finished() const {
        if (!healed_) {
            return false;
        }
        return std::all_of(clients_.begin(), clients_.end(), [](const Client& client) {
            return !client.waiting && client.done >= quota(client) + (client.number < kVms ? 1 : 0);
        });
    }

    void judge() {
        check(finished(), "the cluster did not recover: operations are still without an answer");
        for (const auto& [id, server] : servers_) {
            if (server.service) {
                verdict_.snapshots_installed += server.service->counters().snapshots_installed;
            }
        }
        for (const auto& [vm, operations] : history_) {
            const auto trouble = not_linearizable(operations);
            check(trouble.empty(), fmt::format("{}: {}", vm, trouble));
        }
    }

    std::mt19937_64 random_;
    bool trace_;
    Time now_{0};
    std::uint64_t order_ = 0;
    std::priority_queue<Event> events_;
    Verdict verdict_;

    raft::Configuration bootstrap_;
    std::size_t spares_ = 0;
    std::map<NodeId, Server> servers_;
    std::deque<Client> clients_;
    std::set<std::pair<NodeId, NodeId>> cuts_;
    double loss_ = 0;
    double repeat_ = 0;
    double crash_rate_ = 0;
    Time slowest_{0};
    bool slow_disks_ = false;
    bool one_entry_ = false;
    bool kills_leaders_ = false;
    bool kills_voters_ = false;
    bool busy_operator_ = false;
    bool healed_ = false;
    Index snapshot_after_ = 0;
    Index trailing_ = 0;

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

}  // namespace

Verdict run_schedule(std::uint64_t seed, bool trace) {
    return Cluster(seed, trace).run();
}

}  // namespace understudy::arbiter::simulation
