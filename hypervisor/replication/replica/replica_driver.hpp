// The real world of a replica's core: the I/O thread, between what replica_core.hpp decides and vCPU, channel, network
// and arbiter. Inside this folder only; replica.hpp is the way in.
//
//   replica_driver.cpp   construction, the vCPU's thread, time, the end
//   replica_actions.cpp  what the core wants done
//   replica_peer.cpp     the logging channel's events, and what the vCPU's thread hands over
//   state_keeper.hpp     states of replicas that differed, in files
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arbiter/client/client.hpp"
#include "hypervisor/machine/machine.hpp"
#include "hypervisor/replication/decision/replica_core.hpp"
#include "hypervisor/replication/loop/live_io.hpp"
#include "hypervisor/replication/loop/periodic.hpp"
#include "hypervisor/replication/loop/vcpu_thread.hpp"
#include "hypervisor/replication/replica/handover.hpp"
#include "hypervisor/replication/replica/replica.hpp"
#include "hypervisor/replication/replica/replica_sinks.hpp"
#include "hypervisor/replication/replica/state_keeper.hpp"
#include "logging_channel/channel.hpp"
#include "logging_channel/page_codec.hpp"

namespace understudy::replication {

// Thrown by ReplicaDriver::run() where its guest has left the log, or could not be brought along it, while the primary
// was there: this replica is of no use, another one may be.
class CannotFollow : public Error {
  public:
    using Error::Error;
};

// Everything is called on the io_context's thread, what the vCPU's thread calls excepted.
class ReplicaDriver final : private ReplicaWorld {
  public:
    ReplicaDriver(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine, RoleMachine roles,
                  boost::asio::io_context& io);
    virtual ~ReplicaDriver();
    ReplicaDriver(const ReplicaDriver&) = delete;
    ReplicaDriver& operator=(const ReplicaDriver&) = delete;

    void lead();
    // `again`: instead of a replica that could not follow.
    void follow(channel::Joined joined, bool again);
    [[nodiscard]] ReplicaResult run();

  private:
    using Clock = std::chrono::steady_clock;

    // What the core wants done.
    [[nodiscard]] std::chrono::nanoseconds now() const override { return Clock::now().time_since_epoch(); }
    void ask(std::uint64_t ticket, const arbiter::FormRequest& request) override;
    void ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) override;
    void start_guest() override { vcpu_.record(live_sink_); }
    void end_log() override { feed_.close(); }
    void go_live() override;
    void stop_guest_soon() override { vcpu_.stop_soon(); }
    void hold_guest(bool held) override;
    void speak(SpeakerRank rank) override { live_->speak(rank); }
    void release(const std::vector<Output>& outputs) override;
    [[nodiscard]] Passage passage() const override { return live_->passage(); }
    void begin_transfer(const ReplicaId& candidate, Generation generation) override;
    void refuse(const ReplicaId& candidate, const std::string& why) override;
    Bytes send_record(const Record& record) override { return peer_->send_record(record); }
    void report_released(StopNumber released) override { peer_->set_released(released); }
    void tell_formed() override { peer_->send_formed(); }
    void report_progress(StopNumber received, StopNumber replayed) override { peer_->set_progress(received, replayed); }
    void stop_acknowledging() override { peer_->stop_acknowledging(); }
    void flush() override { peer_->flush(); }
    [[nodiscard]] Bytes bytes_sent() const override { return peer_->written(); }
    void drop_peer() override;
    void show_role(Role role, Generation generation, const std::string& reason) override;
    void terminate(const action::Terminate& end) override;
    arbiter::Client::Callback answer_for(std::uint64_t ticket);
    void tell_end();
    void stop_after(std::chrono::nanoseconds time);

    // The vCPU's thread. log_drained() and vcpu_ended() are called there, and go on here.
    void log_drained();
    void vcpu_ended();
    void end_vcpu();
    // What the vCPU's thread failed with, or what prevents it from going on; nothing: it did not fail.
    [[nodiscard]] std::optional<std::string> failure() const;
    void notice_standstill();
    void bring_guest_to_stop();

    // The states of replicas that differed, for study.
    [[nodiscard]] std::filesystem::path file_for_state(const std::string& whose, StopNumber stop) const;
    [[nodiscard]] channel::LogHeader header_for_state(const std::string& whose, StopNumber stop);
    void keep_own_state();
    void prepare_to_keep_state_of_primary(StopNumber stop, const std::vector<std::byte>& vcpu_state);
    void finish_keeping();

    // What the vCPU's thread hands over.
    enum class Patience { as_convenient, none };
    // With patience, a large copy goes in turns, and not faster than the backup takes it.
    void drain(Patience patience = Patience::as_convenient);
    [[nodiscard]] bool must_wait_to_copy() const;
    void take(Snapshot& snapshot);
    void take(Recorded& recorded);
    void take(Replayed& replayed);
    void take(Copied& copied);

    // The peer.
    void candidate(std::unique_ptr<channel::Connection> connection, const channel::Hello& hello);
    void attend_backup();
    void attend_primary();
    void backup_ready();
    void records_from_primary(std::vector<channel::ReceivedRecord> records);
    void state_from_primary(channel::LogBase base, const std::vector<std::byte>& vcpu_state);
    void begin_to_follow();

    void interrupt();
    void warn(const std::string& line);

    // Time.
    void tick();
    void report_progress_to_user();
    void begin_log_figures();
    void report_log_to_user();
    void make_live_io(network::LinkConfig link);

    const ReplicaConfig config_;
    const VmId vm_;
    // Before what its thread uses, which the destructor ends first: a snapshot of the guest's memory may be anywhere
    // below, on its way to a backup, and ends before that memory does.
    VcpuThread vcpu_;
    boost::asio::io_context& io_;
    std::unique_ptr<arbiter::Client> arbiter_;
    std::unique_ptr<channel::Listener> listener_;
    std::unique_ptr<LiveIo> live_;
    boost::asio::steady_timer last_words_;
    bool telling_end_ = false;  // the arbiter has not answered yet
    Periodic ticks_;
    boost::asio::signal_set signals_;
    std::optional<ReplicaResult> result_;
    // How the guest ended; known before that has consequences: from this one's end, or from the primary's farewell.
    struct GuestEnd {
        std::uint64_t exit_status = 0;
        std::string fault_report;
    };
    GuestEnd guest_end_;
    struct Transfer {
        Clock::time_point begun;
        TransferFigures figures;
    };
    channel::PageEncoder encoder_;        // of the log that began with the last transfer
    std::shared_ptr<Transfer> transfer_;  // the last; its state's source has it, too
    TransferNumber transfer_number_ = 0;  // its
    std::optional<Clock::time_point> stop_wanted_since_;
    // Of the log to the present backup.
    LogFigures log_figures_;
    Bytes written_before_log_;
    std::chrono::nanoseconds outbox_waited_before_log_{0};
    std::optional<Clock::time_point> held_since_;
    Clock::time_point next_log_figures_;
    Clock::time_point lost_at_;     // when this replica began to decide
    bool first_words_due_ = false;  // it has won, and nothing of its guest has left it yet
    Clock::time_point next_lag_;
    Clock::time_point next_compared_;
    bool joined_again_ = false;
    std::uint64_t compared_before_ = 0;  // at the last tick
    std::chrono::nanoseconds replayed_at_{
        0};  // of the vCPU's processor time: when there was progress, or nothing to do
    bool stands_still_ = false;
    bool may_follow_ = false;            // the state is there, and the vCPU's thread does not run yet
    std::optional<StateKeeper> keeper_;  // of that state, if it is to be kept

    // The peer, and those who want to be.
    std::map<ReplicaId, std::unique_ptr<channel::Connection>> candidates_;
    std::unique_ptr<channel::Connection> peer_;
    std::unique_ptr<channel::Connection> retired_;  // closed from within one of its own handlers

    ReplicaCore core_;

    // The vCPU's thread, and what it shares with this one.
    Outbox outbox_;
    Intake intake_;
    Brake brake_;
    ChannelFeed feed_;
    FollowingSink following_sink_;
    LiveSink live_sink_;
};

}  // namespace understudy::replication
