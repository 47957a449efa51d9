#include "tests/simulation/hypervisor/replication/replica.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "hypervisor/replication/decision/mutation.hpp"
#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Time kTick = milliseconds(10);
constexpr Time kHeartbeat = milliseconds(25);
constexpr Bytes kRecordSize{40};

ReplicaLimits limits() {
    ReplicaLimits limits;
    limits.transfer_suspicion = milliseconds(300);
    limits.held_outputs = Bytes{2000};
    limits.unreported = Bytes{10 * kRecordSize.value};
    return limits;
}

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

// --- The process ----------------------------------------------------------------------------------------------------

void Replica::claim() {
    core_.emplace(*this, RoleMachine::claim({kVm, id_}), limits());
    core_->start();
    tick();
}

void Replica::execute(std::function<void()> what) {
    if (!acts()) {
        return;
    }
    if (stopped_) {
        missed_.push_back(std::move(what));
    } else {
        what();
    }
}

void Replica::kill(bool with_its_host) {
    close_end(with_its_host);
    alive_ = false;
}

void Replica::resume() {
    if (std::exchange(stopped_, false)) {
        for (auto& what : std::exchange(missed_, {})) {
            execute(std::move(what));
        }
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

// --- The vCPU -------------------------------------------------------------------------------------------------------

void Replica::step() {
    if (lives_ && !held_) {
        record(world_.one_in(3));
        if (!guest_.at_mark() && std::exchange(wants_snapshot_, false)) {
            hand_over(Snapshot{guest_}, true);
        }
    }
    world_.after(world_.between(microseconds(500), milliseconds(5)), *this, [this] { step(); });
}

// The next stop, up to its mark only if so wanted; or, at a mark, what completes it.
void Replica::record(bool mark_only) {
    const bool completes = guest_.at_mark();
    Record record;
    std::vector<Output> outputs = std::exchange(said_at_mark_, {});
    if (!completes) {
        record.stop.argument = world_.draw();
        guest_.live(record.stop.argument);
        outputs = guest_.outputs();
    }
    if (!outputs.empty()) {
        record.digests.outputs = 1;
    }
    record.stop.number = guest_.stop();
    record.mark = !completes && mark_only;
    if (!record.mark) {
        const std::uint64_t input = world_.draw();
        record.input.answer = bytes_of(input);
        guest_.live(input);
    }
    record.input.clock = world_.now();
    hand_over(Recorded{record, std::move(outputs), std::exchange(own_mark_, record.mark)}, true);
}

void Replica::replay() {
    if (log_.empty()) {
        replaying_ = false;
        if (std::exchange(log_ended_, false)) {
            world_.after(world_.handover(), *this, [this] {
                drain();
                core_->log_drained();
            });
        }
        return;
    }
    const Record record = std::move(log_.front());
    log_.pop_front();
    if (!guest_.at_mark()) {
        guest_.live(record.stop.argument);
        said_at_mark_ = guest_.outputs();
    }
    if (!record.mark) {
        guest_.live(value_of(record.input.answer));
        hand_over(Replayed{record.stop.number, record.input.clock, std::exchange(said_at_mark_, {})}, false);
    }
    const Time most = world_.one_in(40) ? Time(milliseconds(60)) : Time(milliseconds(2));
    world_.after(world_.between(microseconds(10), most), *this, [this] { replay(); });
}

void Replica::begin_replay() {
    if (!std::exchange(replaying_, true)) {
        world_.after(microseconds(10), *this, [this] { replay(); });
    }
}

void Replica::hand_over(Handover item, bool wake) {
    outbox_.push_back(std::move(item));
    if (wake && !std::exchange(woken_, true)) {
        world_.after(world_.handover(), *this, [this] { drain(); });
    }
}

void Replica::drain() {
    woken_ = false;
    for (Handover& item : std::exchange(outbox_, {})) {
        std::visit([this](auto& handed) { hand(handed); }, item);
    }
    core_->handed_over();
}

void Replica::hand(Snapshot& snapshot) {
    if (core_->snapshot_taken(snapshot.guest.stop())) {
        send(StateMessage{std::move(snapshot.guest)});
    }
}

// --- What the core wants done ---------------------------------------------------------------------------------------

Time Replica::now() const {
    return world_.now();
}

void Replica::ask(std::uint64_t ticket, const arbiter::FormRequest& request) {
    world_.ask_arbiter(*this, request,
                       [this, ticket](const arbiter::Outcome& outcome) { core_->arbiter_answered(ticket, outcome); });
}
void Replica::ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) {
    world_.ask_arbiter(*this, request,
                       [this, ticket](const arbiter::Outcome& outcome) { core_->arbiter_answered(ticket, outcome); });
}

void Replica::start_guest() {
    lives_ = true;
    step();
}

void Replica::end_log() {
    if (mutated(Mutation::go_live_undrained)) {
        log_.clear();
    }
    log_ended_ = true;
    begin_replay();
}

void Replica::go_live() {
    world_.took_over();
    start_guest();
}

void Replica::speak(SpeakerRank rank) {
    world_.announced(*this, rank);
}

void Replica::release(const std::vector<Output>& outputs) {
    for (const Output& output : outputs) {
        world_.hear(*this, Guest::stop_of(output));
    }
}

void Replica::begin_transfer(const ReplicaId& /*candidate*/, Generation generation) {
    link_ = std::exchange(candidate_, nullptr);
    queued_.clear();
    report_ = {};
    report_due_ = false;
    wants_snapshot_ = true;
    send(WelcomeMessage{generation});
    heartbeat(link_);
}

void Replica::refuse(const ReplicaId& /*candidate*/, const std::string& /*why*/) {
    const auto own = std::exchange(link_, std::exchange(candidate_, nullptr));
    send(RefuseMessage{});
    link_ = own;
}

Bytes Replica::send_record(const Record& record) {
    queued_.emplace_back(RecordMessage{record});
    return kRecordSize;
}

void Replica::report_released(StopNumber released) {
    report_due_ = report_due_ || released != report_.released;
    report_.released = released;
}

void Replica::report_progress(StopNumber received, StopNumber replayed) {
    if (may_acknowledge_) {
        report_due_ = true;
        report_.received = received;
        report_.replayed = replayed;
    }
}

void Replica::flush() {
    for (Message& message : std::exchange(queued_, {})) {
        send(std::move(message));
    }
    if (std::exchange(report_due_, false)) {
        send(report_);
    }
}

void Replica::show_role(Role role, Generation generation, const std::string& reason) {
    world_.show_role(*this, role, generation, reason);
}

void Replica::terminate(const action::Terminate& end) {
    world_.terminated(*this, end);
    close_end();
    ended_ = true;
}

// --- The channel ----------------------------------------------------------------------------------------------------

void Replica::candidate_connected(const std::shared_ptr<Link>& link) {
    candidate_ = link;
    core_->candidate_connected(link->ends[1]->id());
    if (candidate_) {
        refuse(link->ends[1]->id(), "cannot take a backup now");
    }
}

void Replica::send(Message message) {
    if (link_) {
        ++messages_sent_;
        world_.send(link_, 1 - link_->end_of(*this), std::move(message));
    }
}

void Replica::close_end(bool silently) {
    const auto link = std::exchange(link_, nullptr);
    if (!link) {
        return;
    }
    const std::size_t end = link->end_of(*this);
    link->open[end] = false;
    if (silently) {
        world_.lose_tail(link->towards[1 - end]);
    } else {
        world_.send(link, 1 - end, EndMessage{});
    }
}

// A heartbeat is a report, news or not.
void Replica::heartbeat(const std::shared_ptr<Link>& link) {
    if (link_ == link) {
        report_due_ = true;
        flush();
        world_.after(kHeartbeat, *this, [this, link] { heartbeat(link); });
    }
}

void Replica::take(Message message) {
    if (core_) {
        core_->heard();
    }
    std::visit([this](auto& m) { arrived(m); }, message);
}

void Replica::arrived(const WelcomeMessage& welcome) {
    core_.emplace(*this, RoleMachine::join({kVm, id_}, link_->ends[0]->id(), welcome.generation), limits());
    core_->start();
    tick();
    if (link_) {
        heartbeat(link_);
    }
}

void Replica::arrived(StateMessage& state) {
    guest_ = std::move(state.guest);
    core_->state_received(guest_.stop(), world_.now());
    report_progress(guest_.stop(), guest_.stop());
    send(ReadyMessage{});
    flush();
}

void Replica::arrived(RecordMessage& message) {
    drain();
    if (core_->record_received(message.record, kRecordSize)) {
        log_.push_back(std::move(message.record));
        begin_replay();
        core_->records_received();
    } else if (role() == Role::following) {
        world_.violate(fmt::format("{} received what a sound primary does not send", id_));
    }
}

void Replica::arrived(const ReportMessage& message) {
    if (link_->end_of(*this) == 1) {
        core_->peer_released(message.released);
    } else if (message.received.value > 0) {
        core_->peer_reported(message.received, message.replayed);
    }
}

void Replica::arrived(const ReadyMessage& /*message*/) {
    core_->peer_ready();
}
void Replica::arrived(const FormedMessage& /*message*/) {
    core_->pair_formed();
}
void Replica::arrived(const RefuseMessage& /*message*/) {
    link_ = nullptr;
    ended_ = true;
}
void Replica::arrived(const EndMessage& /*message*/) {
    if (core_) {
        core_->peer_lost("closed");
    } else {
        ended_ = true;
    }
}

}  // namespace understudy::replication::simulation
