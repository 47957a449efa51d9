// A replica's vCPU: the guest, lived or replayed, stop by stop.
#include <cstring>
#include <utility>

#include "hypervisor/replication/decision/mutation.hpp"
#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {
namespace {

std::vector<std::byte> bytes_of(std::uint64_t value) {
    std::vector<std::byte> bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

std::uint64_t value_of(const std::vector<std::byte>& bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

}  // namespace

// --- As the one who lives -------------------------------------------------------------------------------------------

void Replica::start_guest() {
    lives_ = true;
    step_after(world_.pace().running());
}

// Behind a mark the stop's input is this replica's to give; what was said there does not wait for it.
void Replica::go_live() {
    if (exited_) {
        return;
    }
    if (!guest_.at_mark()) {
        return start_guest();
    }
    lives_ = true;
    Record record;
    record.stop.number = guest_.stop();
    if (!said_at_mark_.empty() && record.stop.number > released_by_primary_) {
        said_.emplace_back(record.stop.number, world_.now());
    }
    idle(std::move(record), std::exchange(said_at_mark_, {}));
}

// Whatever step was due before is not any more.
void Replica::step_after(Time delay) {
    world_.after(delay, *this, [this, turn = ++turn_] {
        if (turn == turn_) {
            step();
        }
    });
}

void Replica::wake_guest() {
    if (lives_ && guest_.at_mark()) {
        step_after(Time(0));
    } else {
        poked_ = true;
    }
}

void Replica::hold_guest(bool held) {
    held_ = held;
    if (!held && std::exchange(waits_for_release_, false)) {
        step_after(world_.pace().running());
    }
}

// Held is only who has left the last stop behind: not a guest that waits for its input there.
void Replica::step() {
    if (hangs_) {
        hanging_.push_back(&Replica::step);
    } else if (exited_ && !held_) {
        guest_ends();
    } else if (guest_.at_mark()) {
        Record record;
        record.stop.number = guest_.stop();
        complete(std::move(record), {});
    } else if (held_) {
        waits_for_release_ = true;
    } else {
        stop_next();
    }
}

// What the guest does until then follows from nothing that a backup knows: the copy has it.
void Replica::stop_by_interrupt(std::uint64_t parts) {
    Record record;
    const std::uint64_t choice = world_.pace().input();
    guest_.live(choice);
    record.stop.number = guest_.stop();
    record.stop.kind = StopKind::interrupt;
    record.stop.argument = parts;
    record.delta = std::make_shared<Delta>(Delta{bytes_of(choice), {}});
    std::vector<Output> outputs = guest_.outputs();
    if (!outputs.empty()) {
        said_.emplace_back(record.stop.number, world_.now());
    }
    world_.note(Detail::messages, id_, "guest: stop {}{}, copied in {} parts", record.stop.number.value,
                outputs.empty() ? "" : ", speaks", parts);
    for (; parts > 0; --parts) {
        hand_over(CopiedPart{}, true);
    }
    complete(std::move(record), std::move(outputs));
}

void Replica::stop_next() {
    const bool may_be_interrupted = guest_.stop().next() != world_.setting().guest_ends_at;
    if (const auto parts = may_be_interrupted ? world_.pace().copied_parts() : std::nullopt) {
        return stop_by_interrupt(*parts);
    }
    Record record;
    record.stop.argument = world_.pace().input();
    guest_.live(record.stop.argument);
    record.stop.number = guest_.stop();
    std::vector<Output> outputs = guest_.outputs();
    if (!outputs.empty()) {
        said_.emplace_back(record.stop.number, world_.now());
    }
    exited_ = record.stop.number == world_.setting().guest_ends_at;
    record.stop.kind = exited_ ? StopKind::exit : StopKind::idle;
    const bool idles = !exited_ && world_.pace().idles_next();
    world_.note(Detail::messages, id_, "guest: stop {}{}{}{}", record.stop.number.value,
                outputs.empty() ? "" : ", speaks", idles ? ", idles" : "", exited_ ? ", exits" : "");
    if (idles) {
        idle(std::move(record), std::move(outputs));
    } else {
        complete(std::move(record), std::move(outputs));
    }
}

void Replica::idle(Record record, std::vector<Output> outputs) {
    if (!outputs.empty()) {
        record.digests.outputs = 1;
    }
    record.mark = own_mark_ = true;
    hand_over(Recorded{record, std::move(outputs), false}, true);
    if (const auto idling = std::exchange(poked_, false) ? Time(0) : world_.pace().idling()) {
        step_after(*idling);
    } else {
        world_.at_a_tender_moment(*this);
    }
}

void Replica::complete(Record record, std::vector<Output> outputs) {
    if (!outputs.empty()) {
        record.digests.outputs = 1;
    }
    const std::uint64_t input = world_.pace().input();
    record.input.answer = bytes_of(input);
    record.input.clock = world_.now();
    guest_.live(input);
    hand_over(Recorded{std::move(record), std::move(outputs), std::exchange(own_mark_, false)}, true);
    if (std::exchange(wants_snapshot_, false)) {
        hand_over(Snapshot{guest_}, true);
    }
    step_after(world_.pace().running());
}

// Its thread is done; what it handed over comes before that.
void Replica::guest_ends() {
    lives_ = false;
    world_.at_a_tender_moment(*this);
    world_.after(world_.pace().handover(), *this, [this] {
        drain();
        core_->guest_over();
    });
}

// --- As the one who follows -----------------------------------------------------------------------------------------

void Replica::begin_replay() {
    if (!std::exchange(replaying_, true)) {
        world_.after(world_.pace().replaying_a_record(), *this, [this] { replay(); });
    }
}

void Replica::end_log() {
    if (mutated(Mutation::go_live_undrained)) {
        log_.clear();
    }
    log_ended_ = true;
    begin_replay();
}

void Replica::replay() {
    if (hangs_) {
        hanging_.push_back(&Replica::replay);
        return;
    }
    if (!log_.empty()) {
        replay_a_record();
        if (exited_) {
            guest_ends();  // and replays nothing more
        } else {
            world_.after(world_.pace().replaying_a_record(), *this, [this] { replay(); });
        }
        return;
    }
    replaying_ = false;
    if (std::exchange(log_ended_, false)) {
        world_.after(world_.pace().handover(), *this, [this] {
            drain();
            core_->log_drained();
        });
    }
}

void Replica::replay_a_record() {
    const Record record = std::move(log_.front());
    log_.pop_front();
    if (!guest_.at_mark()) {
        guest_.live(record.delta ? value_of(record.delta->processor) : record.stop.argument);
        said_at_mark_ = guest_.outputs();
    }
    exited_ = record.stop.kind == StopKind::exit;
    world_.note(Detail::messages, id_, "guest: replays {} {}", record.mark ? "mark" : "record",
                record.stop.number.value);
    if (!record.mark) {
        guest_.live(value_of(record.input.answer));
        hand_over(Replayed{record.stop.number, record.input.clock, std::exchange(said_at_mark_, {})}, false);
    }
}

void Replica::go_on() {
    hangs_ = false;
    for (const auto what : std::exchange(hanging_, {})) {
        execute([this, what] { (this->*what)(); });
    }
}

// --- What is handed over --------------------------------------------------------------------------------------------

void Replica::hand_over(Handover item, bool wake) {
    outbox_.push_back(std::move(item));
    if (wake && !std::exchange(woken_, true)) {
        world_.after(world_.pace().handover(), *this, [this] { drain(); });
    }
}

void Replica::drain() {
    woken_ = false;
    for (Handover& item : std::exchange(outbox_, {})) {
        std::visit([this](auto& handed) { hand(handed); }, item);
        if (std::holds_alternative<CopiedPart>(item)) {
            core_->handed_over();
        }
    }
    core_->handed_over();
}

void Replica::hand(Recorded& recorded) {
    core_->recorded(recorded.record, std::move(recorded.outputs), recorded.completes_mark);
}

void Replica::hand(Replayed& replayed) {
    core_->replayed(replayed.stop, replayed.clock, std::move(replayed.outputs));
}

void Replica::hand(CopiedPart& part) {
    if (core_->has_log()) {
        queued_.emplace_back(part);
        ++parts_sent_;
    }
}

void Replica::hand(Snapshot& snapshot) {
    if (!core_->snapshot_taken(snapshot.guest.stop())) {
        return;
    }
    if (world_.pace().snapshot_fails()) {
        core_->peer_lost("no memory is left to keep the guest's state");
        return;
    }
    state_ = std::move(snapshot.guest);
    send_state(link_, world_.pace().parts_of_the_state() - 1);
}

}  // namespace understudy::replication::simulation
