// What goes wrong in the simulated cluster, and what its operator does meanwhile.
#include <algorithm>
#include <utility>
#include <vector>

#include "tests/simulation/arbiter/cluster.hpp"

namespace understudy::arbiter::simulation {
namespace {

using std::chrono::milliseconds;

}  // namespace

void Cluster::turmoil() {
    if (healed_) {
        return;
    }
    const auto id = 1 + below(servers_.size());
    auto& server = servers_[id];
    if (chance(crash_rate_)) {
        auto& victim = chance(0.5) && some_leader() ? servers_[*some_leader()] : server;
        if (victim.core) {
            crashed(victim);
        }
    } else if (chance(crash_rate_)) {
        server.disk->crash_after(static_cast<int>(1 + below(12)));
    } else if (chance(0.03)) {
        if (server.core) {
            server.disk->fail_after(static_cast<int>(1 + below(12)));
        }
    } else if (chance(0.03)) {
        say("all servers die at once");
        for (auto& [each, one] : servers_) {
            if (one.core) {
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
    if (loses_a_disk_ && chance(0.1)) {
        lose_a_disk();
    }
    if (chance(0.15)) {  // connections break; followers stand for election together
        for (auto& [each, one] : servers_) {
            with_server(each, one.life, [&](ServerCore& core) { core.peer_lost(core.node().leader()); });
        }
    }
    after(between(milliseconds(10), milliseconds(120)), [this] { turmoil(); });
}

// The operator adds, removes and transfers, through whichever leader it finds.
void Cluster::operate() {
    auto leader = some_leader();
    if (!leader) {
        return;
    }
    if (const auto other = 1 + below(servers_.size()); is_leader(other)) {
        leader = other;  // perhaps one that is deposed and does not know it
    }
    const auto target = 1 + below(servers_.size());
    const auto members = servers_[*leader].core->node().configuration();
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
    with_server(*leader, servers_[*leader].life, [&](ServerCore& core) { core.request(kClients, std::move(request)); });
}

// And whoever operates it starts the server again as on its first day. One in a schedule: the others are a majority.
void Cluster::lose_a_disk() {
    auto& server = servers_[1 + below(servers_.size())];
    if (!server.core) {
        return;
    }
    loses_a_disk_ = false;
    server.disk_was_lost = true;
    server.ever_started = false;
    crashed(server);
    server.disk = std::make_unique<MemoryDirectory>(random_);
    say("server {} has lost its disk", server.id);
}

void Cluster::heal() {
    say("everything heals");
    healed_ = true;
    cuts_.clear();
    slowest_ = std::min<Time>(slowest_, milliseconds(3));
    for (auto& [id, server] : servers_) {
        server.disk->crash_after(0);
        server.disk->fail_after(0);
        if (!server.core) {
            start(server);
        }
    }
}

void Cluster::partition() {
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

}  // namespace understudy::arbiter::simulation
