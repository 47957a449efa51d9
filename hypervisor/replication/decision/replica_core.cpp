#include "hypervisor/replication/decision/replica_core.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "hypervisor/replication/decision/mutation.hpp"

namespace understudy::replication {
namespace {

constexpr std::uint64_t kCopyProgress = 64U << 10;

}  // namespace

ReplicaCore::ReplicaCore(ReplicaWorld& world, RoleMachine roles, const ReplicaLimits& limits)
    : world_(world),
      roles_(std::move(roles)),
      limits_(limits),
      follows_(roles_.role() == Role::joining),
      connected_(follows_),
      departures_(limits.departures) {}

// --- Roles ----------------------------------------------------------------------------------------------------------

void ReplicaCore::start() {
    awake_at_ = world_.now();
    feed(event::Tick{world_.now()});
    if (follows_) {
        suspicion_.emplace(world_.now(), limits_.transfer_suspicion);
        show_role();
    } else {
        feed(event::Started{});
    }
}

void ReplicaCore::tick() {
    if (ended_) {
        return;
    }
    notice_absence();
    if (suspicion_ && suspicion_->tick(world_.now())) {
        peer_lost("nothing was heard from it for too long");
    }
    notice_stall();
    feed(event::Tick{world_.now()});
    report_released();
    announce_ready();
    end_guest_if_over();
}

std::optional<std::chrono::nanoseconds> ReplicaCore::suspicion_due() const {
    return suspicion_ && suspicion_->due() > world_.now() ? std::optional(suspicion_->due()) : std::nullopt;
}

// What arrived while this replica was not there to read it may be from before its peer gave it up and went live. What
// waits for an acknowledgement waits for one of a record that is written now.
void ReplicaCore::notice_absence() {
    const auto now = world_.now();
    if (now - std::exchange(awake_at_, now) <= limits_.absence || !window_) {
        return;
    }
    progress_at_ = now;  // what the backup did meanwhile could not be heard
    if (!guest_over_) {
        old_news_ = window_->last_sent();
        wants_news_ = true;
        world_.stop_guest_soon();
    }
}

// A backup may be heard and yet stand still: a host that is slow to set it up, a thread of it that hangs. While its
// state is on the way, or a large copy, that progress counts which the connection makes.
void ReplicaCore::notice_stall() {
    const auto now = world_.now();
    if (!held_ || !window_) {
        progress_at_ = free_at_ = now;
        return;
    }
    if (!roles_.is_protected() && now - free_at_ > limits_.freeze) {
        peer_lost(
            "the guest has stood still for too long, for it writes more than the backup takes; it can have one over a "
            "faster network, or when the guest has less to do");
        return;
    }
    // Of a pair's channel there is always something that leaves: that the peer lives.
    const std::uint64_t least = roles_.is_protected() ? kCopyProgress : 1;
    if (const Bytes sent = world_.bytes_sent(); sent.value - bytes_sent_.value >= least) {
        bytes_sent_ = sent;
        progress_at_ = now;
    }
    if (now - progress_at_ > limits_.stall) {
        peer_lost("the guest waited for it, and it made no progress");
    }
}

void ReplicaCore::arbiter_answered(std::uint64_t ticket, arbiter::Outcome outcome) {
    if (roles_.role() == Role::deciding &&
        ((mutated(Mutation::speak_on_unknown) && outcome.verdict == arbiter::Verdict::unknown) ||
         (mutated(Mutation::loser_goes_on) && outcome.verdict == arbiter::Verdict::no))) {
        outcome.verdict = arbiter::Verdict::yes;
    }
    reason_ = outcome.explanation;
    feed(event::ArbiterAnswered{ticket, std::move(outcome)});
}

// What an action brings about at once waits until all actions of its event are performed.
void ReplicaCore::feed(Event event) {
    events_.push_back(std::move(event));
    if (handling_) {
        return;
    }
    handling_ = true;
    while (!events_.empty() && !ended_) {
        const Event next = std::move(events_.front());
        events_.pop_front();
        const bool may_speak_early = mutated(Mutation::speak_while_form_is_undecided) && roles_.role() == Role::forming;
        for (const Action& action : roles_.handle(next)) {
            std::visit([this](const auto& a) { perform(a); }, action);
        }
        if (may_speak_early && roles_.role() == Role::deciding) {
            release(gate_.open());
        }
        show_role();
    }
    handling_ = false;
}

void ReplicaCore::show_role() {
    if (shown_role_ != roles_.role()) {
        shown_role_ = roles_.role();
        world_.show_role(*shown_role_, roles_.generation(), std::exchange(reason_, {}));
    }
}

void ReplicaCore::perform(const action::StartTransfer& a) {
    connected_ = true;
    wants_snapshot_ = true;
    suspicion_.emplace(world_.now(), limits_.transfer_suspicion);
    world_.begin_transfer(a.peer, a.generation);
}

void ReplicaCore::perform(const action::CloseGate& a) {
    const StopNumber last = mutated(Mutation::forget_the_gate) ? gate_.released_up_to() : gate_.close();
    if (mutated(Mutation::form_before_coverage)) {
        events_.emplace_back(event::GateClosed{a.peer, {}});
        events_.emplace_back(event::Acknowledged{a.peer, {}});
        return;
    }
    events_.emplace_back(event::GateClosed{a.peer, last});
}

void ReplicaCore::perform(const action::OpenGate& /*a*/) {
    release(gate_.open());
    update_brake();
}

void ReplicaCore::perform(const action::StopAcknowledging& /*a*/) {
    if (!mutated(Mutation::acknowledge_after_suspicion)) {
        world_.stop_acknowledging();
    }
}

void ReplicaCore::perform(const action::DropPeer& /*a*/) {
    connected_ = false;
    suspicion_.reset();
    window_.reset();
    wants_snapshot_ = false;
    ready_until_.reset();
    wants_news_ = false;
    if (!mutated(Mutation::acknowledge_after_suspicion) || !follows_) {
        world_.drop_peer();
    }
    update_brake();
}

void ReplicaCore::perform(const action::DrainLog& /*a*/) {
    world_.end_log();
    if (guest_over_) {  // it will not come to the log's end once more
        events_.emplace_back(event::LogDrained{});
    }
}

// Going live ends here: the role machine lets this replica speak, and what may not have been heard is said again.
void ReplicaCore::perform(const action::Speak& a) {
    world_.speak(a.rank);
    if (std::exchange(follows_, false)) {
        const auto kept = retention_.go_live();
        if (!mutated(Mutation::no_resend)) {
            release(kept);
        }
        world_.go_live();
    }
}

void ReplicaCore::perform(const action::Terminate& a) {
    ended_ = true;
    connected_ = false;
    if (!a.explanation.empty()) {
        reason_ = a.explanation;
    }
    world_.terminate(a);
}

// --- The guest ------------------------------------------------------------------------------------------------------

void ReplicaCore::recorded(const Record& record, std::vector<Output> outputs, bool completes_mark) {
    recorded_ = record.stop.number;
    if (!completes_mark) {
        if (recorded_ <= retention_.released_up_to()) {
            outputs.clear();  // of the mark behind which this replica went live: the old primary had said them
        }
        if (mutated(Mutation::release_before_acknowledgement)) {
            release(std::exchange(outputs, {}));
        }
        release(gate_.take(recorded_, std::move(outputs)));
    }
    if (window_) {
        const Sent what = record.mark ? Sent::mark : record.delta ? Sent::copy : Sent::record;
        window_->sent(recorded_, record.input.clock, world_.send_record(record), what);
    }
}

void ReplicaCore::replayed(StopNumber stop, GuestTime clock, std::vector<Output> outputs) {
    backlog_->replayed();
    ++compared_;
    replayed_clock_ = clock;
    retention_.keep(stop, std::move(outputs));
}

bool ReplicaCore::snapshot_taken(StopNumber base) {
    if (!std::exchange(wants_snapshot_, false)) {
        return false;
    }
    window_.emplace(base, limits_.window);
    base_ = base;
    return true;
}

void ReplicaCore::handed_over() {
    if (window_) {
        report_released();
        world_.flush();
    }
    if (follows_ && connected_ && backlog_) {
        world_.report_progress(backlog_->received_up_to(), backlog_->replayed_up_to());
    }
    update_brake();
    end_guest_if_over();
}

void ReplicaCore::log_drained() {
    gate_ = OutputGate(backlog_ ? backlog_->replayed_up_to() : StopNumber{});
    feed(event::LogDrained{});
}

void ReplicaCore::guest_over() {
    guest_over_ = true;
    if (roles_.role() == Role::going_live) {
        feed(event::LogDrained{});
    }
    end_guest_if_over();
}

// A backup waits for its primary to say so: as long as that one may die, this one may have to say the last words.
void ReplicaCore::end_guest_if_over() {
    if (guest_over_ && !follows_ && gate_.held().value == 0 && left_up_to() >= gate_.released_up_to()) {
        feed(event::GuestEnded{});
    }
}

void ReplicaCore::release(const std::vector<Output>& outputs) {
    if (!outputs.empty()) {
        for (const Output& output : outputs) {
            said_.value += output.bytes.size();
        }
        world_.release(outputs);
    }
}

StopNumber ReplicaCore::left_up_to() {
    const StopNumber released = gate_.released_up_to();
    const StopNumber left = departures_.left(released, said_, world_.passage(), world_.now());
    return mutated(Mutation::report_while_queued) ? released : left;
}

void ReplicaCore::report_released() {
    if (window_) {
        world_.report_released(mutated(Mutation::report_before_release) ? recorded_ : left_up_to());
    }
}

void ReplicaCore::update_brake() {
    const bool says_too_much = gate_.held() > limits_.held_outputs && !wants_news_;
    const bool held = !ended_ && ((window_ && !window_->may_proceed()) || says_too_much);
    if (std::exchange(held_, held) != held) {
        world_.hold_guest(held);
    }
}

// --- The peer -------------------------------------------------------------------------------------------------------

void ReplicaCore::candidate_connected(const ReplicaId& candidate) {
    reason_ = candidate + " joins";
    feed(event::BackupConnected{candidate});
}

void ReplicaCore::heard() {
    if (suspicion_) {
        suspicion_->heard(world_.now());
    }
}

void ReplicaCore::peer_lost(const std::string& why) {
    if (const auto peer = roles_.peer(); peer && connected_) {
        reason_ = why;
        feed(event::PeerLost{*peer, why});
    }
}

void ReplicaCore::goodbye(const std::string& why) {
    if (follows_) {
        reason_ = why;
        feed(event::GuestEnded{});
    }
    peer_lost("it said goodbye: " + why);
}

void ReplicaCore::peer_ready() {
    if (const auto peer = roles_.peer(); peer && connected_) {
        suspicion_.emplace(world_.now(), limits_.suspicion);
        ready_until_ = world_.now() + limits_.catch_up;
        announce_ready();
    }
}

// What was said up to the stop of its state, the backup cannot say again.
void ReplicaCore::announce_ready() {
    if (!ready_until_ || !window_ || left_up_to() < base_) {
        return;
    }
    const LogWindow::Lag lag = window_->unacknowledged();
    if (lag.bytes <= limits_.close_behind || lag.time <= limits_.close_behind_time || world_.now() >= *ready_until_) {
        ready_until_.reset();
        feed(event::BackupReady{*roles_.peer()});
    }
}

void ReplicaCore::peer_reported(StopNumber received, StopNumber replayed) {
    const auto peer = roles_.peer();
    if (!window_ || !peer) {
        return;
    }
    if (received > window_->acknowledged_up_to() || replayed > window_->replayed_up_to()) {
        progress_at_ = world_.now();
    }
    if (!window_->report(received, replayed)) {
        peer_lost("it acknowledges what was never sent");
        return;
    }
    notice_absence();
    announce_ready();
    if (received > old_news_ || guest_over_) {
        wants_news_ = false;
        release(gate_.acknowledge(received));
    }
    feed(event::Acknowledged{*peer, received});
    report_released();
    update_brake();
    end_guest_if_over();
}

void ReplicaCore::state_received(StopNumber base, GuestTime clock) {
    backlog_.emplace(base, limits_.window);
    received_clock_ = replayed_clock_ = clock;
    suspicion_.emplace(world_.now(), limits_.suspicion);
    feed(event::StateReceived{});
}

bool ReplicaCore::record_received(const Record& record, Bytes size) {
    if (mutated(Mutation::acknowledge_after_suspicion) && roles_.role() == Role::deciding) {
        world_.report_progress(record.stop.number, backlog_->replayed_up_to());
        world_.flush();
        return false;
    }
    if (!backlog_ || !roles_.may_acknowledge()) {
        return false;
    }
    if (backlog_->receive(record.stop.number, size, record.mark) != ReplayBacklog::Verdict::accepted) {
        peer_lost("its log is out of order or overruns this replica's memory");
        return false;
    }
    if (!record.mark) {
        received_clock_ = record.input.clock;
    }
    unreported_.value += size.value;
    report_is_urgent_ = report_is_urgent_ || record.digests.outputs.has_value();
    return true;
}

// At the primary outputs wait for the acknowledgement of the record that brought them, and the forming of the pair for
// any; nothing waits for the others, and they go with whatever is sent next.
void ReplicaCore::records_received() {
    if (!roles_.may_acknowledge()) {
        return;
    }
    world_.report_progress(backlog_->received_up_to(), backlog_->replayed_up_to());
    if (std::exchange(report_is_urgent_, false) || !roles_.is_protected() || unreported_ >= limits_.unreported) {
        unreported_ = {};
        world_.flush();
    }
}

void ReplicaCore::peer_released(StopNumber released) {
    if (follows_) {
        retention_.released(released);
    }
}

void ReplicaCore::pair_formed() {
    feed(event::PairFormed{});
    if (!ended_) {
        world_.show_role(roles_.role(), roles_.generation(), "the pair is formed");
    }
}

ReplicaCore::Lag ReplicaCore::lag() const {
    return {backlog_ ? backlog_->records() : 0, std::max(received_clock_ - replayed_clock_, GuestTime{0})};
}

}  // namespace understudy::replication
