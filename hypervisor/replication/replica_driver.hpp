// Performs what the role machine decides: the I/O thread of one replica, between the pure parts and the world. Inside
// this folder only; replica.hpp is the way in.
//
//   replica_driver.cpp   construction, the vCPU's thread, time, the end
//   replica_actions.cpp  one function for each action of the role machine
//   replica_peer.cpp     the logging channel's events, and what the vCPU's thread hands over
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <exception>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/client.hpp"
#include "hypervisor/machine/machine.hpp"
#include "hypervisor/replication/handover.hpp"
#include "hypervisor/replication/live_io.hpp"
#include "hypervisor/replication/log_window.hpp"
#include "hypervisor/replication/loop.hpp"
#include "hypervisor/replication/output_gate.hpp"
#include "hypervisor/replication/periodic.hpp"
#include "hypervisor/replication/replayer.hpp"
#include "hypervisor/replication/replica.hpp"
#include "hypervisor/replication/replica_sinks.hpp"
#include "hypervisor/replication/suspicion_timer.hpp"
#include "logging_channel/channel.hpp"

namespace understudy::replication {

// Everything is called on the io_context's thread, succeed() excepted.
class ReplicaDriver {
  public:
    ReplicaDriver(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine, RoleMachine roles,
                  boost::asio::io_context& io);
    ~ReplicaDriver();
    ReplicaDriver(const ReplicaDriver&) = delete;
    ReplicaDriver& operator=(const ReplicaDriver&) = delete;

    void lead();
    void follow(channel::Joined joined);
    [[nodiscard]] ReplicaResult run();

  private:
    using Clock = std::chrono::steady_clock;
    static std::chrono::nanoseconds steady_now() { return Clock::now().time_since_epoch(); }

    // Roles and their actions.
    void feed(const Event& event);
    void perform(const action::Form& a);
    void perform(const action::TestAndSet& a);
    void perform(const action::StartGuest& a);
    void perform(const action::StartTransfer& a);
    void perform(const action::RefusePeer& a);
    void perform(const action::CloseGate& a);
    void perform(const action::OpenGate& a);
    void perform(const action::TellFormed& a);
    void perform(const action::StopAcknowledging& a);
    void perform(const action::DropPeer& a);
    void perform(const action::GoLive& a);
    void perform(const action::Speak& a);
    void perform(const action::Terminate& a);

    // The vCPU's thread.
    void start_vcpu(Voice voice);
    Voice succeed();
    void vcpu_ended();
    void end_vcpu();

    // What the vCPU's thread hands over.
    void drain();
    void take(Snapshot& snapshot);
    void take(Recorded& recorded);
    void take(Replayed& replayed);
    void release(const std::vector<Output>& outputs);
    void update_brake();

    // The peer.
    void candidate(std::unique_ptr<channel::Connection> connection, const channel::Hello& hello);
    void attend_backup();
    void attend_primary();
    void report_from_backup(const channel::Report& report);
    void records_from_primary(std::vector<channel::ReceivedRecord> records);
    void state_from_primary(const std::vector<std::byte>& vcpu_state);
    void lose_peer(const std::string& why);
    void heard() {
        if (suspicion_) {
            suspicion_->heard(steady_now());
        }
    }

    // Time.
    void tick();
    void report_progress();
    void end_guest_if_over();
    // The guest replays the primary's log.
    [[nodiscard]] bool follows() const { return backlog_ && !succeeded_; }
    void make_live_io(network::LinkConfig link);
    arbiter::Client::Callback answer_for(std::uint64_t ticket);

    const ReplicaConfig config_;
    const VmId vm_;
    boost::asio::io_context& io_;
    std::unique_ptr<machine::Machine> machine_;
    RoleMachine roles_;
    Role shown_role_ = Role::terminated;
    std::string reason_;  // for the next role shown
    std::unique_ptr<arbiter::Client> arbiter_;
    std::unique_ptr<channel::Listener> listener_;
    std::unique_ptr<LiveIo> live_;
    boost::asio::steady_timer last_words_;
    Periodic ticks_;
    boost::asio::signal_set signals_;
    std::optional<ReplicaResult> result_;

    // The peer, and those who want to be.
    std::map<ReplicaId, std::unique_ptr<channel::Connection>> candidates_;
    std::unique_ptr<channel::Connection> peer_;
    std::unique_ptr<channel::Connection> retired_;  // closed from within one of its own handlers
    std::optional<SuspicionTimer> suspicion_;
    Clock::time_point lost_at_;

    // As the one who speaks.
    OutputGate gate_;
    std::optional<LogWindow> window_;  // a backup's log is under way
    bool wants_snapshot_ = false;

    // As the one who follows.
    OutputRetention retention_;
    std::optional<ReplayBacklog> backlog_;
    Bytes unreported_;  // received since the last report that was sent at once
    GuestTime received_clock_{0};
    GuestTime replayed_clock_{0};
    std::uint64_t compared_ = 0;
    Clock::time_point next_lag_;
    Clock::time_point next_compared_;

    // The vCPU's thread.
    Outbox outbox_;
    Brake brake_;
    InputQueue queue_{2048};
    ChannelFeed feed_;
    std::unique_ptr<Replayer> replayer_;
    std::unique_ptr<FollowingSink> following_sink_;
    LiveSink live_sink_;
    std::unique_ptr<Recorder> recorder_;
    std::atomic<Recorder*> running_recorder_{nullptr};  // for kicks
    std::promise<Voice> successor_;
    bool succeeded_ = false;
    std::thread vcpu_;
    bool vcpu_running_ = false;
    LoopResult loop_;
    std::exception_ptr failure_;
    bool guest_over_ = false;  // the loop ended with the program, or the primary said so
};

}  // namespace understudy::replication
