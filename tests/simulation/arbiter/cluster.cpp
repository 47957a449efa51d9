#include "tests/simulation/arbiter/cluster.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace understudy::arbiter::simulation {
namespace {

using std::chrono::milliseconds;

constexpr Time kTurmoil = milliseconds(2500);   // faults happen until then
constexpr Time kRecovery = milliseconds(6000);  // then everything heals, and by then all must be well

}  // namespace

Verdict Cluster::run() {
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
    } catch (const std::logic_error& broken) {  // require
        verdict_.violation = std::string("assertion: ") + broken.what();
    }
    return verdict_;
}

void Cluster::set_up() {
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
    loses_a_disk_ = chance(0.3);
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
    if (loses_a_disk_ && chance(0.5)) {
        partition();  // they do not all meet at once
    }
    at(milliseconds(200), [this] { turmoil(); });
    at(kTurmoil, [this] { heal(); });
}

bool Cluster::finished() const {
    if (!healed_) {
        return false;
    }
    return std::all_of(clients_.begin(), clients_.end(), [](const Client& client) {
        return !client.waiting && client.done >= quota(client) + (client.number < kVms ? 1 : 0);
    });
}

void Cluster::judge() {
    check(finished(), "the cluster did not recover: operations are still without an answer");
    for (const auto& [id, server] : servers_) {
        if (server.core) {
            verdict_.snapshots_installed += server.core->counters().snapshots_installed;
        }
    }
    for (const auto& [vm, operations] : history_) {
        const auto trouble = not_linearizable(operations);
        check(trouble.empty(), fmt::format("{}: {}", vm, trouble));
    }
}

Verdict run_schedule(std::uint64_t seed, bool trace) {
    return Cluster(seed, trace).run();
}

}  // namespace understudy::arbiter::simulation
