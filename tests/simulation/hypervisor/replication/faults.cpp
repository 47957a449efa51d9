// What goes wrong by chance.
#include <algorithm>

#include "tests/simulation/hypervisor/replication/schedule.hpp"

namespace understudy::replication::simulation {

using std::chrono::milliseconds;

Time Schedule::until_next_fault() {
    return chance_.between(milliseconds(5), milliseconds(1200) / static_cast<int>(agitation_));
}

void Schedule::strike() {
    if (healed_) {
        return;
    }
    world_.after(until_next_fault(), [this] { strike(); });
    std::vector<Replica*> acting;
    for (const auto& replica : world_.replicas()) {
        if (replica->acts()) {
            acting.push_back(replica.get());
        }
    }
    if (acting.empty()) {
        return;
    }
    strike_at(*acting[chance_.below(acting.size())]);
}

void Schedule::strike_soon(Replica& victim) {
    if (!healed_ && chance_.one_in(10)) {
        const Time most = chance_.one_in(3) ? milliseconds(0) : milliseconds(3);
        world_.after(chance_.between(Time(0), most), [this, &victim] {
            if (victim.acts() && !healed_) {
                strike_at(victim);
            }
        });
    }
}

void Schedule::strike_at(Replica& victim) {
    switch (chance_.below(9)) {
        case 0:
        case 1:
            return kill(victim);
        case 2:
            return stop(victim);
        case 3:
            return hang(victim);
        case 4:
            return lose_arbiter();
        case 5:
            return reset();
        case 6:
            return be_late(victim, 1 + chance_.below(20));
        default:
            return cut();
    }
}

// Careful schedules kill nobody whom the VM cannot do without: not who owns it; of a pair only one, if the other surely
// goes on; and nobody whose question is under way, for it may win when it is dead.
bool Schedule::may_kill(const Replica& victim) const {
    if (!careful_) {
        return true;
    }
    const auto vm = world_.arbiter().state();
    const bool is_settled = vm && vm->winner && vm->generation >= victim.generation();
    if (!vm || vm->winner == victim.id() || (victim.role() == Role::deciding && !is_settled)) {
        return false;
    }
    const auto is_member = [&](const Replica& r) {
        return std::ranges::find(vm->members, r.id()) != vm->members.end();
    };
    return vm->winner || !is_member(victim) || std::ranges::any_of(world_.replicas(), [&](const auto& other) {
               return other.get() != &victim && is_member(*other) && will_decide(*other);
           });
}

// Not who may just give up, because it was told so often that there is no such pair.
bool Schedule::will_decide(const Replica& member) const {
    switch (member.role()) {
        case Role::forming:
        case Role::leading:
        case Role::following:
            return member.acts();
        case Role::deciding:
            return member.acts() && world_.now() - member.role_since() < world_.setting().roles.unformed_deadline / 2;
        default:
            return false;
    }
}

void Schedule::kill(Replica& victim) {
    if (may_kill(victim)) {
        world_.kill(victim, chance_.one_in(2));
    }
}

void Schedule::stop(Replica& victim) {
    if (!victim.stopped()) {
        world_.stop(victim);
        const Time most = chance_.one_in(3) ? milliseconds(1500) : milliseconds(200);
        world_.after(chance_.between(milliseconds(5), most), [this, &victim] { world_.resume(victim); });
    }
}

// Now and then for good, where the VM need not survive it.
void Schedule::hang(Replica& victim) {
    if (!victim.hangs()) {
        world_.hang(victim);
        const bool for_good = !careful_ && victim.follows() && chance_.one_in(3);
        if (!for_good) {
            world_.after(chance_.between(milliseconds(20), milliseconds(1500)),
                         [this, &victim] { world_.go_on(victim); });
        }
    }
}

void Schedule::lose_arbiter() {
    if (world_.arbiter().has_majority()) {
        world_.lose_arbiter();
        const Time most = chance_.one_in(6) ? milliseconds(3000) : milliseconds(800);
        world_.after(chance_.between(milliseconds(20), most), [this] { world_.regain_arbiter(); });
    }
}

void Schedule::cut() {
    for (const auto& link : world_.links()) {
        if (!(link->open[0] && link->open[1])) {
            continue;
        }
        const auto which = chance_.below(3);
        const Time most = chance_.one_in(2) ? milliseconds(90) : milliseconds(1500);
        const Time length = chance_.between(milliseconds(5), most);
        for (std::size_t to = 0; to < 2; ++to) {
            if (which == to || which == 2) {
                world_.cut(link, to);
                world_.after(length, [this, link, to] { world_.mend(link, to); });
            }
        }
    }
}

// Both live, and may hear of it at the same time.
void Schedule::reset() {
    for (const auto& link : world_.links()) {
        if (link->open[0] && link->open[1] && chance_.one_in(2)) {
            world_.reset(link, chance_.below(2), chance_.one_in(2));
        }
    }
}

// A host so busy that the process hardly runs.
void Schedule::be_late(Replica& victim, std::uint64_t times) {
    if (times == 0 || healed_ || !victim.acts() || victim.stopped()) {
        return;
    }
    world_.stop(victim);
    world_.after(chance_.between(milliseconds(30), milliseconds(120)), [this, &victim, times] {
        world_.resume(victim);
        world_.after(chance_.between(milliseconds(1), milliseconds(20)),
                     [this, &victim, times] { be_late(victim, times - 1); });
    });
}

void Schedule::heal() {
    healed_ = true;
    chance_.calm_down();
    world_.note(Detail::course, "", "no more faults");
    world_.regain_arbiter();
    for (const auto& link : world_.links()) {
        world_.mend(link, 0);
        world_.mend(link, 1);
    }
    for (std::size_t i = 0; i < world_.replicas().size(); ++i) {
        world_.resume(*world_.replicas()[i]);
    }
}

}  // namespace understudy::replication::simulation
