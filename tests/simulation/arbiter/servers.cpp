// The servers of the simulated cluster, and the messages between them.
#include <utility>

#include "common/error.hpp"
#include "tests/simulation/arbiter/cluster.hpp"

namespace understudy::arbiter::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Time kTick = milliseconds(20);

}  // namespace

ServerCoreOptions Cluster::options(const Server& server) {
    ServerCoreOptions options;
    options.raft.id = server.id;
    options.raft.seed = random_();
    options.raft.max_append_bytes = one_entry_ ? 1 : 600;
    options.raft.max_in_flight = 4;
    options.raft.snapshot_chunk = 300;
    if (!server.ever_started) {
        options.bootstrap = server.joins ? raft::Configuration{} : bootstrap_;
        options.incarnation = random_();
    }
    options.segment_bytes = 1500;
    options.snapshot_after = snapshot_after_;
    options.trailing = trailing_;
    return options;
}

// Whatever a server does may end in its death or in a full disk.
template <typename Action>
void Cluster::guarded(Server& server, Action action) {
    try {
        action();
    } catch (const SimulatedCrash&) {
        crashed(server);
    } catch (const Error& error) {
        say("server {} stops: {}", server.id, error.what());
        crashed(server);
    }
}

void Cluster::start(Server& server) {
    if (server.core) {
        return;
    }
    ++server.life;
    server.syncing = server.turn_scheduled = false;
    try {
        server.core = std::make_unique<ServerCore>(options(server), *server.disk, now_);
    } catch (const SimulatedCrash&) {
        crashed(server);
        return;
    } catch (const Error& error) {
        check(false, fmt::format("server {} refuses to start: {}", server.id, error.what()));
    }
    server.ever_started = true;
    server.commit = server.core->node().commit_index();
    server.verified = 0;
    server.led_term = 0;
    server.core->on_applied = [this](Index index, const Command& command, const Applied& applied) {
        note_applied(index, command, applied);
    };
    say("server {} starts, term {}, log {}..{}", server.id, server.core->node().term(),
        server.core->node().log().base_index(), server.core->node().log().last_index());
    tick(server.id, server.life);
}

void Cluster::tick(NodeId id, std::uint64_t life) {
    auto& server = servers_[id];
    if (server.life != life || !server.core) {
        return;
    }
    guarded(server, [&] {
        server.core->tick(now_);
        turn(server);
    });
    introduce(server);
    after(kTick, [this, id, life] { tick(id, life); });
}

void Cluster::crashed(Server& server) {
    ++server.life;
    ++verdict_.crashes;
    server.core.reset();
    if (chance(0.3)) {
        server.disk->outlive_server();
        say("server {} is down, its host is not", server.id);
    } else {
        server.disk->lose_unsynced();
        say("server {} is down", server.id);
    }
    const auto id = server.id;
    const auto longest = chance(0.4) ? milliseconds(10) : milliseconds(700);
    after(healed_ ? milliseconds(50) : between(milliseconds(1), longest), [this, id] {
        if (!healed_ && chance(0.1)) {
            servers_[id].disk->crash_after(static_cast<int>(1 + below(6)));  // dies again while it recovers
        }
        start(servers_[id]);
    });
}

void Cluster::crash_soon(Server& server, Time within) {
    after(between(microseconds(1), within), [this, id = server.id, life = server.life] {
        if (servers_[id].life == life && servers_[id].core && !healed_) {
            crashed(servers_[id]);
        }
    });
}

void Cluster::with_server(NodeId id, std::uint64_t life, const std::function<void(ServerCore&)>& action) {
    auto& server = servers_[id];
    if (server.life != life || !server.core) {
        return;
    }
    guarded(server, [&] {
        action(*server.core);
        // Often several events share one group commit.
        if (chance(0.5)) {
            turn(server);
        } else if (!server.turn_scheduled) {
            server.turn_scheduled = true;
            after(between(microseconds(1), microseconds(300)), [this, id, life] {
                auto& same = servers_[id];
                if (same.life == life && same.core) {
                    same.turn_scheduled = false;
                    guarded(same, [&] { turn(same); });
                }
            });
        }
    });
}

void Cluster::turn(Server& server) {
    auto& core = *server.core;
    dispatch(server, core.begin());
    check_invariants(server);
    if (core.write_pending() && !server.syncing) {
        core.write();
        server.syncing = true;
        const auto longest = slow_disks_ && chance(0.1) && !healed_ ? milliseconds(400) : milliseconds(2);
        after(between(microseconds(50), longest), [this, id = server.id, life = server.life] { synced(id, life); });
    }
    if (auto snapshot = core.take_snapshot_to_write()) {
        after(between(microseconds(100), milliseconds(50)), [this, snapshot, id = server.id, life = server.life] {
            auto& same = servers_[id];
            if (same.life == life && same.core) {
                guarded(same, [&] {
                    write_snapshot(*same.disk, *snapshot);
                    same.core->snapshot_written(snapshot);
                    turn(same);
                });
            }
        });
    }
}

void Cluster::synced(NodeId id, std::uint64_t life) {
    auto& server = servers_[id];
    if (server.life != life || !server.core) {
        return;
    }
    guarded(server, [&] {
        server.syncing = false;
        dispatch(server, server.core->complete());
        turn(server);
    });
}

// Says hello to the others until each has welcomed it.
void Cluster::introduce(Server& server) {
    if (!server.core || server.core->takes_part()) {
        return;
    }
    const auto id = server.id;
    const auto life = server.life;
    const auto incarnation = server.core->incarnation();
    for (const auto& [other, member] : server.core->node().configuration().members) {
        if (other == id || cut(id, other) || cut(other, id) || chance(loss_now())) {
            continue;
        }
        after(between(microseconds(50), slowest_), [this, id, life, incarnation, other = other] {
            with_server(other, servers_[other].life, [&](ServerCore& core) {
                if (!core.admits(id, incarnation)) {
                    return;
                }
                after(between(microseconds(50), slowest_), [this, id, life, other, theirs = core.incarnation()] {
                    with_server(id, life, [&](ServerCore& mine) {
                        mine.admitted_by(other);
                        static_cast<void>(mine.admits(other, theirs));
                    });
                });
            });
        });
    }
}

void Cluster::dispatch(Server& server, const Outgoing& outgoing) {
    for (const auto& message : outgoing.messages) {
        note_vote(message);
        if (cut(message.from, message.to) || chance(loss_now())) {
            continue;
        }
        const int copies = chance(repeat_now()) ? 2 : 1;
        for (int i = 0; i < copies; ++i) {
            const auto to = message.to;
            const auto shared = std::make_shared<raft::Message>(message);
            after(between(microseconds(50), slowest_), [this, to, shared, incarnation = server.core->incarnation()] {
                const auto it = servers_.find(to);
                if (it != servers_.end()) {
                    with_server(to, it->second.life, [&](ServerCore& core) {
                        if (core.admits(shared->from, incarnation)) {
                            core.receive(*shared);
                        }
                    });
                }
            });
        }
    }
    for (const auto& [connection, reply] : outgoing.replies) {
        if (connection >= kClients || chance(loss_now())) {
            continue;  // the operator does not wait
        }
        const auto shared = std::make_shared<Reply>(reply);
        after(between(microseconds(50), slowest_),
              [this, number = connection, shared, from = server.id] { take_reply(clients_[number], *shared, from); });
    }
}

bool Cluster::is_leader(NodeId id) {
    return servers_[id].core && servers_[id].core->node().role() == raft::Role::leader;
}
std::optional<NodeId> Cluster::some_leader() {
    std::optional<NodeId> found;
    for (auto& [id, server] : servers_) {
        if (is_leader(id) && (!found || server.core->node().term() > servers_[*found].core->node().term())) {
            found = id;
        }
    }
    return found;
}

}  // namespace understudy::arbiter::simulation
