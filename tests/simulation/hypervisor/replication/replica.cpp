#include "tests/simulation/hypervisor/replication/replica.hpp"

#include <algorithm>
#include <utility>

#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {
namespace {

using std::chrono::milliseconds;

constexpr Time kTick = milliseconds(10);

}  // namespace

// --- The process ----------------------------------------------------------------------------------------------------

void Replica::claim() {
    begin(RoleMachine::claim(world_.setting().roles_of(id_)));
}

void Replica::begin(RoleMachine roles) {
    core_.emplace(*this, std::move(roles), world_.setting().limits);
    core_->start();
    tick();
}

void Replica::execute(std::function<void()> what, Cause cause) {
    if (!acts()) {
        return;
    }
    if (stopped_) {
        missed_.push_back({std::move(what), cause});
    } else {
        what();
        tell_gate();
    }
}

void Replica::kill(bool with_its_host) {
    close_end(with_its_host);
    alive_ = false;
}

void Replica::stop() {
    if (!std::exchange(stopped_, true)) {
        absences_.emplace_back(world_.now(), world_.now());
    }
}

bool Replica::was_absent_at(Time time) const {
    return std::ranges::any_of(absences_, [&](const auto& absence) {
        const auto [from, to] = absence;
        return to - from > world_.setting().limits.absence && from <= time && time <= to;
    });
}

void Replica::resume() {
    if (!std::exchange(stopped_, false)) {
        return;
    }
    absences_.back().second = world_.now();
    auto missed = std::exchange(missed_, {});
    if (world_.pace().connections_first()) {
        std::stable_partition(missed.begin(), missed.end(),
                              [](const Missed& m) { return m.cause == Cause::connection; });
    }
    for (Missed& one : missed) {
        execute(std::move(one.what), one.cause);
    }
}

void Replica::tick() {
    if (core_->follows() && link_) {
        drain();
        flush();
    }
    core_->tick();
    world_.after(kTick, *this, [this] { tick(); });
}

void Replica::tell_gate() {
    if (core_ && !core_->follows() && std::exchange(gate_told_open_, core_->gate_is_open()) != gate_told_open_) {
        world_.note(Detail::messages, id_, "{} its gate", gate_told_open_ ? "opens" : "closes");
    }
}

// --- What the core wants done ---------------------------------------------------------------------------------------

Time Replica::now() const {
    return world_.now();
}

void Replica::ask(std::uint64_t ticket, const arbiter::FormRequest& request) {
    tell_gate();
    world_.arbiter().ask(*this, request, answer_for(ticket));
}

void Replica::ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) {
    tell_gate();
    world_.arbiter().ask(*this, request, answer_for(ticket));
}

std::function<void(const arbiter::Outcome&)> Replica::answer_for(std::uint64_t ticket) {
    return [this, ticket](const arbiter::Outcome& outcome) { core_->arbiter_answered(ticket, outcome); };
}

void Replica::speak(SpeakerRank rank) {
    world_.note(Detail::messages, id_, "is the guest's voice, rank {}{}", rank.generation.value,
                rank.won ? " (won)" : "");
    world_.network().announced(*this, rank);
}

void Replica::release(const std::vector<Output>& outputs) {
    tell_gate();
    for (const Output& output : outputs) {
        const StopNumber stop = Guest::stop_of(output);
        world_.note(Detail::messages, id_, "releases what was said at stop {}", stop.value);
        while (!said_.empty() && said_.front().first <= stop) {
            said_.pop_front();
        }
        ++passage_.given;
        leaving_.push_back(stop);
    }
    // A tap takes everything at once.
    const Time delay = world_.setting().drops_old_voices ? world_.pace().leaving() : Time(0);
    if (passage_.given - passage_.gone > outputs.size()) {
        return;  // behind what waits already
    }
    if (delay == Time(0)) {
        leave();
    } else {
        world_.after(delay, *this, [this] { leave(); });
    }
}

// A gateway has hung up on who was deposed.
void Replica::leave() {
    const bool heard = !world_.network().hangs_up_on(*this);
    for (const StopNumber stop : std::exchange(leaving_, {})) {
        ++passage_.gone;
        if (heard) {
            world_.network().hear(*this, stop);
        }
    }
}

void Replica::show_role(Role role, Generation /*generation*/, const std::string& reason) {
    tell_gate();
    role_since_ = shown_role_ == role ? role_since_ : world_.now();
    world_.show_role(*this, std::exchange(shown_role_, role), reason);
}

void Replica::terminate(const action::Terminate& end) {
    world_.terminated(*this, end);
    const bool guest_ended = end.reason == action::Terminate::Reason::guest_ended;
    if (guest_ended) {
        send(GoodbyeMessage{end.explanation});
    }
    close_end(guest_ended && link_ && world_.pace().dies_after_goodbye());
    ended_ = true;
}

}  // namespace understudy::replication::simulation
