// What goes wrong in the simulated world.
#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {

using std::chrono::milliseconds;

Time World::next_fault() {
    return between(milliseconds(5), milliseconds(1200) / static_cast<int>(agitation_));
}

void World::strike() {
    if (now_ >= kFaultsEnd) {
        return;
    }
    after(next_fault(), [this] { strike(); });
    std::vector<Replica*> acting;
    for (const auto& replica : replicas_) {
        if (replica->acts()) {
            acting.push_back(replica.get());
        }
    }
    if (acting.empty()) {
        return;
    }
    Replica& victim = *acting[below(acting.size())];
    switch (below(6)) {
        case 0:
        case 1:
            return kill(victim);
        case 2:
            return stop(victim);
        case 3:
            return stop_arbiter();
        default:
            return cut();
    }
}

// Careful schedules kill only where the VM must survive: one of a formed pair, neither of which has begun to decide.
bool World::may_kill(const Replica& victim) const {
    if (!careful_) {
        return true;
    }
    bool leads = false;
    bool follows = false;
    for (const auto& replica : replicas_) {
        if (replica->acts() && replica->welcomed() && vm_ && replica->generation() == vm_->state.generation) {
            leads = leads || replica->role() == Role::leading;
            follows = follows || replica->role() == Role::following;
        }
    }
    return leads && follows && !vm_->state.winner &&
           (victim.role() == Role::leading || victim.role() == Role::following);
}

void World::kill(Replica& victim) {
    if (!may_kill(victim)) {
        return;
    }
    ++result_.kills;
    const bool host = one_in(2);
    tell("KILL {} ({}, {})", victim.id(), name(victim.role()), host ? "with its host" : "the process");
    victim.kill(host);
}

void World::stop(Replica& victim) {
    if (victim.stopped()) {
        return;
    }
    tell("STOP {} ({})", victim.id(), name(victim.role()));
    victim.stop();
    after(between(milliseconds(5), one_in(3) ? milliseconds(1500) : milliseconds(200)),
          [this, &victim] { resume(victim); });
}

void World::resume(Replica& victim) {
    if (victim.stopped()) {
        tell("CONT {}", victim.id());
        victim.resume();
    }
}

void World::stop_arbiter() {
    if (arbiter_down_) {
        return;
    }
    tell("arbiter down");
    arbiter_down_ = true;
    after(between(milliseconds(20), milliseconds(800)), [this] { arbiter_down_ = false; });
}

void World::cut() {
    for (const auto& weak : links_) {
        const auto link = weak.lock();
        if (!link || !(link->open[0] && link->open[1])) {
            continue;
        }
        const auto which = below(3);
        const Time length = between(milliseconds(5), one_in(2) ? milliseconds(90) : milliseconds(1500));
        for (std::size_t to = 0; to < 2; ++to) {
            if (which == to || which == 2) {
                tell("CUT towards {}", link->ends[to]->id());
                link->towards[to].cut = true;
                after(length, [this, link, to] { mend(link, to); });
            }
        }
    }
}

void World::mend(const std::shared_ptr<Link>& link, std::size_t to) {
    auto& way = link->towards[to];
    if (!std::exchange(way.cut, false)) {
        return;
    }
    for (auto& message : std::exchange(way.stuck, {})) {
        arrive(link, to, std::move(message), 0);
    }
}

void World::heal() {
    healed_ = true;
    arbiter_down_ = false;
    tell("no more faults");
    for (const auto& weak : links_) {
        if (const auto link = weak.lock()) {
            mend(link, 0);
            mend(link, 1);
        }
    }
    for (std::size_t i = 0; i < replicas_.size(); ++i) {
        resume(*replicas_[i]);
    }
}

}  // namespace understudy::replication::simulation
