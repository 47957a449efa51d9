// A simulated replica: the real core in a simulated world. What a real one does with threads, sockets and KVM
// (hypervisor/replication/replica/) this one does with events in virtual time.
//
//   replica.cpp           the process, and what the core wants done
//   replica_vcpu.cpp      the vCPU's thread
//   replica_channel.cpp   its end of the logging channel
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hypervisor/replication/decision/replica_core.hpp"
#include "tests/simulation/hypervisor/replication/guest.hpp"
#include "tests/simulation/hypervisor/replication/link.hpp"
#include "tests/simulation/hypervisor/replication/pace.hpp"

namespace understudy::replication::simulation {

constexpr const char* kVm = "vm";
constexpr Bytes kRecordSize{40};  // of every record, encoded
constexpr Bytes kPartSize{400};   // of what was copied before it

class World;

class Replica final : public ReplicaWorld {
  public:
    Replica(World& world, std::string id) : world_(world), id_(std::move(id)) {}
    Replica(const Replica&) = delete;
    Replica& operator=(const Replica&) = delete;
    virtual ~Replica() = default;

    // A primary to be.
    void claim();
    // A backup to be, at the other end of a connection that a primary has yet to accept.
    void join(std::shared_ptr<Link> link) { link_ = std::move(link); }
    // At the primary.
    void candidate_connected(const std::shared_ptr<Link>& link);
    void take(Message message);
    // It breaks under this replica; whether the peer hears of that is another matter.
    void connection_breaks(bool peer_hears);
    // Input for the guest, or a wish that it comes to a stop.
    void wake_guest();

    // A process that is stopped does later what came meanwhile; one that is dead or has ended does nothing.
    enum class Cause { timer, connection };
    void execute(std::function<void()> what, Cause cause = Cause::timer);
    void kill(bool with_its_host);
    void stop();
    void resume();

    [[nodiscard]] const std::string& id() const { return id_; }
    [[nodiscard]] bool acts() const { return alive_ && !ended_; }
    [[nodiscard]] bool stopped() const { return stopped_; }
    // For so long that it must notice.
    [[nodiscard]] bool was_absent_at(Time time) const;
    // The vCPU's thread stands still, the rest of the process does not.
    void hang() { hangs_ = true; }
    void go_on();
    [[nodiscard]] bool hangs() const { return hangs_; }
    [[nodiscard]] bool welcomed() const { return core_.has_value(); }
    [[nodiscard]] Role role() const { return core_ ? core_->roles().role() : Role::joining; }
    [[nodiscard]] Time role_since() const { return role_since_; }
    [[nodiscard]] Generation generation() const { return core_ ? core_->roles().generation() : Generation{}; }
    // And nothing newer comes from it that could be waited for.
    [[nodiscard]] bool guest_is_over() const { return exited_ && !lives_; }
    // Nothing that it says waits for anybody.
    [[nodiscard]] bool speaks_alone() const {
        return core_ && acts() && !core_->follows() && (role() == Role::solo || role() == Role::forming) &&
               core_->gate_is_open();
    }
    // It replays, and has not gone live.
    [[nodiscard]] bool follows() const { return !core_ || core_->follows(); }
    // Since when something that its guest said waits to leave.
    [[nodiscard]] std::optional<Time> holds_since() const {
        return said_.empty() ? std::nullopt : std::optional(said_.front().second);
    }
    [[nodiscard]] const std::vector<std::uint64_t>& life() const { return guest_.life; }
    [[nodiscard]] const std::shared_ptr<Link>& link() const { return link_; }

  private:
    // What the vCPU's thread hands over.
    struct Recorded {
        Record record;
        std::vector<Output> outputs;
        bool completes_mark = false;
    };
    struct Replayed {
        StopNumber stop;
        GuestTime clock{0};
        std::vector<Output> outputs;
    };
    struct Snapshot {
        Guest guest;
    };
    using Handover = std::variant<Recorded, Replayed, Snapshot, CopiedPart>;

    // What the core wants done.
    [[nodiscard]] Time now() const override;
    void ask(std::uint64_t ticket, const arbiter::FormRequest& request) override;
    void ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) override;
    void start_guest() override;
    void end_log() override;
    void go_live() override;
    void hold_guest(bool held) override;
    void stop_guest_soon() override { wake_guest(); }
    void speak(SpeakerRank rank) override;
    void release(const std::vector<Output>& outputs) override;
    [[nodiscard]] Passage passage() const override { return passage_; }
    void begin_transfer(const ReplicaId& candidate, Generation generation) override;
    void refuse(const ReplicaId& candidate, const std::string& why) override;
    Bytes send_record(const Record& record) override;
    void report_released(StopNumber released) override;
    void tell_formed() override { send(FormedMessage{}); }
    void report_progress(StopNumber received, StopNumber replayed) override;
    void stop_acknowledging() override { may_acknowledge_ = false; }
    void flush() override;
    [[nodiscard]] Bytes bytes_sent() const override;
    void drop_peer() override { close_end(); }
    void show_role(Role role, Generation generation, const std::string& reason) override;
    void terminate(const action::Terminate& end) override;

    // The process.
    void begin(RoleMachine roles);
    void tick();
    void tell_gate();
    void leave();
    [[nodiscard]] std::function<void(const arbiter::Outcome&)> answer_for(std::uint64_t ticket);

    // The vCPU.
    void step_after(Time delay);
    void step();
    void stop_next();
    void idle(Record record, std::vector<Output> outputs);
    void stop_by_interrupt(std::uint64_t parts);
    void guest_ends();
    void complete(Record record, std::vector<Output> outputs);
    void replay();
    void replay_a_record();
    void begin_replay();
    void hand_over(Handover item, bool wake);
    void drain();
    void hand(Recorded& recorded);
    void hand(Replayed& replayed);
    void hand(Snapshot& snapshot);
    void hand(CopiedPart& part);

    // The channel.
    void heartbeat(const std::shared_ptr<Link>& link);
    void send(Message message);
    void send_state(const std::shared_ptr<Link>& link, std::uint64_t parts_left);
    // What is under way from it still arrives, then the end; unless the whole host died.
    void close_end(bool silently = false);
    void arrived(const WelcomeMessage& welcome);
    void arrived(StateMessage& state);
    void arrived(RecordsMessage& message);
    void arrived(const ReportMessage& message);
    void arrived(const ReadyMessage& message);
    void arrived(const FormedMessage& message);
    void arrived(const RefuseMessage& message);
    void arrived(const GoodbyeMessage& message);
    void arrived(const EndMessage& message);

    World& world_;
    std::string id_;
    bool alive_ = true;   // the process exists
    bool ended_ = false;  // by its own decision
    bool stopped_ = false;
    struct Missed {
        std::function<void()> what;
        Cause cause;
    };
    std::vector<Missed> missed_;                   // while stopped
    std::vector<std::pair<Time, Time>> absences_;  // from, to
    std::optional<ReplicaCore> core_;
    std::optional<Role> shown_role_;
    Time role_since_{0};
    bool gate_told_open_ = true;

    // The vCPU.
    Guest guest_;
    bool lives_ = false;
    bool exited_ = false;
    std::uint64_t turn_ = 0;  // of the newest step that is due
    bool poked_ = false;      // will not wait at its next idle stop
    bool held_ = false;
    bool waits_for_release_ = false;
    bool hangs_ = false;
    std::vector<void (Replica::*)()> hanging_;  // what it was about to do
    bool wants_snapshot_ = false;
    std::deque<Record> log_;  // received, not replayed
    bool log_ended_ = false;
    bool replaying_ = false;
    std::vector<Output> said_at_mark_;              // replayed up to a mark
    std::deque<std::pair<StopNumber, Time>> said_;  // by the living guest, not released
    StopNumber released_by_primary_;                // as this one knows
    bool own_mark_ = false;                         // the guest is at a mark that this replica recorded
    std::vector<Handover> outbox_;
    bool woken_ = false;

    // The link to the network.
    std::deque<StopNumber> leaving_;  // released, not taken by the network yet
    Passage passage_;                 // in outputs

    // The channel.
    std::shared_ptr<Link> link_;
    std::shared_ptr<Link> candidate_;  // asks just now
    std::vector<std::variant<Record, CopiedPart>> queued_;
    std::uint64_t parts_sent_ = 0;      // of the record to come
    std::uint64_t parts_received_ = 0;  // of the record to come
    ReportMessage report_;
    bool report_due_ = false;
    std::optional<Guest> state_;  // on its way; records queue behind it
    bool may_acknowledge_ = true;
};

}  // namespace understudy::replication::simulation
