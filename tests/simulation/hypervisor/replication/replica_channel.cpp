// A replica's end of the logging channel.
#include <algorithm>
#include <utility>

#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {
namespace {

constexpr Time kHeartbeat = std::chrono::milliseconds(25);

}  // namespace

// --- What the core wants sent ---------------------------------------------------------------------------------------

void Replica::candidate_connected(const std::shared_ptr<Link>& link) {
    candidate_ = link;
    core_->candidate_connected(link->ends[1]->id());
    if (candidate_) {
        refuse(link->ends[1]->id(), "cannot take a backup now");
    }
}

void Replica::begin_transfer(const ReplicaId& /*candidate*/, Generation generation) {
    link_ = std::exchange(candidate_, nullptr);
    queued_.clear();
    parts_sent_ = 0;
    state_.reset();
    report_ = {};
    report_due_ = false;
    wants_snapshot_ = true;
    wake_guest();
    send(WelcomeMessage{generation});
    heartbeat(link_);
}

void Replica::refuse(const ReplicaId& /*candidate*/, const std::string& why) {
    const auto own = std::exchange(link_, std::exchange(candidate_, nullptr));
    send(RefuseMessage{why});
    link_ = own;
}

Bytes Replica::send_record(const Record& record) {
    queued_.emplace_back(record);
    return {kRecordSize.value + std::exchange(parts_sent_, 0) * kPartSize.value};
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
    if (!queued_.empty() && !state_) {
        send(RecordsMessage{std::exchange(queued_, {})});
    }
    if (std::exchange(report_due_, false)) {
        send(report_);
    }
}

void Replica::connection_breaks(bool peer_hears) {
    if (!link_) {
        return;
    }
    if (!peer_hears) {
        world_.lose_tail(link_->towards[1 - link_->end_of(*this)]);
    }
    if (core_) {
        core_->peer_lost("the connection broke");
    } else {
        close_end();
        ended_ = true;
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

void Replica::send(Message message) {
    tell_gate();
    if (link_) {
        world_.send(link_, 1 - link_->end_of(*this), std::move(message));
    }
}

void Replica::send_state(const std::shared_ptr<Link>& link, std::uint64_t parts_left) {
    if (link_ != link) {
        return;
    }
    if (parts_left == 0) {
        send(StateMessage{std::exchange(state_, std::nullopt)});
        flush();
        return;
    }
    send(StateMessage{});
    world_.after(world_.pace().sending_a_part(), *this, [this, link, parts_left] { send_state(link, parts_left - 1); });
}

// In messages. Behind a cut the socket takes no more.
Bytes Replica::bytes_sent() const {
    if (!link_) {
        return {};
    }
    const auto& way = link_->towards[1 - link_->end_of(*this)];
    return {way.sent - way.stuck.size()};
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

// --- What arrives ---------------------------------------------------------------------------------------------------

void Replica::take(Message message) {
    if (core_) {
        core_->heard();
    }
    std::visit([this](auto& m) { arrived(m); }, message);
}

void Replica::arrived(const WelcomeMessage& welcome) {
    begin(RoleMachine::join(world_.setting().roles_of(id_), link_->ends[0]->id(), welcome.generation));
    if (link_) {
        heartbeat(link_);
    }
}

void Replica::arrived(StateMessage& state) {
    if (!state.guest) {
        return;
    }
    guest_ = *std::move(state.guest);
    core_->state_received(guest_.stop(), world_.now());
    report_progress(guest_.stop(), guest_.stop());
    send(ReadyMessage{});
    flush();
}

void Replica::arrived(RecordsMessage& message) {
    drain();
    for (auto& entry : message.entries) {
        if (std::holds_alternative<CopiedPart>(entry)) {
            ++parts_received_;
            continue;
        }
        Record& record = std::get<Record>(entry);
        const std::uint64_t parts = std::exchange(parts_received_, 0);
        if (parts != (record.delta ? record.stop.argument : 0)) {
            world_.violate("{} has {} parts of the copy of stop {}", id_, parts, record.stop.number.value);
            return;
        }
        if (!core_->record_received(record, {kRecordSize.value + parts * kPartSize.value})) {
            if (role() == Role::following) {
                world_.violate("{} received what a sound primary does not send", id_);
            }
            return;
        }
        log_.push_back(std::move(record));
        begin_replay();
    }
    core_->records_received();
}

void Replica::arrived(const ReportMessage& message) {
    if (link_->end_of(*this) == 1) {
        released_by_primary_ = std::max(released_by_primary_, message.released);
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
void Replica::arrived(const GoodbyeMessage& message) {
    core_->goodbye(message.why);
}
void Replica::arrived(const EndMessage& /*message*/) {
    if (core_) {
        core_->peer_lost("the peer closed the connection");
    } else {
        ended_ = true;
    }
}

}  // namespace understudy::replication::simulation
