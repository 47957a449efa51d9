#include <algorithm>
#include <iterator>

#include "guest/abi/abi.hpp"
#include "hypervisor/replication/replica_driver.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

constexpr Bytes kMaxHeldOutputs = 32_MiB;
// Well below what the primary sends before it waits for an acknowledgement.
constexpr Bytes kMaxUnreported = 1_MiB;
// Until the backup is in place neither side is silent for long on purpose, but both are busy with much memory; nothing
// waits for them yet.
constexpr auto kTransferSuspicion = 3s;

}  // namespace

void ReplicaDriver::drain() {
    for (Handover& item : outbox_.take()) {
        std::visit([this](auto& handed) { take(handed); }, item);
    }
    if (window_ && peer_) {
        peer_->set_released(gate_.released_up_to());
        peer_->flush();
        ticks_.hasten();
    }
    if (follows() && peer_) {
        peer_->set_progress(backlog_->received_up_to(), backlog_->replayed_up_to());
    }
    update_brake();
}

void ReplicaDriver::take(Snapshot& snapshot) {
    if (!wants_snapshot_ || !peer_) {
        return;
    }
    wants_snapshot_ = false;
    window_.emplace(snapshot.base.stop);
    const std::span<const std::byte> memory = *snapshot.memory;
    peer_->send_state(snapshot.base, memory, snapshot.memory, std::move(snapshot.vcpu_state),
                      [this](const channel::StateProgress& progress) {
                          if (config_.observer.on_transfer) {
                              config_.observer.on_transfer(progress.done, progress.total);
                          }
                      });
}

void ReplicaDriver::take(Recorded& recorded) {
    const Record& record = recorded.record;
    if (!recorded.completes_mark) {
        release(gate_.take(record.stop.number, std::move(recorded.outputs)));
    }
    if (window_ && peer_) {
        const Bytes size = peer_->send_record(record);
        window_->sent(record.stop.number, record.input.clock, size, record.mark);
    }
}

void ReplicaDriver::take(Replayed& replayed) {
    backlog_->replayed();
    ++compared_;
    replayed_clock_ = replayed.clock;
    retention_.keep(replayed.stop, std::move(replayed.outputs));
}

void ReplicaDriver::release(const std::vector<Output>& outputs) {
    if (!outputs.empty()) {
        live_->release(outputs);
    }
}

void ReplicaDriver::update_brake() {
    brake_.set(!result_ && ((window_ && !window_->may_proceed()) || gate_.held() > kMaxHeldOutputs));
}

void ReplicaDriver::candidate(std::unique_ptr<channel::Connection> connection, const channel::Hello& hello) {
    candidates_[hello.replica] = std::move(connection);
    reason_ = fmt::format("{} joins", hello.replica);
    feed(event::BackupConnected{hello.replica});
    if (const auto left = candidates_.find(hello.replica); left != candidates_.end()) {
        left->second->refuse(fmt::format("this replica is {}; join the VM's primary", name(roles_.role())));
        candidates_.erase(left);
    }
}

void ReplicaDriver::attend_backup() {
    suspicion_.emplace(steady_now(), kTransferSuspicion);
    channel::Connection::Handlers handlers;
    handlers.on_heard = [this] { heard(); };
    handlers.on_ready = [this] {
        if (const auto peer = roles_.peer()) {
            suspicion_.emplace(steady_now(), config_.suspicion);
            feed(event::BackupReady{*peer});
        }
    };
    handlers.on_report = [this](const channel::Report& report) { report_from_backup(report); };
    handlers.on_goodbye = [this](const std::string& why) { lose_peer("it said goodbye: " + why); };
    handlers.on_closed = [this](const std::string& why) { lose_peer(why); };
    peer_->start(std::move(handlers));
}

void ReplicaDriver::attend_primary() {
    suspicion_.emplace(steady_now(), kTransferSuspicion);
    channel::Connection::Handlers handlers;
    handlers.on_heard = [this] { heard(); };
    handlers.on_report = [this](const channel::Report& report) { retention_.released(report.released); };
    handlers.on_goodbye = [this](const std::string& why) {
        reason_ = why;
        feed(event::GuestEnded{});
        if (!result_) {
            lose_peer("it said goodbye: " + why);
        }
    };
    handlers.on_progress = [this](const channel::StateProgress& progress) {
        if (config_.observer.on_transfer) {
            config_.observer.on_transfer(progress.done, progress.total);
        }
    };
    handlers.on_state = [this](channel::LogBase base, const std::vector<std::byte>& vcpu_state) {
        backlog_.emplace(base.stop);
        received_clock_ = replayed_clock_ = base.clock;
        state_from_primary(vcpu_state);
    };
    handlers.on_records = [this](std::vector<channel::ReceivedRecord> records) {
        records_from_primary(std::move(records));
    };
    handlers.on_formed = [this] {
        feed(event::PairFormed{});
        if (config_.observer.on_role) {
            config_.observer.on_role(roles_.role(), roles_.generation(), "the pair is formed");
        }
    };
    handlers.on_closed = [this](const std::string& why) { lose_peer(why); };
    peer_->receive_state(machine_->blank_memory());
    peer_->start(std::move(handlers));
}

void ReplicaDriver::state_from_primary(const std::vector<std::byte>& vcpu_state) {
    machine_->restore_vcpu(vcpu_state);
    const auto boot = machine_->memory().at<abi::Boot>({abi::kBootBase});
    network::LinkConfig link = config_.link;
    std::copy(std::begin(boot.mac), std::end(boot.mac), link.mac.begin());
    link.ipv4_address = boot.ipv4_address;
    make_live_io(std::move(link));
    replayer_ = std::make_unique<Replayer>(feed_);
    following_sink_ = std::make_unique<FollowingSink>(outbox_);
    feed(event::StateReceived{});
    start_vcpu({replayer_.get(), following_sink_.get()});
    peer_->send_ready();
    suspicion_.emplace(steady_now(), config_.suspicion);
}

void ReplicaDriver::records_from_primary(std::vector<channel::ReceivedRecord> records) {
    bool urgent = false;
    drain();  // what was replayed meanwhile, as this thread is awake anyway
    for (channel::ReceivedRecord& received : records) {
        const Record& record = received.record;
        if (backlog_->receive(record.stop.number, received.size, record.mark) != ReplayBacklog::Verdict::accepted) {
            lose_peer("its log is out of order or overruns this replica's memory");
            return;
        }
        if (!record.mark) {
            received_clock_ = record.input.clock;
        }
        unreported_.value += received.size.value;
        urgent = urgent || record.digests.outputs.has_value();
        feed_.push(std::move(received.record));
    }
    ticks_.hasten();
    if (!roles_.may_acknowledge()) {
        return;
    }
    peer_->set_progress(backlog_->received_up_to(), backlog_->replayed_up_to());
    // At the primary outputs wait for the acknowledgement of the record that brought them, and the forming of the pair
    // for any; nothing waits for the others, and they go with the next tick.
    if (urgent || roles_.role() != Role::following || unreported_ >= kMaxUnreported) {
        unreported_ = {};
        peer_->flush();
    }
}

void ReplicaDriver::report_from_backup(const channel::Report& report) {
    const auto peer = roles_.peer();
    if (!window_ || !peer) {
        return;
    }
    if (!window_->report(report.received, report.replayed)) {
        lose_peer("it acknowledges what was never sent");
        return;
    }
    release(gate_.acknowledge(report.received));
    feed(event::Acknowledged{*peer, report.received});
    if (peer_) {
        peer_->set_released(gate_.released_up_to());
    }
    update_brake();
    end_guest_if_over();
}

void ReplicaDriver::lose_peer(const std::string& why) {
    const auto peer = roles_.peer();
    if (!peer || !peer_) {
        return;
    }
    lost_at_ = Clock::now();
    reason_ = why;
    feed(event::PeerLost{*peer, why});
}

}  // namespace understudy::replication
