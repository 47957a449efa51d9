#include "tests/simulation/hypervisor/replication/schedule.hpp"

#include <algorithm>

namespace understudy::replication::simulation {
namespace {

using std::chrono::milliseconds;

// Faults come until here, then everything heals.
constexpr Time kFaultsEnd = std::chrono::seconds(4);
constexpr Time kEnd = std::chrono::seconds(8);
constexpr Time kLastRequest = std::chrono::seconds(3);

}  // namespace

Setting Schedule::setting_by(Chance& chance) {
    Setting setting;
    if (chance.one_in(6)) {
        setting.guest_ends_at = StopNumber{100 + chance.below(1500)};
    }
    setting.drops_old_voices = chance.one_in(2);
    setting.arbiter_is_orderly = chance.one_in(2);
    if (!setting.arbiter_is_orderly) {
        // Who gives up while a question of its own is still under way may win after its end.
        setting.roles.unformed_deadline = std::chrono::seconds(5);
    }
    ReplicaLimits& limits = setting.limits;
    limits.stall = chance.one_in(2) ? milliseconds(200) : milliseconds(500);
    limits.freeze = chance.one_in(2) ? milliseconds(300) : milliseconds(1000);
    if (chance.one_in(3)) {  // so narrow that everything runs into them
        limits.window.unacknowledged.value = kRecordSize.value * (5 + chance.below(40));
        limits.window.unreplayed.value = kRecordSize.value * (20 + chance.below(200));
        limits.window.unreplayed_records = 20 + chance.below(200);
        limits.window.in_transfer = 1 + static_cast<unsigned>(chance.below(8));
        limits.held_outputs.value = 8 * chance.below(chance.one_in(2) ? 3 : 40);
        limits.close_behind.value = kRecordSize.value * chance.below(4);
        limits.close_behind_time = chance.between(Time(0), milliseconds(10));
        limits.catch_up = chance.between(milliseconds(20), milliseconds(400));
    }
    return setting;
}

Result Schedule::run() {
    world_.start_primary();
    world_.after(milliseconds(50), [this] { invite(); });
    world_.after(until_next_fault(), [this] { strike(); });
    world_.watch([this](Replica& replica) { strike_soon(replica); });
    sleepy_ = chance_.one_in(5);
    if (sleepy_) {
        chance_.let_it_sleep();
        ask_the_guest();
    }
    if (chance_.one_in(10)) {  // somebody starts the same VM elsewhere
        world_.after(chance_.between(Time(0), milliseconds(1000)), [this] { world_.start_primary(); });
    }
    if (chance_.one_in(20)) {
        lose_arbiter();
    }
    world_.run_until(kFaultsEnd);
    heal();
    world_.run_until(kEnd);
    if (world_.violation().empty()) {
        check_end();
    }
    Tally& tally = world_.tally();
    tally.outputs = world_.network().outputs();
    tally.contradicted_ends = world_.network().ended_twice() ? 1 : 0;
    if (const auto vm = world_.arbiter().state()) {
        tally.generations = vm->generation.value;
    }
    return {world_.violation(), tally, world_.trace().take()};
}

void Schedule::invite() {
    const auto acting = std::ranges::count_if(world_.replicas(),
                                              [](const auto& r) { return r->acts() && r->role() != Role::deciding; });
    if (acting < 2 || (acting == 2 && chance_.one_in(10))) {
        std::vector<Replica*> hosts;
        for (const auto& replica : world_.replicas()) {
            if (replica->acts() && replica->welcomed()) {
                hosts.push_back(replica.get());
            }
        }
        if (!hosts.empty()) {
            world_.start_backup(*hosts[chance_.below(hosts.size())]);
        }
    }
    world_.after(chance_.between(milliseconds(50), milliseconds(200)), [this] { invite(); });
}

void Schedule::ask_the_guest() {
    for (const auto& replica : world_.replicas()) {
        replica->execute([&replica = *replica] { replica.wake_guest(); });
    }
    if (world_.now() < kLastRequest) {
        world_.after(chance_.between(milliseconds(10), milliseconds(400)), [this] { ask_the_guest(); });
    }
}

bool Schedule::somebody_is(Role role) const {
    return std::ranges::any_of(world_.replicas(), [&](const auto& r) { return r->acts() && r->role() == role; });
}

// Whose guest hangs for good, which may have begun before it went live, does not.
bool Schedule::somebody_speaks() const {
    return std::ranges::any_of(world_.replicas(), [](const auto& r) {
        const Role role = r->role();
        return r->acts() && !r->hangs() && (role == Role::solo || role == Role::forming || role == Role::leading);
    });
}

// At those who speak.
std::optional<Time> Schedule::held_since() const {
    std::optional<Time> oldest;
    for (const auto& replica : world_.replicas()) {
        if (const auto since = replica->holds_since(); replica->acts() && since) {
            oldest = std::min(*since, oldest.value_or(*since));
        }
    }
    return oldest;
}

void Schedule::check_end() {
    if (world_.ended_at()) {
        return check_over();
    }
    if (!world_.network().has_a_voice()) {
        world_.tally().unclaimed = 1;
        return;
    }
    const bool speaks = somebody_speaks();
    if (!speaks && !careful_) {
        world_.tally().lost = 1;
    } else if (!speaks) {
        world_.violate("nobody speaks for the guest, though it was never without a second replica when one was killed");
    } else if (!sleepy_ && world_.now() - world_.network().last_heard_at() > milliseconds(500)) {
        world_.violate("the guest does not go on");
    } else if (const auto since = held_since(); since && world_.now() - *since > milliseconds(500)) {
        world_.violate("what the guest said is held for no reason");
    } else if (!somebody_is(Role::leading) || !somebody_is(Role::following)) {
        world_.violate("no pair has formed though nothing fails any more");
    } else if (const StopNumber stop = world_.network().swallowed(); stop.value > 0) {
        world_.violate("what the guest said at stop {} was never heard", stop.value);
    }
}

// Those who were not there when the guest ended had time to learn of it.
void Schedule::check_over() {
    const auto lives = [](const auto& r) { return r->acts() && r->welcomed() && !r->hangs(); };
    const Time to_learn = std::chrono::seconds(1) + world_.setting().roles.unformed_deadline;
    if (world_.now() - std::max(*world_.ended_at(), kFaultsEnd) > to_learn &&
        std::ranges::any_of(world_.replicas(), lives)) {
        world_.violate("the guest ended, and a replica lives on");
    }
}

Result simulate(std::uint64_t seed, Detail told) {
    return Schedule(seed, told).run();
}

}  // namespace understudy::replication::simulation
