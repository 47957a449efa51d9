// What a replica decides, whole: roles, output gate, log window, retention, backlog and suspicion, wired together. The
// world around it (vCPU, logging channel, network, arbiter) tells it what happens, and does what it says.
//
// Pure: no sockets, threads or clocks of its own. Two worlds exist: replica_driver.hpp, the real one, and the one in
// tests/simulation/replication, where everything fails. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/execution.hpp"
#include "common/passage.hpp"
#include "common/units.hpp"
#include "hypervisor/replication/decision/departures.hpp"
#include "hypervisor/replication/decision/log_window.hpp"
#include "hypervisor/replication/decision/output_gate.hpp"
#include "hypervisor/replication/decision/roles.hpp"
#include "hypervisor/replication/decision/suspicion_timer.hpp"

namespace understudy::replication {

// What a replica can do. No method may call the core back before it returns; what comes of it, comes as an event.
class ReplicaWorld {
  public:
    // Monotonic, any epoch.
    [[nodiscard]] virtual std::chrono::nanoseconds now() const = 0;

    // --- The arbiter: the answer comes as arbiter_answered() with the same ticket.
    virtual void ask(std::uint64_t ticket, const arbiter::FormRequest& request) = 0;
    virtual void ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) = 0;

    // --- The vCPU.
    virtual void start_guest() = 0;
    // Nothing follows the records received: log_drained() when the last of them is replayed.
    virtual void end_log() = 0;
    // The drained guest lives: from here on its stops are recorded.
    virtual void go_live() = 0;
    // The guest waits at its next stop for as long as `held`.
    virtual void hold_guest(bool held) = 0;
    // The living guest, idle or not, comes to a new stop now, if it is not held.
    virtual void stop_guest_soon() = 0;

    // --- The network.
    virtual void speak(SpeakerRank rank) = 0;
    virtual void release(const std::vector<Output>& outputs) = 0;
    // How far what was released is on its way out of this process.
    [[nodiscard]] virtual Passage passage() const = 0;

    // --- The peer. Whatever is sent to it may wait until flush().
    // At the primary: welcome the candidate into `generation`, take the guest's state at a stop, and send it if
    // snapshot_taken() then says so.
    virtual void begin_transfer(const ReplicaId& candidate, Generation generation) = 0;
    virtual void refuse(const ReplicaId& candidate, const std::string& why) = 0;
    // Returns the record's encoded size.
    virtual Bytes send_record(const Record& record) = 0;
    virtual void report_released(StopNumber released) = 0;
    virtual void tell_formed() = 0;
    // At the backup.
    virtual void report_progress(StopNumber received, StopNumber replayed) = 0;
    // report_progress() does nothing any more, for ever.
    virtual void stop_acknowledging() = 0;
    // At both.
    virtual void flush() = 0;
    // What of all that was sent to it has left this process.
    [[nodiscard]] virtual Bytes bytes_sent() const = 0;
    virtual void drop_peer() = 0;

    // --- The user.
    // Of a role that began, and of the pair being formed. `reason` is one line, or empty.
    virtual void show_role(Role role, Generation generation, const std::string& reason) = 0;
    // The end: nothing more leaves this host for the guest, and no event has an effect.
    virtual void terminate(const action::Terminate& end) = 0;

  protected:
    ~ReplicaWorld() = default;
};

struct ReplicaLimits {
    std::chrono::nanoseconds suspicion = SuspicionTimer::kDefaultSuspicion;
    // Until the backup is in place neither side is silent for long on purpose, but both are busy with much memory;
    // nothing waits for them yet.
    std::chrono::nanoseconds transfer_suspicion = std::chrono::seconds(3);
    WindowLimits window;
    // How long a guest is held for a backup that makes no progress at all, alive as it may be. Then it goes on without.
    std::chrono::nanoseconds stall = std::chrono::seconds(3);
    // How long a guest is held for a backup that is not in place yet, whatever progress that makes.
    std::chrono::nanoseconds freeze = std::chrono::seconds(10);
    // Outputs that wait for acknowledgements; beyond it the guest waits too.
    Bytes held_outputs = 32_MiB;
    // How long what was released may wait in this process before the backup hears all the same that it left.
    DepartureLimits departures;
    // The gate closes when the backup, its state in place, lacks no more of the log than one of these; or after
    // `catch_up`, whatever it lacks. What the guest says meanwhile leaves, and what it says then waits for no more than
    // that to be sent.
    Bytes close_behind = 64_KiB;
    GuestTime close_behind_time = std::chrono::milliseconds(150);
    std::chrono::nanoseconds catch_up = std::chrono::seconds(30);
    // Who was not there for so long may have been given up by its peer.
    std::chrono::nanoseconds absence = std::chrono::milliseconds(50);
    // Records received without an acknowledgement; well below what the primary sends before it waits for one.
    Bytes unreported = 1_MiB;
};

class ReplicaCore {
  public:
    // `roles` says whether it begins as a primary or as a backup. `world` outlives it.
    ReplicaCore(ReplicaWorld& world, RoleMachine roles, const ReplicaLimits& limits = {});
    ReplicaCore(const ReplicaCore&) = delete;
    ReplicaCore& operator=(const ReplicaCore&) = delete;

    void start();
    // Every few milliseconds, at most suspicion / 4 apart.
    void tick();
    // Of ReplicaWorld::now(): a tick that comes then sees a silence that has lasted, if it does. Nothing: there is no
    // peer, or the time is past.
    [[nodiscard]] std::optional<std::chrono::nanoseconds> suspicion_due() const;
    void arbiter_answered(std::uint64_t ticket, arbiter::Outcome outcome);

    // --- The guest, as the vCPU hands over. After one or more of these: handed_over().
    // A record or mark of a guest that lives; the outputs of a record that completes a mark came with the mark.
    void recorded(const Record& record, std::vector<Output> outputs, bool completes_mark);
    // A stop of a guest that follows was replayed and found equal.
    void replayed(StopNumber stop, GuestTime clock, std::vector<Output> outputs);
    // A backup has the guest's state, or is getting it, and records go there.
    [[nodiscard]] bool has_log() const { return window_.has_value(); }
    // The guest's state was copied at `base`. False: nobody wants it any more.
    [[nodiscard]] bool snapshot_taken(StopNumber base);
    void handed_over();
    // After end_log(), all of the log handed over.
    void log_drained();
    // The program ended or broke, all of its stops handed over.
    void guest_over();

    // --- The peer.
    void candidate_connected(const ReplicaId& candidate);
    void heard();  // anything
    void peer_lost(const std::string& why);
    void goodbye(const std::string& why);
    // At the primary.
    void peer_ready();
    void peer_reported(StopNumber received, StopNumber replayed);
    // At the backup. The state of the stop `base` is in place, at that guest time.
    void state_received(StopNumber base, GuestTime clock);
    // True: the record is to be replayed. After one or more: records_received().
    [[nodiscard]] bool record_received(const Record& record, Bytes size);
    void records_received();
    void peer_released(StopNumber released);
    void pair_formed();

    [[nodiscard]] const RoleMachine& roles() const { return roles_; }
    // The guest replays a primary's log, and has not gone live.
    [[nodiscard]] bool follows() const { return follows_; }
    [[nodiscard]] bool ended() const { return ended_; }
    // At the backup: what is received and not replayed.
    struct Lag {
        std::uint64_t records = 0;
        GuestTime time{0};
    };
    [[nodiscard]] Lag lag() const;
    // As a follower.
    [[nodiscard]] StopNumber replayed_up_to() const { return backlog_ ? backlog_->replayed_up_to() : StopNumber{}; }
    // Stops replayed and found equal.
    [[nodiscard]] std::uint64_t compared() const { return compared_; }
    [[nodiscard]] bool gate_is_open() const { return gate_.is_open(); }

  private:
    void feed(Event event);
    void show_role();
    void perform(const action::Form& a) { world_.ask(a.ticket, a.request); }
    void perform(const action::TestAndSet& a) { world_.ask(a.ticket, a.request); }
    void perform(const action::StartGuest& /*a*/) { world_.start_guest(); }
    void perform(const action::StartTransfer& a);
    void perform(const action::RefusePeer& a) { world_.refuse(a.peer, a.why); }
    void perform(const action::CloseGate& a);
    void perform(const action::OpenGate& a);
    void perform(const action::TellFormed& /*a*/) { world_.tell_formed(); }
    void perform(const action::StopAcknowledging& a);
    void perform(const action::DropPeer& a);
    void perform(const action::DrainLog& a);
    void perform(const action::Speak& a);
    void perform(const action::Terminate& a);
    void release(const std::vector<Output>& outputs);
    [[nodiscard]] StopNumber left_up_to();
    void report_released();
    void update_brake();
    void end_guest_if_over();
    void notice_absence();
    void notice_stall();
    void announce_ready();

    ReplicaWorld& world_;
    RoleMachine roles_;
    ReplicaLimits limits_;
    std::deque<Event> events_;  // to be handled, in order
    bool handling_ = false;
    bool ended_ = false;
    bool follows_;
    bool guest_over_ = false;
    std::optional<Role> shown_role_;
    std::string reason_;  // for the next role shown

    // The peer.
    bool connected_;
    std::optional<SuspicionTimer> suspicion_;

    // As the one who speaks.
    OutputGate gate_;
    Departures departures_;
    Bytes said_;                       // released, in all
    std::optional<LogWindow> window_;  // a backup's log is under way
    StopNumber base_;                  // of that log: the stop of the state
    bool wants_snapshot_ = false;
    bool held_ = false;
    std::chrono::nanoseconds progress_at_{0};  // of the backup; counts while the guest is held
    std::chrono::nanoseconds free_at_{0};      // the guest was not held
    Bytes bytes_sent_;
    std::optional<std::chrono::nanoseconds> ready_until_;  // the backup has the state, and is catching up
    std::chrono::nanoseconds awake_at_{0};
    StopNumber old_news_;  // acknowledgements up to here may be from before an absence
    bool wants_news_ = false;
    StopNumber recorded_;

    // As the one who follows.
    OutputRetention retention_;
    std::optional<ReplayBacklog> backlog_;
    bool report_is_urgent_ = false;
    Bytes unreported_;  // received since the last report that was sent at once
    GuestTime received_clock_{0};
    GuestTime replayed_clock_{0};
    std::uint64_t compared_ = 0;
};

}  // namespace understudy::replication
