#include <algorithm>
#include <boost/asio/post.hpp>
#include <iterator>

#include "hypervisor/replication/replica/replica_driver.hpp"

namespace understudy::replication {
namespace {

// Of copied pages, sent and not yet taken by the kernel. The guest waits for the rest.
constexpr Bytes kCopyBacklog = 32_MiB;

class SnapshotSource final : public channel::StateSource {
  public:
    // `done` is told what the snapshot cost when it is not needed any more.
    SnapshotSource(std::unique_ptr<memory::MemorySnapshot> snapshot,
                   std::function<void(const memory::MemorySnapshot::Cost&)> done)
        : snapshot_(std::move(snapshot)), done_(std::move(done)) {}
    ~SnapshotSource() override { done_(snapshot_->cost()); }
    SnapshotSource(const SnapshotSource&) = delete;
    SnapshotSource& operator=(const SnapshotSource&) = delete;
    [[nodiscard]] Bytes size() const override { return snapshot_->size(); }
    void read(std::size_t offset, std::span<std::byte> into) override { snapshot_->read(offset, into); }

  private:
    std::unique_ptr<memory::MemorySnapshot> snapshot_;
    std::function<void(const memory::MemorySnapshot::Cost&)> done_;
};

}  // namespace

void ReplicaDriver::drain(Patience patience) {
    bool copied = false;
    intake_.begin();
    while (Handover* item = copied ? nullptr : intake_.front()) {
        copied = patience == Patience::as_convenient && std::holds_alternative<Copied>(*item);
        if (copied && must_wait_to_copy()) {
            break;  // tick() comes back to it
        }
        std::visit([this](auto& handed) { take(handed); }, *item);
        intake_.pop();
        if (patience == Patience::none && intake_.empty()) {
            intake_.begin();
        }
    }
    core_.handed_over();
    if ((copied && !must_wait_to_copy()) || intake_.owes_a_look()) {
        boost::asio::post(io_, [this] { drain(); });
    }
    ticks_.hasten();
}

bool ReplicaDriver::must_wait_to_copy() const {
    return core_.has_log() && peer_ && peer_->backlog() >= kCopyBacklog;
}

// To encode a megabyte takes about as long as everything else at one stop.
void ReplicaDriver::take(Copied& copied) {
    if (core_.has_log()) {
        peer_->send_pages(encoder_.encode(std::move(copied.numbers), std::move(copied.content)));
    }
}

void ReplicaDriver::take(Snapshot& snapshot) {
    if (snapshot.transfer != transfer_number_ || !core_.snapshot_taken(snapshot.base.stop)) {
        return;  // for a backup that is gone
    }
    if (!snapshot.memory) {
        core_.peer_lost("this host could not take the guest's state for a backup");
        return;
    }
    transfer_->figures.stood_still = snapshot.stood_still;
    encoder_ = {};
    auto source = std::make_unique<SnapshotSource>(std::move(snapshot.memory),
                                                   [transfer = transfer_](const memory::MemorySnapshot::Cost& cost) {
                                                       transfer->figures.longest_wait = cost.longest_wait;
                                                       transfer->figures.put_aside = cost.put_aside;
                                                   });
    peer_->send_state(snapshot.base, std::move(source), std::move(snapshot.vcpu_state),
                      [this](const channel::StateProgress& progress) {
                          if (config_.observer.on_transfer) {
                              config_.observer.on_transfer(progress.done, progress.total);
                          }
                      });
}

void ReplicaDriver::take(Recorded& recorded) {
    log_figures_.records += recorded.record.mark ? 0 : 1;
    log_figures_.copied += recorded.record.delta ? 1 : 0;
    core_.recorded(recorded.record, std::move(recorded.outputs), recorded.completes_mark);
}

void ReplicaDriver::take(Replayed& replayed) {
    core_.replayed(replayed.stop, replayed.clock, std::move(replayed.outputs));
}

void ReplicaDriver::candidate(std::unique_ptr<channel::Connection> connection, const channel::Hello& hello) {
    candidates_[hello.replica] = std::move(connection);
    core_.candidate_connected(hello.replica);
    refuse(hello.replica, fmt::format("this replica is {}; join the VM's primary", name(core_.roles().role())));
}

void ReplicaDriver::attend_backup() {
    channel::Connection::Handlers handlers;
    handlers.on_heard = [this] { core_.heard(); };
    handlers.on_ready = [this] { backup_ready(); };
    handlers.on_report = [this](const channel::Report& report) {
        core_.peer_reported(report.received, report.replayed);
    };
    handlers.on_goodbye = [this](const channel::Goodbye& goodbye) { core_.goodbye(goodbye.reason); };
    handlers.on_closed = [this](const std::string& why) { core_.peer_lost(why); };
    peer_->start(std::move(handlers));
}

void ReplicaDriver::backup_ready() {
    if (transfer_ && config_.observer.on_transferred) {
        transfer_->figures.sent = peer_->written();
        transfer_->figures.took = Clock::now() - transfer_->begun;
        config_.observer.on_transferred(transfer_->figures);
    }
    begin_log_figures();
    core_.peer_ready();
}

void ReplicaDriver::attend_primary() {
    channel::Connection::Handlers handlers;
    handlers.on_heard = [this] { core_.heard(); };
    handlers.on_report = [this](const channel::Report& report) { core_.peer_released(report.released); };
    handlers.on_goodbye = [this](const channel::Goodbye& goodbye) {
        guest_end_ = {goodbye.exit_status, goodbye.fault_report};
        core_.goodbye(goodbye.reason);
    };
    handlers.on_progress = [this](const channel::StateProgress& progress) {
        if (config_.observer.on_transfer) {
            config_.observer.on_transfer(progress.done, progress.total);
        }
    };
    handlers.on_state = [this](channel::LogBase base, const std::vector<std::byte>& vcpu_state) {
        state_from_primary(base, vcpu_state);
    };
    handlers.on_records = [this](std::vector<channel::ReceivedRecord> records) {
        records_from_primary(std::move(records));
    };
    handlers.on_formed = [this] { core_.pair_formed(); };
    handlers.on_closed = [this](const std::string& why) { core_.peer_lost(why); };
    peer_->receive_state(vcpu_.machine().blank_memory());
    peer_->start(std::move(handlers));
}

void ReplicaDriver::state_from_primary(channel::LogBase base, const std::vector<std::byte>& vcpu_state) {
    vcpu_.machine().restore_vcpu(vcpu_state);
    const machine::NicAddresses nic = vcpu_.machine().nic_addresses();
    network::LinkConfig link = config_.link;
    link.mac = nic.mac;
    link.ipv4_address = nic.ipv4;
    make_live_io(std::move(link));
    live_->stand_by();
    core_.state_received(base.stop, base.clock);
    may_follow_ = true;
    if (joined_again_ && !config_.keep_diverged.empty()) {
        prepare_to_keep_state_of_primary(base.stop, vcpu_state);
    }
    begin_to_follow();
}

// Once the state that it begins with can be kept at no cost of time; tick() comes back to it.
void ReplicaDriver::begin_to_follow() {
    if (keeper_ && !keeper_->ready()) {
        return;
    }
    may_follow_ = false;
    if (keeper_) {
        try {
            keeper_->begin();
        } catch (const Error& error) {
            keeper_.reset();
            warn(error.what());
        }
    }
    vcpu_.follow(feed_, following_sink_);
    if (peer_) {
        peer_->send_ready();
    }
}

void ReplicaDriver::records_from_primary(std::vector<channel::ReceivedRecord> records) {
    drain();  // what was replayed meanwhile, as this thread is awake anyway
    for (channel::ReceivedRecord& received : records) {
        if (!core_.record_received(received.record, received.size)) {
            return;
        }
        feed_.push(std::move(received.record));
    }
    core_.records_received();
}

}  // namespace understudy::replication
